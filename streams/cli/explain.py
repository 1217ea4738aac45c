"""``classpulse explain``: what a score is made of, down to the events."""

import re
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import click

from schemas.errors import MustStop
from schemas.evaluation.tree import KINDS, Kind
from sinks.clickhouse.answers import FAR_FUTURE
from sinks.evaluation.quality import DISTRICT
from streams import settings as settings_module
from streams.cli.options import sensible
from streams.cli.reading import reading, target_of
from streams.evaluation.explain import explain as explained
from streams.evaluation.explain_display import PERSONAL, show
from streams.output.terminal import Console, echo, echo_json

#: Long enough for the trees of a busy server.
TIMEOUT_SECONDS: Final = 60.0
_WEEK: Final = re.compile(r"(\d{4})-?W(\d{2})")


class WeekType(click.ParamType):
    """An ISO week such as 2026-W47; gives its Monday."""

    name = "week"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the Monday of the week."""
        if isinstance(value, date):
            return value
        found = _WEEK.fullmatch(str(value).strip().upper())
        if found is None:
            self.fail(f"{value!r} is no ISO week; give one such as 2026-W47", param, ctx)
        try:
            monday = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        except ValueError:
            self.fail(f"the year {found[1]} has no week {found[2]}", param, ctx)
        if not sensible(monday):
            self.fail(f"{value!r} is too long ago or too far ahead", param, ctx)
        return monday


class InstantType(click.ParamType):
    """An instant in ISO 8601; without a zone it is the district's."""

    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant, without a zone if none was given."""
        if isinstance(value, datetime):
            return value
        try:
            instant = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is no instant; give one such as 2026-11-23T18:00:00+08:00", param, ctx)
        if not sensible(instant):
            self.fail(f"{value!r} is too long ago or too far ahead", param, ctx)
        return instant


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("entity_id", metavar="[ID]", required=False)
@click.option(
    "--week", type=WeekType(), metavar="WEEK", help="ISO week such as 2026-W47; default: the latest with a score."
)
@click.option(
    "--as-of",
    type=InstantType(),
    metavar="INSTANT",
    help="Explain the score as it was then; an instant without a zone is in CLASSPULSE_TIME_ZONE. Default: now.",
)
@click.option("--node", default="", help="Only this part of the tree, such as teaching/five_study.")
@click.option("--queries/--no-queries", default=False, help="Print the SQL query for each indicator's events; default: no.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--url", help="ClickHouse's HTTP interface; default: CLASSPULSE_CLICKHOUSE_URL.")
@click.option("--user", help="A user that may read; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
@click.option("--database", help="Default: CLASSPULSE_CLICKHOUSE_DATABASE.")
def explain(
    *,
    kind: Kind,
    entity_id: str | None,
    week: date | None,
    as_of: datetime | None,
    node: str,
    queries: bool,
    as_json: bool,
    url: str | None,
    user: str | None,
    password_env: str,
    database: str | None,
) -> None:
    """Explain a score of the evaluation (评价), from the tree down to the stored events.

    Prints the tree with Chinese and English names, scores, weights, coverage, metrics, sample sizes and norms, and the
    quality of the data. With --queries it also prints, for each indicator, the SQL that returns the events behind it. Any
    user that may read the events, such as the worker's, can run it as printed. This command itself reads scores and the
    registry, but no events.

    \b
      classpulse explain school s07 --week 2026-W47
      classpulse explain group g03
      classpulse explain teacher t-0117 --as-of 2026-11-23T18:00:00+08:00
      classpulse explain district --node governance --queries

    Who may see what: scores of the district, of groups, schools and classes are for the education authority and the
    leaders of the schools. A teacher's score is personal data: it is for the teacher and for those whom the district has
    named; nobody is ranked. The queries return students' pseudonyms: do not give their results to anybody who may not see
    the events. The database enforces the rights; this command has those of CLASSPULSE_CLICKHOUSE_USER.

    Exit status: 0 explained, 2 there is no such score or the database cannot be read.
    """
    if kind != "district" and not entity_id:
        raise click.UsageError(f"Say which {kind}: give its id.")
    settings = settings_module.load_for_admin(user, password_env)
    target = target_of(settings, url, database, TIMEOUT_SECONDS)
    instant = FAR_FUTURE if as_of is None else as_of
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=ZoneInfo(settings.time_zone))
    asked = DISTRICT if kind == "district" else entity_id or ""
    with reading(target, "explain the score") as client:
        found = explained(client, kind, asked, week, min(instant.astimezone(UTC), FAR_FUTURE), settings.time_zone)
    if node and not any(part.node == node for part in found.parts):
        raise MustStop(f"The tree has no node {node}", f"Give one of {', '.join(part.node for part in found.parts[1:])}")
    if kind == "teacher":
        echo(PERSONAL, err=True)
    if as_json:
        echo_json(found.to_json(), indent=2)
    else:
        show(found, Console(), queries=queries, below=node)
