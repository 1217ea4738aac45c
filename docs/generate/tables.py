"""``docs/tables.md``: every view and table with its columns. Made from a database that the migrations have built."""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from deploy.local.stack import stack
from docs.generate.markdown import code, table
from schemas.codec.columns import model_fields
from schemas.events.event_types import FAMILIES
from sinks.clickhouse.client import Target, connect
from sinks.clickhouse.migrations import migrate, migrations

__all__ = ["blocks", "migrated_database"]

DATABASE: Final = "classpulse"
CONTRACT_PREFIX: Final = "v1_"
_ADMIN: Final = "classpulse_admin"

#: Views with parameters have no columns in ``system.columns``, but they are listed here with all others.
_CONTRACT: Final = """SELECT view, kind, name, type, meaning FROM v1_columns
    WHERE view NOT IN (SELECT table FROM system.columns WHERE database = currentDatabase()) ORDER BY number"""

Column = tuple[str, str, str]


@contextmanager
def migrated_database(timeout_seconds: float = 30.0) -> Iterator[Client]:
    """Run an embedded engine with every migration applied, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="classpulse-documents-") as name:
        folder = Path(name)
        try:
            record = stack.start_clickhouse(folder)
            password = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))[_ADMIN]
            target = Target(f"http://127.0.0.1:{record.port}", _ADMIN, password, DATABASE, timeout_seconds)
            for _migration in migrate(target):
                pass
            client = connect(target)
            try:
                yield client
            finally:
                client.close()
        finally:
            stack.down(folder)


def blocks(client: Client) -> dict[str, str]:
    """Return the blocks of ``docs/tables.md`` by name, from a migrated database.

    Raises ``LookupError`` for a column without a meaning.
    """
    columns: dict[str, list[Column]] = {}
    for relation, name, kind, comment in client.query(
        # What fills a table is told in its comment; only what can be read is listed.
        "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() AND table NOT IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView')"
        " ORDER BY table, position"
    ).result_rows:
        columns.setdefault(relation, []).append((name, kind, comment))
    parameters: dict[str, list[Column]] = {}
    for relation, kind, *column in client.query(_CONTRACT).result_rows:
        listed = parameters if kind == "parameter" else columns
        listed.setdefault(relation, []).append((column[0], column[1], column[2]))
    relations = client.query(
        "SELECT name, engine, comment, sorting_key, partition_key, engine_full FROM system.tables"
        " WHERE database = currentDatabase() AND engine != 'MaterializedView' ORDER BY name"
    ).result_rows
    views = [name for name, engine, *_ in relations if engine == "View"]
    described = _described(columns)
    comments = {name: comment for name, _, comment, *_ in relations}
    return {
        "views": "\n\n".join(
            _relation(name, comments[name], described[name], parameters.get(name, [])) for name in _contract_first(views)
        ),
        "tables": "\n\n".join(
            _relation(name, _engine(comment, full, sorting, partition), described[name])
            for name, engine, comment, sorting, partition, full in relations
            if engine != "View"
        ),
        "migrations": table(["number", "name"], [[f"{migration.number:04}", migration.name] for migration in migrations()]),
    }


def _contract_first(views: list[str]) -> list[str]:
    return sorted(views, key=lambda name: (not name.startswith(CONTRACT_PREFIX), name))


def _engine(comment: str, full: str, sorting: str, partition: str) -> str:
    engine = re.split(r" (?:PARTITION|ORDER) BY ", full)[0]
    kept = ", ".join(re.findall(r"\bTTL (.+?)(?= SETTINGS |$)", full))
    ttl = f" Kept: TTL `{kept}`." if kept else ""
    parts = f", partitioned by `{partition}`" if partition else ""
    return f"{comment}\n\n`{engine}`, ordered by `{sorting}`{parts}.{ttl}"


def _relation(name: str, about: str, columns: list[Column], parameters: Sequence[Column] = ()) -> str:
    text = f"### {name}\n\n{about}\n\n"
    if parameters:
        call = f"{name}({', '.join(f'{parameter} = ...' for parameter, _, _ in parameters)})"
        text += f"Read as {code(call)}.\n\n{_listed('parameter', parameters)}\n\n"
    return text + _listed("column", columns)


def _listed(kind: str, columns: Sequence[Column]) -> str:
    return table([kind, "type", "meaning"], [[code(name), code(its_type), meaning] for name, its_type, meaning in columns])


def _described(columns: dict[str, list[Column]]) -> dict[str, list[Column]]:
    """Return the columns with a meaning each: their comment, or which events send the field they hold."""
    fields = {family.table: _senders(family.name) for family in FAMILIES}

    def meaning(relation: str, name: str, comment: str) -> str:
        own = comment or fields.get(relation, {}).get(name, "")
        if not own:
            raise LookupError(f"{relation}.{name} has no meaning; give it a COMMENT")
        return own

    return {
        relation: [(name, kind, meaning(relation, name, comment)) for name, kind, comment in found]
        for relation, found in columns.items()
    }


def _senders(family_name: str) -> dict[str, str]:
    """Return for each data field of a family which event types send it."""
    family = next(family for family in FAMILIES if family.name == family_name)
    senders: dict[str, list[str]] = {}
    for name, model in family.models.items():
        for field in model_fields(model):
            senders.setdefault(field, []).append(code(name.removeprefix(f"{family_name}.")))
    return {field: f"`data.{field}` of {', '.join(names)}" for field, names in senders.items()}
