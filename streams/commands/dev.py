"""``classpulse dev``: the embedded stack, ready to use."""

import asyncio
import os
import secrets
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from deploy.embedded import stack
from schemas.errors import MustStop
from sinks import migrations
from sinks.warehouse import Target
from streams import topics as topics_module

DEFAULT_FOLDER = Path(".classpulse/dev")
DATABASE = "classpulse"
_KEY_FILE = "pseudonym.key"

_folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Data, logs, passwords."
)


def prepare(info: stack.StackInfo) -> None:
    """Create the database and the topics."""
    admin = Target(info.clickhouse_url, "classpulse_admin", info.users["classpulse_admin"], DATABASE)
    for _migration in migrations.migrate(admin):
        pass
    asyncio.run(topics_module.create(info.kafka_bootstrap, topics_module.declared()))


def environment(info: stack.StackInfo) -> dict[str, str]:
    """Return the settings of a worker on this stack; they hold secrets."""
    return {
        "CLASSPULSE_KAFKA": info.kafka_bootstrap,
        "CLASSPULSE_CLICKHOUSE_URL": info.clickhouse_url,
        "CLASSPULSE_CLICKHOUSE_USER": "classpulse_worker",
        "CLASSPULSE_CLICKHOUSE_PASSWORD": info.users["classpulse_worker"],
        "CLASSPULSE_CLICKHOUSE_DATABASE": DATABASE,
        "CLASSPULSE_PSEUDONYM_KEY": _pseudonym_key(info.folder),
        # The embedded broker finishes a group join only after these have passed.
        "CLASSPULSE_SESSION_TIMEOUT_SECONDS": "6",
        # Several workers may run beside each other; each logs where its pages are.
        "CLASSPULSE_WEB_PORT": "0",
    }


def reader(info: stack.StackInfo) -> Target:
    """Return the read-only user's way in."""
    return Target(info.clickhouse_url, "classpulse_reader", info.users["classpulse_reader"], DATABASE, 120.0)


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

    Two local processes on loopback: the Tansu broker (in memory) and the ClickHouse engine chDB behind ClickHouse's HTTP
    interface. For development and demonstration; production uses docker-compose.yml or a cluster.
    """


@dev.command()
@_folder_option
@click.option("--kafka-port", default=9092, show_default=True, help="0: any free port.")
@click.option("--clickhouse-port", default=8123, show_default=True, help="0: any free port.")
@click.option("--fresh", is_flag=True, help="Throw away what the folder holds first.")
def up(folder: Path, kafka_port: int, clickhouse_port: int, fresh: bool) -> None:
    """Start both, create the database and the topics."""
    info = stack.up(folder, kafka_port=kafka_port, clickhouse_port=clickhouse_port, fresh=fresh)
    prepare(info)
    click.echo(f"Kafka       {info.kafka_bootstrap}")
    click.echo(f"ClickHouse  {info.clickhouse_url}  (users and passwords: {folder / 'credentials.json'})")
    click.echo("")
    click.echo("Next, in this shell:")
    click.echo(f'  eval "$(classpulse dev env --folder {folder})"')
    click.echo("  classpulse worker                  # and in a second shell with the same settings:")
    click.echo("  classpulse simulate --events 20000")
    click.echo("  classpulse verify")


@dev.command()
@_folder_option
def down(folder: Path) -> None:
    """Stop both. ClickHouse's data stays; the broker keeps nothing."""
    stack.down(folder)
    click.echo("stopped")


@dev.command()
@_folder_option
def status(folder: Path) -> None:
    """Show whether both run and answer. Exit status 1 if not."""
    found = stack.status(folder)
    table = Table("part", "state", "answers", "pid", "port", "up for", Column("log", overflow="fold"))
    for part in (found.kafka, found.clickhouse):
        table.add_row(
            part.name,
            part.state,
            "yes" if part.answering else "no",
            str(part.pid or ""),
            str(part.port or ""),
            f"{part.uptime_seconds:.0f} s" if part.uptime_seconds is not None else "",
            str(part.log),
        )
    Console().print(table)
    if not (found.kafka.answering and found.clickhouse.answering):
        raise SystemExit(1)


@dev.command()
@_folder_option
def env(folder: Path) -> None:
    """Print the settings of a worker on this stack as shell exports. They hold secrets."""
    for name, value in environment(_running(folder)).items():
        click.echo(f"export {name}={value}")
