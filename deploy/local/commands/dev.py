"""``classpulse dev``: the embedded stack, ready to use."""

import asyncio
import os
import secrets
from pathlib import Path

import click
from rich.table import Column, Table

from deploy.local.stack import stack
from schemas.errors import MustStop
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Target
from streams.cli.options import PORT
from streams.kafka import topics as topics_module
from streams.output.terminal import Console, echo

DEFAULT_FOLDER = Path(".classpulse/dev")
DATABASE = "classpulse"
WORKER = "classpulse_worker"
_KEY_FILE = "pseudonym.key"

_folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Data, logs, passwords."
)


def prepare(info: stack.StackInfo, event_partitions: int | None = None) -> None:
    """Create the database and the topics, with ``event_partitions`` instead of the declared number."""
    for _migration in migrations.migrate(target(info, "classpulse_admin")):
        pass
    asyncio.run(topics_module.create(info.kafka_bootstrap, topics_module.declared(event_partitions), info.replication))


def environment(info: stack.StackInfo, user: str = WORKER) -> dict[str, str]:
    """Return the settings of a worker on this stack, or of another user of ClickHouse; they hold secrets."""
    settings = {
        "CLASSPULSE_KAFKA": info.kafka_bootstrap,
        **database_settings(target(info, user)),
        "CLASSPULSE_PSEUDONYM_KEY": _pseudonym_key(info.folder),
        # Several workers may run beside each other; each logs where its pages are.
        "CLASSPULSE_WEB_PORT": "0",
    }
    if info.broker == stack.EMBEDDED:
        # It finishes a group join only after these have passed.
        settings["CLASSPULSE_SESSION_TIMEOUT_SECONDS"] = "6"
        # A leader that leaves while its group is being formed stays its leader, and nobody is assigned anything any more.
        settings["CLASSPULSE_LEAVE_GROUP"] = "false"
    return settings


def database_settings(target: Target) -> dict[str, str]:
    """Return the settings of a worker that uses this database as this user."""
    return {
        "CLASSPULSE_CLICKHOUSE_URL": target.url,
        "CLASSPULSE_CLICKHOUSE_USER": target.user,
        "CLASSPULSE_CLICKHOUSE_PASSWORD": target.password,
        "CLASSPULSE_CLICKHOUSE_DATABASE": target.database,
    }


def target(info: stack.StackInfo, user: str = "classpulse_worker") -> Target:
    """Return the database as ``user`` sees it; a worker's user reads every table, as ``classpulse verify`` does."""
    return Target(info.clickhouse_url, user, info.users[user], DATABASE, 120.0)


def _pseudonym_key(folder: Path) -> str:
    path = folder / _KEY_FILE
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text(encoding="ascii")


def _running(folder: Path) -> stack.StackInfo:
    try:
        return stack.info(folder)
    except stack.StackError as error:
        raise MustStop(str(error), "Start it with `classpulse dev up`") from error


@click.group()
def dev() -> None:
    """Start, stop and look at the embedded Kafka and ClickHouse.

    Local processes on loopback: a Kafka broker, and the ClickHouse engine chDB behind ClickHouse's HTTP interface. The
    broker is Tansu, which needs nothing else and keeps everything in memory; or, with `up --broker apache`, Apache Kafka
    itself. For development and demonstration; production uses docker-compose.yml or a cluster.
    """


@dev.command()
@_folder_option
@click.option("--kafka-port", default=9092, show_default=True, type=PORT, help="0: any free port.")
@click.option("--clickhouse-port", default=8123, show_default=True, type=PORT, help="0: any free port.")
@click.option(
    "--broker",
    type=click.Choice([stack.EMBEDDED, stack.APACHE]),
    help="embedded: Tansu, nothing to install. apache: Apache Kafka, keeps its data; needs Java 17 and Maven, which gets "
    "its jars once. Without: what the folder holds, or embedded.",
)
@click.option(
    "--brokers",
    type=click.IntRange(1, 5),
    help="How many brokers, with apache. From 3 on each partition has 3 copies, and one broker may be lost.",
)
@click.option("--fresh", is_flag=True, help="Throw away what the folder holds first.")
def up(
    folder: Path,
    kafka_port: int,
    clickhouse_port: int,
    broker: stack.BrokerKind | None,
    brokers: int | None,
    fresh: bool,
) -> None:
    """Start both, create the database and the topics.

    \b
    Examples: classpulse dev up
              classpulse dev up --broker apache
              classpulse dev up --broker apache --brokers 3 --folder .classpulse/cluster
    """
    try:
        info = stack.up(
            folder, kafka_port=kafka_port, clickhouse_port=clickhouse_port, fresh=fresh, broker=broker, brokers=brokers
        )
    except stack.StackError as error:
        raise MustStop("The stack does not start", str(error)) from error
    prepare(info)
    echo(f"Kafka       {info.kafka_bootstrap}  ({info.broker})")
    echo(f"ClickHouse  {info.clickhouse_url}  (users and passwords: {folder / 'credentials.json'})")
    echo("")
    echo("Next, in this shell:")
    echo(f'  eval "$(classpulse dev env --folder {folder})"')
    echo("  classpulse worker                  # and in a second shell with the same settings:")
    echo("  classpulse simulate --events 20000 --wait")
    echo("  classpulse verify")
    echo(f'  eval "$(classpulse dev env --folder {folder} --user classpulse_evaluator)"')
    echo("  classpulse evaluate")


@dev.command()
@_folder_option
def down(folder: Path) -> None:
    """Stop both. ClickHouse's and Apache Kafka's data stays; the embedded broker keeps nothing."""
    stack.down(folder)
    echo("stopped")


@dev.command()
@_folder_option
def status(folder: Path) -> None:
    """Show whether both run and answer. Exit status 1 if not."""
    found = stack.status(folder)
    table = Table("part", "state", "answers", "pid", "port", "up for", Column("log", overflow="fold"))
    for part in (*found.brokers, found.clickhouse):
        table.add_row(
            f"{part.name} ({found.broker})" if part in found.brokers else part.name,
            part.state,
            "yes" if part.answering else "no",
            str(part.pid or ""),
            str(part.port or ""),
            f"{part.uptime_seconds:.0f} s" if part.uptime_seconds is not None else "",
            str(part.log),
        )
    Console().print(table)
    if not found.healthy:
        raise SystemExit(1)


@dev.command()
@_folder_option
@click.option("--user", default=WORKER, show_default=True, help="A user of ClickHouse; classpulse_reader may only read.")
def env(folder: Path, user: str) -> None:
    """Print the settings of a worker on this stack as shell exports. They hold secrets.

    \b
    Examples: eval "$(classpulse dev env)"
              eval "$(classpulse dev env --user classpulse_reader)"
    """
    info = _running(folder)
    if user not in info.users:
        raise MustStop(f"ClickHouse has no user {user}", f"Give one of {', '.join(sorted(info.users))}")
    for name, value in environment(info, user).items():
        echo(f"export {name}={value}")
