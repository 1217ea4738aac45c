"""Numbered migrations with checksums: what the database must look like, step by step."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop
from sinks.clickhouse.client import Target, connect
from sinks.clickhouse.errors import classify
from sinks.views import contract

_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
#: Of ClickHouse: a user that may only read, and one without the right.
_REFUSALS = frozenset({164, 497})
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
_TABLE = """CREATE TABLE IF NOT EXISTS schema_migrations
(
    number     UInt16               COMMENT 'number of the migration',
    name       String               COMMENT 'its name',
    checksum   String               COMMENT 'SHA-256 of its text',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was applied'
)
ENGINE = ReplacingMergeTree ORDER BY number
COMMENT 'Which migrations this database has'"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``sinks/sql/migrations``."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Return the statements; each ends with a semicolon at the end of a line."""
        without_comments = "\n".join(line for line in self.text.splitlines() if not line.startswith("--"))
        return [text for part in re.split(r";\s*\n", without_comments + "\n") if (text := part.strip())]


def migrations() -> list[Migration]:
    """Return all migrations in order."""
    found = [
        Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
        for file in files("sinks").joinpath("sql", "migrations").iterdir()
        if (match := _NAME.match(file.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


def migrate(target: Target) -> Iterator[tuple[Migration, bool]]:
    """Bring the database up to date; yields each migration and whether it was applied now. The views come last.

    Raises :class:`MustStop` if a migration that was applied has another text now, the database is newer than this program,
    or the user may not change it, and what :func:`sinks.clickhouse.client.connect` raises.
    """
    try:
        yield from _migrated(target)
    except (ClickHouseError, HTTPError, OSError) as error:
        if isinstance(error, Error) and error.code in _REFUSALS:
            raise MustStop(
                f"ClickHouse does not let {target.user} change the database {target.database}",
                "Run it as a user that may, with --user classpulse_admin and --password-env, or grant the rights of "
                "deploy/clickhouse/users.sql",
            ) from error
        raise classify(error, "migrate the database") from error


def _migrated(target: Target) -> Iterator[tuple[Migration, bool]]:
    if not _IDENTIFIER.match(target.database):
        raise MustStop(f"{target.database!r} cannot name a database", "Use dead letters, digits and underscores")
    client = connect(target, database="default")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS {target.database}")
    finally:
        client.close()
    client = connect(target)
    try:
        client.command(_TABLE)
        found = client.query("SELECT number, checksum FROM schema_migrations FINAL").result_rows
        applied: dict[int, str] = {row[0]: row[1] for row in found}
        known = migrations()
        _check(known, applied)
        for migration in known:
            if migration.number not in applied:
                for statement in migration.statements():
                    client.command(statement)
                client.insert(
                    "schema_migrations",
                    [[migration.number, migration.name, migration.checksum]],
                    column_names=["number", "name", "checksum"],
                )
            yield migration, migration.number not in applied
        contract.apply(client, tables=repr(known))
    finally:
        client.close()


def _check(known: list[Migration], applied: dict[int, str]) -> None:
    for migration in known:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise MustStop(
                f"Migration {migration.number:04} {migration.name} was applied with another text",
                "Restore the file as it was, and put the change into a new migration",
            )
    if newer := set(applied) - {migration.number for migration in known}:
        raise MustStop(
            f"The database has migration {max(newer):04}, which this program does not know",
            "Install the classpulse version that made it",
        )
