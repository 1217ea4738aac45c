"""``docs/tables.md``: every view and table with its columns. Made from a database that the migrations have built."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from deploy.documents.markdown import code, table
from deploy.embedded import stack
from schemas.columns import model_fields
from schemas.event_types import FAMILIES
from sinks.migrations import migrate, migrations
from sinks.warehouse import Target, connect

__all__ = ["blocks", "migrated_database"]

DATABASE: Final = "classpulse"
CONTRACT_PREFIX: Final = "v1_"
_ADMIN: Final = "classpulse_admin"

#: Views carry no comments on their columns. A column means what it means in the relations it comes from, in this order.
_COMES_FROM: Final = {
    "v1_watermarks": ("checkpoints",),
    "v1_figures": ("metric_rows",),
    "v1_lesson_figures": ("v1_lessons", "v1_figures"),
    "v1_prep_figures": ("v1_figures",),
    "v1_research_figures": ("v1_figures",),
}
#: What the other columns of the views mean.
_MEANINGS: Final = {
    "v1_lessons": {
        "lesson_id": "the lesson",
        "school_id": "school of the device that sent lesson.started",
        "class_id": "the class",
        "teacher_id": "who teaches",
        "course": "school subject",
        "grade": "grade, 1 to 12",
        "mode": "standard or dual_teacher (双师)",
        "scheduled_start": "by the timetable",
        "scheduled_end": "by the timetable",
        "started_at": "event time of the earliest lesson.started",
    },
    "v1_figures": {
        "closed": "1 once the watermark of the row's partition has reached window_end",
    },
    "v1_prep_figures": {"teacher_id": "the teacher"},
    "v1_research_figures": {"activity_id": "the activity"},
    "v1_research_participation_28d": {
        "school_id": "school of the device that sent activity.published",
        "day": "last of the 28 local days (Asia/Shanghai)",
        "activities": "activities scheduled to end on one of the 28 days",
        "invited": "invitations to them, added up",
        "attended": "invited teachers who joined, added up",
        "effective": "invited teachers present for at least 80 % of the time, added up",
        "participation_rate": "attended / invited; NULL where nobody was invited",
        "effective_participation_rate": "effective / invited; NULL where nobody was invited",
    },
}

Column = tuple[str, str, str]


@contextmanager
def migrated_database() -> Iterator[Client]:
    """Run an embedded engine with every migration applied, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="classpulse-documents-") as name:
        folder = Path(name)
        try:
            record = stack.start_clickhouse(folder)
            password = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))[_ADMIN]
            target = Target(f"http://127.0.0.1:{record.port}", _ADMIN, password, DATABASE)
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

    Raises ``LookupError`` for a column of a view that has no meaning here.
    """
    columns: dict[str, list[Column]] = {}
    for relation, name, kind, comment in client.query(
        # What fills a table is told in its comment; only what can be read is listed.
        "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() AND table NOT IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView')"
        " ORDER BY table, position"
    ).result_rows:
        columns.setdefault(relation, []).append((name, kind, comment))
    relations = client.query(
        "SELECT name, engine, comment, sorting_key, partition_key, engine_full FROM system.tables"
        " WHERE database = currentDatabase() AND engine != 'MaterializedView' ORDER BY name"
    ).result_rows
    views = [name for name, engine, *_ in relations if engine == "View"]
    described = _described(columns)
    comments = {name: comment for name, _, comment, *_ in relations}
    return {
        "views": "\n\n".join(_relation(name, comments[name], described[name]) for name in _contract_first(views)),
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


def _relation(name: str, about: str, columns: list[Column]) -> str:
    rows = [[code(column), code(kind), meaning] for column, kind, meaning in columns]
    return f"### {name}\n\n{about}\n\n{table(['column', 'type', 'meaning'], rows)}"


def _described(columns: dict[str, list[Column]]) -> dict[str, list[Column]]:
    """Return the columns with a meaning each: the comment, the fields it holds, or where a view has it from."""
    fields = {family.table: _senders(family.name) for family in FAMILIES}

    def meaning(relation: str, name: str, comment: str) -> str:
        own = comment or _MEANINGS.get(relation, {}).get(name, "") or fields.get(relation, {}).get(name, "")
        if own:
            return own
        for source in _COMES_FROM.get(relation, ()):
            for column, _, its_comment in columns[source]:
                if column == name:
                    return meaning(source, name, its_comment)
        raise LookupError(f"{relation}.{name} has no meaning; give it one in deploy/documents/tables.py, or a COMMENT")

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
