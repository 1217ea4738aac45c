"""``python -m tests.lab.bench.page``: ``docs/benchmarks.md`` and its charts from the results.

A result is what ``classpulse bench --json`` printed, kept in ``docs/benchmarks``. With ``--check`` it only says what is
stale.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from docs.generate.__main__ import run
from docs.generate.markdown import code, table
from docs.generate.pages import fill
from tests.lab.bench.catalogue import PEERS
from tests.lab.bench.chart import chart
from tests.lab.bench.mixes import MIXES

__all__ = ["main", "written"]

_PAGE: Final = "benchmarks.md"
_RESULTS: Final = "benchmarks"
_BROKERS: Final = {"apache": "Apache Kafka", "embedded": "the embedded broker"}
_MIB: Final = 2**20


def written(docs: Path) -> dict[Path, str]:
    """Return every file that is made from the results, as it should be: the page, and a chart for each result.

    Raises :class:`docs.generate.pages.PageError` for markers that do not fit, ``OSError`` for a missing page, and
    ``ValueError`` or ``KeyError`` for a file that is not what ``classpulse bench --json`` prints.
    """
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((docs / _RESULTS).glob("*.json"))}
    page = docs / _PAGE
    blocks = {"results": _results(results), "peers": _peers()}
    files = {page: fill(_PAGE, page.read_text(encoding="utf-8"), blocks)}
    return files | {docs / _RESULTS / f"{name}.svg": chart(result) for name, result in results.items()}


def _results(results: Mapping[str, Mapping[str, Any]]) -> str:
    if not results:
        return "There are none yet."
    return "\n\n".join(_result(name, result) for name, result in results.items())


def _result(name: str, result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    heading = f"### {_BROKERS[result['broker']]}, {result['mix']}".replace("the e", "The e")
    about = (
        f"{result['events']:,} events of {result['bytes_per_event']:,.0f} bytes ({MIXES[result['mix']]}); "
        f"{len(result['rounds']['classpulse'])} rounds; {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']:g} GiB, {machine['kernel']}, load {machine['load_before']:g} beforehand; "
        f"measured at {result['measured_at']}."
    )
    picture = f"![Events per second of each, as in the table below]({_RESULTS}/{name}.svg)"
    parts = [heading, about, picture, _figures(result), _costs(result)]
    missing = [f"- {code(peer)} was not measured: {' '.join(why.split())}" for peer, why in result["not_measured"].items()]
    return "\n\n".join([*parts, *(["\n".join(missing)] if missing else []), _versions(result)])


def _figures(result: Mapping[str, Any]) -> str:
    rows = [
        _row(
            "ceiling: aiokafka alone",
            result["ceiling_events_per_second"],
            f"{result['ratio_to_ceiling']:.2f} of it",
            result["ceiling_cpu_us_per_event"],
            result["rounds"]["ceiling"],
        ),
        _row(
            "**classpulse**",
            result["classpulse_events_per_second"],
            "",
            result["worker_cpu_us_per_event"],
            result["rounds"]["classpulse"],
        ),
    ]
    for name, peer in result["peers"].items():
        compared, rounds = f"{peer['ratio']:g} × it", result["rounds"][name]
        rows.append(_row(name, peer["events_per_second"], compared, peer["cpu_us_per_event"], rounds))
    headings = ["", "events/s, median", "slowest to fastest", "classpulse is", "CPU µs an event", "events a round"]
    return table(headings, rows)


def _row(name: str, rate: float, compared: str, cpu_us: float | None, rounds: list[Mapping[str, Any]]) -> list[str]:
    rates = [each["events_per_second"] for each in rounds]
    between, cpu = f"{min(rates):,.0f} to {max(rates):,.0f}", "" if cpu_us is None else f"{cpu_us:.1f}"
    return [name, f"{rate:,.0f}", between, compared, cpu, f"{max(each['events'] for each in rounds):,}"]


def _costs(result: Mapping[str, Any]) -> str:
    invariants = (
        f"Every record was accounted for in every round, and verification found {result['verify_differences']} differences."
        if result["laws_hold"]
        else "**The invariants did not hold: these metrics are worth nothing.**"
    )
    return (
        f"Beside the worker, ClickHouse took {result['clickhouse_cpu_us_per_event']:.1f} µs of CPU an event. "
        f"The worker was ready {result['startup_seconds']:.1f} s after its start, and had "
        f"{result['worker_peak_memory_bytes'] / _MIB:,.0f} MiB at most. {invariants}"
    )


def _versions(result: Mapping[str, Any]) -> str:
    return "Versions: " + ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + "."


def _peers() -> str:
    rows = []
    for peer in PEERS.values():
        reads = "the whole topic" if peer.most_events is None else f"at most {peer.most_events:,} events a round"
        lacks = "; ".join(f"does not {lack}" for lack in peer.lacks)
        rows.append([f"{code(peer.name)}: {peer.title}", peer.does, reads, lacks])
    return table(["peer", "what it does here", "reads", "what it does not do, and classpulse does"], rows)


def main(arguments: list[str] | None = None) -> int:
    """Write what is stale; return the exit status: 0, or 1 with ``--check`` if something is."""
    fine = "the page and the charts say what the results say"
    return run("python -m tests.lab.bench.page", __doc__, written, fine, arguments)


if __name__ == "__main__":
    sys.exit(main())
