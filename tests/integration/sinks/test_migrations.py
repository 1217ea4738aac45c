"""Migrations: applied once, in order, and never under another text."""

import re
from dataclasses import replace

import pytest

from schemas.codec.decode import event_columns
from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES, Family
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Target, Warehouse
from sinks.clickhouse.migrations import Migration, migrate


def test_each_is_applied_once(clickhouse: Target) -> None:
    """The first run applies every migration in order, the second none."""
    target = replace(clickhouse, database="migrated_twice")
    first = [(migration.number, applied) for migration, applied in migrate(target)]
    assert first == [(number, True) for number in sorted({number for number, _ in first})]
    assert not any(applied for _migration, applied in migrate(target))


def test_a_changed_text_is_rejected(database: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that was applied and then edited is rejected by name."""
    changed = [replace(migration, text=migration.text + "\n-- edited") for migration in migrations.migrations()]
    monkeypatch.setattr(migrations, "migrations", lambda: changed)
    with pytest.raises(MustStop, match="0001 events"):
        list(migrate(database))


def test_a_newer_database_is_rejected(database: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program older than its database does not touch it."""
    known = migrations.migrations()[:-1]
    monkeypatch.setattr(migrations, "migrations", lambda: known)
    with pytest.raises(MustStop, match="does not know"):
        list(migrate(database))


def test_a_name_that_is_none_is_rejected(clickhouse: Target) -> None:
    """A database's name cannot carry SQL."""
    with pytest.raises(MustStop, match="cannot name a database"):
        list(migrate(replace(clickhouse, database="x; DROP DATABASE classpulse")))


def test_statements_end_at_the_end_of_a_line() -> None:
    """Comments are dropped and statements split; a semicolon inside a line splits nothing."""
    text = "-- first\nSELECT ';';\n\nSELECT 2;\n"
    assert Migration(1, "x", text).statements() == ["SELECT ';'", "SELECT 2"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_event_tables_have_a_column_for_every_field(warehouse: Warehouse, family: Family) -> None:
    """The stored columns are those of the codec, and three of the pipeline's."""
    found = warehouse.query(
        "read columns",
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = %(table)s",
        {"table": family.table},
    )
    expected = {re.sub("_us$", "", name) for name in event_columns(family)} - {"offset", "row"}
    assert set(found["name"]) == expected | {"partition", "position", "late", "stored_at"}


def test_every_column_of_a_table_says_what_it_means(warehouse: Warehouse) -> None:
    """Columns of the metric, checkpoint and dead-letter tables carry comments in the database itself."""
    silent = warehouse.query(
        "read comments",
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = ''"
        " AND table IN ('metric_rows', 'checkpoints', 'dead_letters', 'schema_migrations', 'event_days',"
        " 'checkpoint_days')",
    )
    assert silent.rows() == []
