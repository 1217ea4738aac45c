"""``classpulse recompute``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Final

import click
from rich.table import Table

from schemas.metrics.catalogue import METRICS
from sinks.clickhouse import client as warehouse
from streams import settings as settings_module
from streams.cli.family_bars import family_bars
from streams.cli.options import DayType
from streams.cli.reading import away_is_final
from streams.output.terminal import Console, echo, echo_json
from streams.recompute import recompute as recomputation

#: A range of keys is read in seconds; a busy server may need longer than a worker would wait.
TIMEOUT_SECONDS: Final = 300.0
_DAY: Final = DayType()
#: Of ``recomputation.Counts``, as docs/recompute.md explains them.
_SHOWN: Final = ("changed", "missing", "same", "unexplained", "ahead")


@click.command()
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="A metric of docs/metrics.md; repeatable.")
@click.option("--all", "every", is_flag=True, help="All metrics.")
@click.option("--from", "first_day", required=True, type=_DAY, help="First day, by the district's clock.")
@click.option("--to", "last_day", required=True, type=_DAY, help="Last day, included.")
@click.option("--dry-run", is_flag=True, help="Say what would be written; write nothing.")
@click.option("--user", help="A user that may delete, if rows must go; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def recompute(
    *,
    metrics: tuple[str, ...],
    every: bool,
    first_day: datetime,
    last_day: datetime,
    dry_run: bool,
    user: str | None,
    password_env: str,
    as_json: bool,
) -> None:
    """Rebuild stored metrics after a formula, the engagement weights or the catalogue changed.

    Every lesson, teacher and activity with an event in these days is computed anew from all its stored events. Workers
    may run meanwhile; start them with the new version and settings first. Safe to run again. See docs/recompute.md.

    Exit code: 0 all as the formulas say, 1 rows are left that are not, 2 could not be done.
    """
    wanted = _wanted(metrics, every=every, first_day=first_day, last_day=last_day)
    settings = settings_module.load_for_admin(user, password_env)
    target = replace(settings.clickhouse, timeout_seconds=TIMEOUT_SECONDS)
    with away_is_final(target, "CLASSPULSE_CLICKHOUSE_URL"):
        warehouse.connect(target).close()
    database = warehouse.Warehouse(target, on_retry=lambda _what, error: echo(f"waiting: {error}", err=True))
    try:
        with _progress() as on_progress:
            report = recomputation.recompute(
                database, wanted, settings.metric_rules, dry_run=dry_run, on_progress=on_progress
            )
    finally:
        database.close()
    if as_json:
        echo_json(asdict(report) | {"left": report.left}, indent=2)
    else:
        _show(report)
    sys.exit(1 if report.left else 0)


def _wanted(metrics: tuple[str, ...], *, every: bool, first_day: datetime, last_day: datetime) -> recomputation.Wanted:
    if every == bool(metrics):
        raise click.UsageError("Give either --metric NAME, as often as needed, or --all.")
    known = [metric.name for metric in METRICS]
    for name in metrics:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "docs/metrics.md lists them."
            raise click.BadParameter(f"{name!r} is no metric; {hint}", param_hint="--metric")
    if first_day > last_day:
        raise click.BadParameter(f"{first_day:%Y-%m-%d} is after --to {last_day:%Y-%m-%d}.", param_hint="--from")
    return recomputation.Wanted(frozenset(metrics), first_day.date(), last_day.date())


@contextmanager
def _progress() -> Iterator[recomputation.OnProgress]:
    with family_bars() as show:
        yield lambda progress: show(
            progress.family, progress.ranges_done, progress.ranges_total, f"{progress.rows_written:,} rows written"
        )


def _show(report: recomputation.RecomputeReport) -> None:
    console = Console()
    if report.by_metric:
        table = Table(title="Rows, dry run" if report.dry_run else "Rows", title_justify="left")
        table.add_column("metric", no_wrap=True)
        for name in _SHOWN:
            table.add_column(name, justify="right")
        for metric, counts in sorted(report.by_metric.items()):
            table.add_row(metric, *(f"{getattr(counts, name):,}" for name in _SHOWN))
        console.print(table)
    written = report.total("changed") + report.total("missing")
    console.print(
        f"{report.keys:,} keys, {report.events:,} events: {written:,} rows {'would be ' if report.dry_run else ''}written, "
        f"{report.total('same'):,} as they were, {report.deleted:,} deleted.",
        highlight=False,
    )
    for line in _left(report):
        console.print(line, highlight=False)


def _left(report: recomputation.RecomputeReport) -> Iterator[str]:
    """Say what is still not as the formulas say, and what to do."""
    if unexplained := report.total("unexplained") - report.deleted:
        remedy = (
            "Without --dry-run they are deleted, where the user may."
            if report.dry_run
            else "Run it again as a user that may delete: --user classpulse_admin --password-env VARIABLE."
        )
        yield f"{unexplained:,} rows are explained by no event. {remedy}"
    if older := report.total("ahead_of_older_catalogue"):
        yield (
            f"{older:,} rows of an older catalogue are beyond the checkpoints. "
            "Let upgraded workers catch up, then run it again."
        )
