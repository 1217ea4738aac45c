"""``classpulse report``."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, get_args
from zoneinfo import ZoneInfo

import click
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from sinks.evaluation.scores import ScoreStore
from streams import settings as settings_module
from streams.cli.explain import InstantType, WeekType
from streams.cli.reading import reading, target_of
from streams.evaluation.report.data import ReportData, ReportKind
from streams.evaluation.report.gather import gather, settled
from streams.evaluation.report.page import page
from streams.evaluation.standing import what_is_scored
from streams.evaluation.weeks import iso_week
from streams.output.files import write_private
from streams.output.terminal import echo

#: Long enough for a month of a district on a busy server.
TIMEOUT_SECONDS: Final = 120.0
STANDARD_OUTPUT: Final = Path("-")


@click.command()
@click.argument("kind", type=click.Choice(get_args(ReportKind)))
@click.argument("entity_id", metavar="ID")
@click.option(
    "--week", type=WeekType(), metavar="WEEK", help="ISO week such as 2026-W47; default: the latest with a score."
)
@click.option(
    "--as-of",
    type=InstantType(),
    metavar="INSTANT",
    help="Report what was known then; without a zone in CLASSPULSE_TIME_ZONE. Default: now.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write the page; - for standard output. Default: report-KIND-ID-WEEK.html in this folder.",
)
@click.option("--url", help="ClickHouse's HTTP interface; default: CLASSPULSE_CLICKHOUSE_URL.")
@click.option("--user", help="A user that may read; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
@click.option("--database", help="Default: CLASSPULSE_CLICKHOUSE_DATABASE.")
def report(
    *,
    kind: ReportKind,
    entity_id: str,
    week: date | None,
    as_of: datetime | None,
    out: Path | None,
    url: str | None,
    user: str | None,
    password_env: str,
    database: str | None,
) -> None:
    """Write the evaluation report (评价报告) of a school, a teacher, a class or an education group for one week.

    One HTML page with its charts in it, to read on a screen or to print on A4; it loads nothing. It says as of which
    instant it was made: --as-of with that instant makes the same page again. Reads only.

    \b
      classpulse report school s01
      classpulse report school s07 --week 2026-W47
      classpulse report teacher t-0117 --week 2026-W47 --as-of 2026-11-23T18:00:00+08:00 --out t-0117.html

    The page is written for its owner alone to read (mode 600); a teacher's report is personal data.

    Exit code: 0 written, 2 without --week there is no score, the database cannot be read or the file cannot be written.
    """
    settings = settings_module.load_for_admin(user, password_env)
    target = target_of(settings, url, database, TIMEOUT_SECONDS)
    now = datetime.now(UTC)
    instant = now if as_of is None else as_of
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=ZoneInfo(settings.time_zone))
    if instant > now:
        raise click.BadParameter(f"{instant.isoformat()} is in the future; leave it out for now.", param_hint="--as-of")
    with reading(target, "read the report's metrics") as client:
        known_at = settled(client, instant.astimezone(UTC))
        monday = week or _latest_week(client, kind, entity_id, known_at)
        data = gather(client, kind, entity_id, monday, known_at, settings.time_zone)
        if data.is_empty:
            echo(f"Nothing is known of {kind} {entity_id!r} in {iso_week(monday)}; the page says so.", err=True)
            echo(what_is_scored(client, kind, known_at), err=True)
    _write(out or Path(_file_name(data)), page(data))


def _latest_week(client: Client, kind: ReportKind, entity_id: str, known_at: datetime) -> date:
    weeks = ScoreStore(client).weeks_of(kind, entity_id, known_at)
    if not weeks:
        raise MustStop(f"There is no score of {kind} {entity_id!r}", what_is_scored(client, kind, known_at))
    return weeks[-1]


def _file_name(data: ReportData) -> str:
    """Return a name without what a file system or a shell could misread; an id may hold anything."""
    shown = re.sub(r"[^\w.-]", "_", data.subject.entity_id)[:60]
    return f"report-{data.subject.kind}-{shown}-{iso_week(data.week)}.html"


def _write(out: Path, text: str) -> None:
    if out == STANDARD_OUTPUT:
        echo(text, nl=False)
        return
    write_private(out, text.encode())
    echo(f"{out}")
