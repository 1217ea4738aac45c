"""``classpulse bench``: how fast, beside the bare client's ceiling and the peers, in one run."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from deploy.local.clickhouse.grants import OWNER
from deploy.local.commands import dev
from deploy.local.simulator import Ledger, Produced, publish
from deploy.local.stack import stack
from schemas.errors import MustStop
from sinks.clickhouse.client import Target, connect
from streams import settings as settings_module
from streams.cli.options import NumberType
from streams.kafka import topics as topics_module
from streams.output.terminal import Console, echo, echo_json
from streams.settings import Settings
from tests.lab.bench import machine
from tests.lab.bench.catalogue import PEERS, PEERS_PYTHON, Peer, Python, peer_versions
from tests.lab.bench.launch import ProgramError
from tests.lab.bench.mixes import MIXES, TOPIC, Mix, records
from tests.lab.bench.product import Product
from tests.lab.bench.run import Plan, Result, run
from tests.lab.commands.bench_display import BenchDisplay, print_result

DEFAULT_FOLDER: Final = Path(".classpulse/bench")
EVENTS: Final = 600_000
ROUNDS: Final = 5
#: With --check: enough that a start is not what is measured, few enough for a minute.
CHECK_EVENTS: Final = 120_000
CHECK_ROUNDS: Final = 3
CHECK_FLOOR: Final = 0.1


class _Input:
    """The records on their way into Kafka; counts their bytes."""

    def __init__(self, source: Iterable[Produced]) -> None:
        self._source = source
        self.value_bytes = 0

    def __iter__(self) -> Iterator[Produced]:
        for record in self._source:
            self.value_bytes += len(record.value or b"")
            yield record


@click.command()
@click.option("--broker", type=click.Choice([stack.EMBEDDED, stack.APACHE]), default=stack.EMBEDDED, show_default=True)
@click.option("--events", type=click.IntRange(1_000, 100_000_000), help=f"Records in the topic. Without: {EVENTS}.")
@click.option("--rounds", type=click.IntRange(1, 100), help=f"What is shown are medians. Without: {ROUNDS}.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same events on the same day.")
@click.option("--mix", type=click.Choice(list(MIXES)), default="plain", show_default=True, help=f"rough: {MIXES['rough']}.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(PEERS)), help="Only these; repeatable.")
@click.option("--no-peers", is_flag=True, help="Only the ceiling and classpulse.")
@click.option("--check", is_flag=True, help="For CI: no peers, fewer events, exit status 1 below --floor.")
@click.option(
    "--floor",
    type=NumberType(0, 1_000),
    default=CHECK_FLOOR,
    show_default=True,
    help="With --check: the least share of the ceiling.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Data and logs.")
@click.option("--peers-python", default=PEERS_PYTHON, show_default=True, help="Python of Quix Streams and Bytewax.")
def bench(
    *,
    broker: stack.BrokerKind,
    events: int | None,
    rounds: int | None,
    seed: int,
    mix: Mix,
    peers: tuple[str, ...],
    no_peers: bool,
    check: bool,
    floor: float,
    as_json: bool,
    folder: Path,
    peers_python: str,
) -> None:
    """Measure classpulse beside the bare client's ceiling and its peers.

    Starts a broker and a ClickHouse, fills one topic, and lets each read it, in turns, round by round: a bare aiokafka
    consumer that does nothing (the ceiling), one classpulse worker until every event, every metric and the checkpoint are
    in ClickHouse, and the peers. docs/benchmarks.md says what exactly is measured, and what each peer does not do.

    \b
    Exit status: 0 only if every record is accounted for, verify finds no difference, and with --check, the share of the
                 ceiling is not below --floor.
    Examples:    classpulse bench --json > result.json
                 classpulse bench --broker apache --mix rough
                 classpulse bench --events 100000 --rounds 1 --peer faust
    """
    if (no_peers or check) and peers:
        raise click.UsageError("--peer asks for a peer, --check and --no-peers for none; leave one out")
    chosen = [] if check or no_peers else [PEERS[name] for name in peers or PEERS]
    events = events or (CHECK_EVENTS if check else EVENTS)
    rounds = rounds or (CHECK_ROUNDS if check else ROUNDS)
    settings_module.load()  # the worker gets them too
    about = machine.machine()
    with BenchDisplay(Console(stderr=True)) as display:
        try:
            display.step(f"Starting Kafka ({broker}) and ClickHouse")
            info = _up(folder, broker)
            found, described = _measure(info, display, chosen, Python(peers=peers_python), events, rounds, mix, seed)
        finally:
            stack.down(folder)
    result = {**found.to_json(), **described, "machine": about}
    if as_json:
        echo_json(result, indent=2)
    else:
        print_result(Console(), result)
    if not found.invariants_hold:
        raise SystemExit(1)
    if check and found.ratio_to_ceiling < floor:
        echo(
            f"classpulse reaches {found.ratio_to_ceiling} of the ceiling, below the floor of {floor}: "
            "find what made it slow, or run it again on a machine that does nothing else",
            err=True,
        )
        raise SystemExit(1)


def _up(folder: Path, broker: stack.BrokerKind) -> stack.StackInfo:
    stack.down(folder)
    try:
        info = stack.up(folder, broker=broker, fresh=True)
    except stack.StackError as error:
        raise MustStop("The stack does not start", str(error)) from error
    asyncio.run(topics_module.create(info.kafka_bootstrap, topics_module.declared(), info.replication))
    return info


def _measure(
    info: stack.StackInfo,
    display: BenchDisplay,
    peers: list[Peer],
    python: Python,
    events: int,
    rounds: int,
    mix: Mix,
    seed: int,
) -> tuple[Result, dict[str, Any]]:
    """Fill the topic and measure; return the result and what was measured, as far as it is not the result's."""
    filling = _Input(records(mix, events, seed))
    with display.bar("Filling the topic", events) as update:
        ledger = asyncio.run(publish(info.kafka_bootstrap, filling, on_progress=update))
    bytes_per_event = round(filling.value_bytes / ledger.produced, 1)
    display.step(f"{ledger.produced:,} events of {bytes_per_event} bytes are in Kafka")
    admin = replace(dev.target(info, OWNER), database="default")
    product = _product(info, admin, ledger)
    plan = Plan(
        info.kafka_bootstrap,
        _partitions(),
        events,
        rounds,
        mix,
        peers,
        python,
        Settings.model_fields["fetch_max_bytes"].default,
        info.folder / "logs",
        _clickhouse(admin),
    )
    try:
        found = run(plan, product, display)
    except ProgramError as error:
        raise MustStop(f"The ceiling could not be measured: {error}", f"The logs are in {plan.logs}") from error
    client = connect(admin)
    clickhouse = str(client.server_version)
    client.close()
    return found, {
        "broker": info.broker,
        "events": ledger.produced,
        "bytes_per_event": bytes_per_event,
        "mix": mix,
        "seed": seed,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            **machine.versions(apache=info.broker == stack.APACHE, clickhouse=clickhouse),
            **(peer_versions(python) if peers else {}),
        },
    }


def _clickhouse(admin: Target) -> dict[str, str]:
    return {
        "BENCH_CLICKHOUSE_URL": admin.url,
        "BENCH_CLICKHOUSE_USER": admin.user,
        "BENCH_CLICKHOUSE_PASSWORD": admin.password,
    }


def _partitions() -> int:
    return next(topic.partitions for topic in topics_module.declared() if topic.name == TOPIC)


def _product(info: stack.StackInfo, admin: Target, ledger: Ledger) -> Product:
    log = info.folder / "logs" / "worker.log"
    return Product(dev.environment(info), admin, info.clickhouse_pid, log, ledger)
