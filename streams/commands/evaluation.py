"""``classpulse evaluation``: check and activate the configuration of the evaluation."""

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import click
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop
from schemas.evaluation import KINDS, Evaluation
from schemas.evaluation_file import LARGEST_BYTES, default_text, doubts, parse
from sinks import warehouse
from sinks.answers import FAR_FUTURE
from sinks.database_errors import classify
from sinks.evaluation_configs import FIRST_WEEK, activate, config_of, configs
from streams import settings as settings_module
from streams.commands.explain import WeekType
from streams.explain import iso_week
from streams.scoring import local_week

FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def evaluation() -> None:
    """Check, activate and show the configuration of the evaluation (评价方案): dimensions, indicators, norms, weights.

    \b
    A way through:
      classpulse evaluation show --default > district.yaml     begin with the packaged default, and edit it
      classpulse evaluation check district.yaml                what is wrong with it, line by line
      classpulse evaluation activate district.yaml             score by it, from this week on

    docs/evaluation.md explains the file.
    """


@evaluation.command()
@FILE
def check(file: Path) -> None:
    """Check a FILE; nothing is changed. Exit code: 0 sound, 2 not."""
    found = parse(read(file), str(file))
    _describe(found)


@evaluation.command(name="activate")
@FILE
@click.option(
    "--from", "from_week", type=WeekType(), metavar="WEEK",
    help="First ISO week to score by it, such as 2026-W49; default: the current one. Earlier ones are scored again by it.",
)  # fmt: skip
@click.option("--user", help="A user that may insert; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
def activate_file(*, file: Path, from_week: date | None, user: str | None, password_env: str) -> None:
    """Score by a FILE from a week on. Another content gets another version; earlier weeks keep theirs.

    Scores that are there already keep their version in the history; `classpulse explain --as-of` shows them. `classpulse
    evaluate` scores the weeks concerned again when it next runs.
    """
    text = read(file)
    _describe(parse(text, str(file)))
    settings = settings_module.load_for_admin(user, password_env)
    now = datetime.now(UTC)
    week = from_week or local_week(now, settings.figure_rules)
    try:
        with closing(warehouse.connect(settings.clickhouse)) as client:
            last = configs(client, FAR_FUTURE)[-1:]
            config = activate(client, text, now=now, from_week=week)
    except (ClickHouseError, HTTPError, OSError) as error:
        raise classify(error, "activate the evaluation") from error
    if last and config.activated_at <= last[0].activated_at:
        click.echo(f"Configuration {config.version} counts already in {iso_week(week)}.")
    else:
        since = "for every week" if config.from_week == FIRST_WEEK else f"from {iso_week(config.from_week)} on"
        click.echo(f"Configuration {config.version} counts {since}.")


@evaluation.command()
@click.option("--default", "packaged", is_flag=True, help="Print the packaged default, without asking the database.")
@click.option(
    "--week", type=WeekType(), metavar="WEEK", help="The one that scores this ISO week; default: the current one."
)
@click.option("--version", "version", type=click.IntRange(1), help="The one of this version.")
def show(*, packaged: bool, week: date | None, version: int | None) -> None:
    """Print the configuration that is active, as YAML; the packaged default where none is."""
    if packaged:
        click.echo(default_text(), nl=False)
        return
    settings = settings_module.load()
    try:
        with closing(warehouse.connect(settings.clickhouse)) as client:
            known = configs(client, FAR_FUTURE)
    except (ClickHouseError, HTTPError, OSError) as error:
        raise classify(error, "read the evaluation") from error
    if version is not None:
        found = next((config for config in known if config.version == version), None)
        if found is None:
            numbers = ", ".join(str(number) for number in sorted({config.version for config in known})) or "none"
            raise MustStop(f"There is no configuration {version}", f"There are: {numbers}")
    else:
        found = config_of(known, week or local_week(datetime.now(UTC), settings.figure_rules))
    if found is None:
        click.echo(
            "classpulse: none is active yet; this is the packaged default, which the first evaluation uses.", err=True
        )
    click.echo(default_text() if found is None else found.yaml, nl=False)


def read(file: Path) -> str:
    """Return the text of a configuration file. Raises :class:`MustStop` if it is too large or no UTF-8."""
    if file.stat().st_size > LARGEST_BYTES:
        raise MustStop(f"{file} is larger than {LARGEST_BYTES:,} bytes", "Give the evaluation's YAML file")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MustStop(f"{file} is no UTF-8", "Save it as UTF-8") from error


def _describe(found: Evaluation) -> None:
    click.echo(f"{found.chinese} {found.english}: sound.")
    for kind in KINDS:
        nodes = found.nodes(kind)
        indicators = sum(1 for node in nodes if node.indicator is not None)
        click.echo(f"  {kind:<8} {indicators:>3} indicators" if nodes else f"  {kind:<8} not scored")
    for doubt in doubts(found):
        click.echo(f"Is this meant? {doubt}", err=True)
