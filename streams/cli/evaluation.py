"""``classpulse evaluation``: check and activate the configuration of the evaluation."""

import json
import os
import pwd
import socket
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import click
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from schemas.evaluation.changes import changes
from schemas.evaluation.config import LARGEST_BYTES, default_text, doubts, parse
from schemas.evaluation.tree import KINDS, Evaluation
from sinks.clickhouse.answers import FAR_FUTURE
from sinks.evaluation.configs import FIRST_WEEK, Activator, Config, activate, config_of, configs
from sinks.evaluation.scores import ScoreStore
from streams import settings as settings_module
from streams.cli.explain import WeekType
from streams.cli.reading import reading
from streams.evaluation.scoring import local_week
from streams.evaluation.weeks import iso_week
from streams.output.terminal import echo

#: Of who and why.
LONGEST_TEXT_CHARACTERS: Final = 500
FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def _one_line(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return a text that can be kept and printed: one line, not empty."""
    cleaned = text.strip()
    if not cleaned or len(cleaned) > LONGEST_TEXT_CHARACTERS or not cleaned.isprintable():
        raise click.BadParameter(f"give 1 to {LONGEST_TEXT_CHARACTERS} characters in one line, without control characters.")
    return cleaned


@click.group()
def evaluation() -> None:
    """Check, activate and show the configuration of the evaluation (评价方案): dimensions, indicators, norms, weights.

    \b
    A way through:
      classpulse evaluation show --default > district.yaml     begin with the packaged default, and edit it
      classpulse evaluation check district.yaml                what is wrong with it, line by line
      classpulse evaluation activate district.yaml --reason "board of 3 September"
                                                               score by it, from this week on
      classpulse evaluation history                            who activated what, and why

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
    "--from",
    "from_week",
    type=WeekType(),
    metavar="WEEK",
    help="First ISO week to score by it, such as 2026-W49; default: the current one. Earlier ones are scored again by it.",
)
@click.option(
    "--reason", required=True, callback=_one_line, metavar="TEXT", help="Why; it is kept in the history with the file."
)
@click.option(
    "--by",
    envvar=["SUDO_USER", "LOGNAME", "USER"],
    required=True,
    callback=_one_line,
    metavar="NAME",
    show_envvar=True,
    help="Who you are, for the history.",
)
@click.option("--yes", is_flag=True, help="Do not ask; for scripts.")
@click.option("--user", help="A user that may insert; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
def activate_file(
    *, file: Path, from_week: date | None, reason: str, by: str, yes: bool, user: str | None, password_env: str
) -> None:
    """Score by a FILE from a week on. Another content gets another version; earlier weeks keep theirs.

    It first shows what differs from the configuration that counts in that week, and how many scores are computed anew, and
    asks. Who and why are kept, with the ClickHouse user and the account on this machine: see `classpulse evaluation
    history`.

    Scores that are there already keep their version in the history; `classpulse explain --as-of` shows them. `classpulse
    evaluate` scores the weeks concerned again when it next runs.
    """
    text = read(file)
    wanted = parse(text, str(file))
    _describe(wanted)
    settings = settings_module.load_for_admin(user, password_env)
    now = datetime.now(UTC)
    week = from_week or local_week(now, settings.metric_rules)
    with reading(settings.clickhouse, "activate the evaluation") as client:
        active = config_of(configs(client, FAR_FUTURE), week)
        if active is not None and active.checksum == wanted.checksum:
            echo(f"Configuration {active.version} counts already in {iso_week(week)}.")
            return
        _announce(client, active, wanted, week)
        if not yes:
            click.confirm("Activate it? (In a script, give --yes.)", abort=True)
        account = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
        activator = Activator(by, reason, settings.clickhouse.user, account)
        config = activate(client, text, now=now, from_week=week, activator=activator)
    since = "for every week" if config.from_week == FIRST_WEEK else f"from {iso_week(config.from_week)} on"
    echo(f"Configuration {config.version} counts {since}.")


def _announce(client: Client, active: Config | None, wanted: Evaluation, week: date) -> None:
    """Say what an activation would change."""
    if active is None:
        echo("No configuration is active yet; this one will count for every week.")
        return
    echo(f"What differs from configuration {active.version}, which counts in {iso_week(week)} now:")
    for line in changes(active.evaluation(), wanted):
        echo(f"  {line}")
    scores, weeks = ScoreStore(client).scored_from(week)
    echo(f"Computed anew: {scores:,} scores of {weeks:,} weeks, from {iso_week(week)} on.")


@evaluation.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, without the files.")
def history(*, as_json: bool) -> None:
    """List every activation, the oldest first: which version counts since when, who activated it, and why."""
    with reading(settings_module.load().clickhouse, "read the evaluation") as client:
        known = configs(client, FAR_FUTURE)
    for config in known:
        if as_json:
            told = asdict(config) | {"from_week": f"{config.from_week}", "activated_at": config.activated_at.isoformat()}
            echo(json.dumps({name: value for name, value in told.items() if name != "yaml"}, ensure_ascii=False))
        else:
            echo(_told(config))
    if not known and not as_json:
        echo("Nothing was activated yet; the first `classpulse evaluate` activates the packaged default.")


def _told(config: Config) -> str:
    since = "for every week" if config.from_week == FIRST_WEEK else f"from {iso_week(config.from_week)} on"
    accounts = " as ".join(account for account in (config.host_user, config.database_user) if account)
    who = f"{config.activated_by or 'unknown'}{f' ({accounts})' if accounts else ''}"
    at = f"{config.activated_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"version {config.version}, counts {since}, activated {at} by {who}: {config.reason or 'no reason given'}"


@evaluation.command()
@click.option("--default", "packaged", is_flag=True, help="Print the packaged default, without asking the database.")
@click.option(
    "--week", type=WeekType(), metavar="WEEK", help="The one that scores this ISO week; default: the current one."
)
@click.option("--version", "version", type=click.IntRange(1), help="The one of this version.")
def show(*, packaged: bool, week: date | None, version: int | None) -> None:
    """Print the configuration that is active, as YAML; the packaged default where none is.

    Who activated it, and why, is said on standard error.
    """
    if packaged:
        echo(default_text(), nl=False)
        return
    settings = settings_module.load()
    with reading(settings.clickhouse, "read the evaluation") as client:
        known = configs(client, FAR_FUTURE)
    if version is not None:
        found = next((config for config in known if config.version == version), None)
        if found is None:
            numbers = ", ".join(str(number) for number in sorted({config.version for config in known})) or "none"
            raise MustStop(f"There is no configuration {version}", f"There are: {numbers}")
    else:
        found = config_of(known, week or local_week(datetime.now(UTC), settings.metric_rules))
    if found is None:
        echo("classpulse: none is active yet; this is the packaged default, which the first evaluation uses.", err=True)
    else:
        echo(f"classpulse: {_told(found)}", err=True)
    echo(default_text() if found is None else found.yaml, nl=False)


def read(file: Path) -> str:
    """Return the text of a configuration file. Raises :class:`MustStop` if it is too large or no UTF-8."""
    if file.stat().st_size > LARGEST_BYTES:
        raise MustStop(f"{file} is larger than {LARGEST_BYTES:,} bytes", "Give the evaluation's YAML file")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MustStop(f"{file} is no UTF-8", "Save it as UTF-8") from error


def _describe(found: Evaluation) -> None:
    echo(f"{found.chinese} {found.english}: sound.")
    for kind in KINDS:
        nodes = found.nodes(kind)
        indicators = sum(1 for node in nodes if node.indicator is not None)
        echo(f"  {kind:<8} {indicators:>3} indicators" if nodes else f"  {kind:<8} not scored")
    for doubt in doubts(found):
        echo(f"Is this meant? {doubt}", err=True)
