"""``classpulse measure``: latency, restarts, memory, scaling and more, each as a scenario on a stack of its own."""

from functools import partial

import click

from tests.lab.measure.program import SCENARIOS, run


@click.group()
def measure() -> None:
    """Measure a scenario on a stack of its own, and print a table and JSON.

    Each scenario has options: classpulse measure SCENARIO --help. Throughput beside other programs is another command:
    classpulse bench.
    """


for scenario, tells in SCENARIOS.items():
    measure.add_command(
        click.Command(
            scenario,
            callback=partial(run, scenario),
            params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
            help=f"Measure {tells}.",
            short_help=f"Measure {tells}.",
            # Options, --help among them, are the scenario's own.
            context_settings={"ignore_unknown_options": True, "help_option_names": []},
        )
    )
