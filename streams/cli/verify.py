"""``classpulse verify``."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final

import click
from rich.table import Table

from schemas.metrics.rules import MetricRules
from sinks.clickhouse import client as warehouse
from sinks.clickhouse.errors import classify
from sinks.verify import findings as verify_report
from sinks.verify import verify as verification
from sinks.verify.evaluator import verify_evaluator
from streams import settings as settings_module
from streams.cli.family_bars import family_bars
from streams.cli.options import DayType
from streams.cli.reading import FAILURES, away_is_final, target_of
from streams.output.terminal import Console, echo_json, plain

#: One range of keys is recomputed in a few seconds; a busy server may need longer than a worker would wait.
TIMEOUT_SECONDS: Final = 300.0
LONGEST_VALUE_CHARACTERS: Final = 120


@click.command()
@click.option("--url", help="ClickHouse's HTTP interface; default: CLASSPULSE_CLICKHOUSE_URL.")
@click.option("--user", help="A user that may read; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
@click.option("--database", help="Default: CLASSPULSE_CLICKHOUSE_DATABASE.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="Differences to list.")
@click.option("--since", type=DayType(), help="Leave out what was stored before this day (UTC).")
@click.option(
    "--evaluator",
    is_flag=True,
    help="Also hold what the evaluator made against the metrics: versions and portraits. Let no cycle run meanwhile.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(
    *,
    url: str | None,
    user: str | None,
    password_env: str,
    database: str | None,
    limit: int,
    since: datetime | None,
    evaluator: bool,
    as_json: bool,
) -> None:
    """Recompute every metric from the stored events and compare with what the workers stored.

    Also checks per partition that consumed = stored + duplicates + dead letters. Workers may run meanwhile. Reads only.
    What may have expired (docs/retention.md) is left out.

    Exit code: 0 everything agrees, 1 something differs, 2 could not be verified.
    """
    settings = settings_module.load_for_admin(user, password_env)
    target = target_of(settings, url, database, TIMEOUT_SECONDS)
    with away_is_final(target):
        report = _verified(target, settings.metric_rules, limit, since.date() if since else None, evaluator=evaluator)
    if as_json:
        echo_json(report.to_json(), indent=2)
    else:
        _show(report)
    sys.exit(0 if report.agrees else 1)


def _verified(
    target: warehouse.Target, rules: MetricRules, limit: int, since: date | None, *, evaluator: bool
) -> verify_report.VerifyReport:
    client = warehouse.connect(target)
    try:
        with _progress() as on_progress:
            report = verification.verify(client, rules=rules, on_progress=on_progress, limit=limit, since=since)
            if evaluator:
                verify_evaluator(client, report, on_progress)
            return report
    except FAILURES as error:
        raise classify(error, "verify the metrics") from error
    finally:
        client.close()


@contextmanager
def _progress() -> Iterator[verify_report.OnProgress]:
    with family_bars() as show:

        def on_progress(progress: verify_report.Progress) -> None:
            found = f", {progress.differences_total:,} differences" if progress.differences_total else ""
            text = f"{progress.rows_expected:,} rows{found}"
            show(progress.family, progress.ranges_done, progress.ranges_total, text)

        yield on_progress


def _show(report: verify_report.VerifyReport) -> None:
    console = Console()
    if report.differences:
        table = Table(title="Differences", title_justify="left", show_lines=True)
        for heading in ("kind", "key", "expected", "stored"):
            table.add_column(heading, overflow="fold")
        for difference in report.differences:
            cells = (
                difference.kind,
                _pairs(difference.key),
                _side(difference, difference.expected),
                _side(difference, difference.stored),
            )
            # As plain text: an id may hold brackets, which would read as markup.
            table.add_row(*(plain(cell) for cell in cells))
        console.print(table)
        if report.differences_total > len(report.differences):
            console.print(f"{report.differences_total - len(report.differences):,} more; raise --limit to see them.")
    console.print(f"Span: {_span(report)}.", highlight=False)
    kept = sum(invariant.holds for invariant in report.invariants)
    console.print(
        f"{report.rows_expected:,} rows expected, {report.rows_stored:,} stored; "
        f"{kept} of {len(report.invariants)} accounting invariants hold; {report.differences_total:,} differences.",
        highlight=False,
    )


def _span(report: verify_report.VerifyReport) -> str:
    """Say since when, the tables of one day together."""
    tables: dict[str | None, list[str]] = {}
    for table, first_day in report.since.items():
        tables.setdefault(first_day, []).append(table)
    spans = [f"stored since {first_day}" if first_day else "everything ever stored" for first_day in tables]
    if len(spans) == 1:
        return spans[0]
    return "; ".join(f"{span} ({', '.join(names)})" for span, names in zip(spans, tables.values(), strict=True))


def _side(difference: verify_report.Difference, values: Mapping[str, verify_report.Scalar] | None) -> str:
    """Show the columns that differ, or all of them where the other side has no row."""
    if values is None:
        return "no row"
    if difference.columns:
        return _pairs({name: values[name] for name in difference.columns})
    return _pairs(values)


def _pairs(pairs: Mapping[str, verify_report.Scalar]) -> str:
    lines = []
    for name, value in pairs.items():
        if value != "":
            shown = "NULL" if value is None else str(value)
            lines.append(f"{name} {shown[:LONGEST_VALUE_CHARACTERS]}")
    return "\n".join(lines)
