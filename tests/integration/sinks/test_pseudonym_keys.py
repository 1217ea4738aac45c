"""A database has one pseudonym key: the first worker's, which every other worker must have."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MustStop
from schemas.events.pseudonym import Pseudonymizer, fingerprint
from sinks.clickhouse.client import Target, Warehouse
from sinks.stores.pseudonym_keys import PseudonymKeys, compare, recorded
from tests.oracle.database import insert_checkpoint, open_client

KEY, OTHER = fingerprint(b"0123456789abcdef"), fingerprint(b"0123456789abcdef\n")


def keys(warehouse: Warehouse, print_of_key: str, on_adopted: Callable[[], None] = lambda: None) -> PseudonymKeys:
    """What a worker holds."""
    return PseudonymKeys(warehouse, print_of_key, "worker", on_adopted)


@given(st.binary(min_size=16), st.text(min_size=1))
def test_a_fingerprint_tells_keys_apart_and_is_no_students(key: bytes, student_id: str) -> None:
    """It is that of this key alone, and never the pseudonym that the key gives to an id."""
    assert fingerprint(key) == fingerprint(bytes(key))
    assert fingerprint(key) != fingerprint(key + b"\n")
    assert not ("p" + fingerprint(key)).startswith(Pseudonymizer(key).one(student_id.replace(" ", "")))


def test_the_first_key_counts_for_good(warehouse: Warehouse, database: Target) -> None:
    """The first worker's is recorded, the same one is accepted again, and another one is rejected at every start."""
    assert compare(database, OTHER)
    keys(warehouse, KEY).confirm()
    keys(warehouse, KEY).confirm()
    assert compare(database, KEY)
    for ask in (keys(warehouse, OTHER).confirm, lambda: compare(database, OTHER)):
        with pytest.raises(MustStop, match=r"not the one that this database was filled with.*CLASSPULSE_PSEUDONYM_KEY"):
            ask()
    with open_client(database) as client:
        assert recorded(client) == KEY
        assert client.query("SELECT count() FROM pseudonym_keys").result_rows == [(1,)]


def test_an_administrator_can_begin_with_another_key(warehouse: Warehouse, database: Target) -> None:
    """Once the record is emptied the next worker's key counts; the insert before it does not hide the new one."""
    keys(warehouse, KEY).confirm()
    with open_client(database) as client:
        client.command("TRUNCATE TABLE pseudonym_keys")
    keys(warehouse, OTHER).confirm()
    assert compare(database, OTHER)


def test_of_first_workers_at_the_same_moment_one_key_counts(database: Target) -> None:
    """All see the same outcome: who has the key that counts goes on, everybody else stops."""
    prints = [fingerprint(bytes([number]) * 16) for number in range(6)]
    together = threading.Barrier(len(prints))

    def begin(print_of_key: str) -> str | None:
        warehouse = Warehouse(database)
        warehouse.query("connect", "SELECT 1")
        together.wait()
        try:
            keys(warehouse, print_of_key).confirm()
        except MustStop:
            return None
        finally:
            warehouse.close()
        return print_of_key

    with ThreadPoolExecutor(len(prints)) as threads:
        outcomes = list(threads.map(begin, prints))
    with open_client(database) as client:
        assert client.query("SELECT count() FROM pseudonym_keys").result_rows == [(1,)]
        assert [one for one in outcomes if one is not None] == [recorded(client)]


def test_a_database_that_is_older_than_the_record_is_told_of(warehouse: Warehouse, database: Target) -> None:
    """Its key cannot be known; the first worker's is recorded, and a person is told to look."""
    with open_client(database) as client:
        insert_checkpoint(client, "classroom", 5)
    told: list[bool] = []
    keys(warehouse, KEY, lambda: told.append(True)).confirm()
    keys(warehouse, KEY, lambda: told.append(True)).confirm()
    assert told == [True]


def test_a_database_that_cannot_be_asked_is_no_error(database: Target) -> None:
    """Away, rejecting the user, or without the table: it was not compared, and that is said."""
    assert not compare(replace(database, url="http://127.0.0.1:9"), KEY)
    assert not compare(replace(database, password="wrong"), KEY)
    assert not compare(replace(database, database="default"), KEY)
