"""Which key the students' pseudonyms of a database are made with: told by the first worker, compared by all others.

The table holds generations, for the day on which a key must be replaced; today there is one, the first.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop, RetryLater
from sinks.clickhouse.client import WRITE_SETTINGS, Target, Warehouse, connect

__all__ = ["PseudonymKeys", "compare", "recorded"]

GENERATION: Final = 1


def recorded(client: Client) -> str | None:
    """Return the fingerprint of the key in use; None before any worker has stored with one."""
    found = client.query(
        "SELECT fingerprint FROM pseudonym_keys ORDER BY generation DESC, recorded_at, fingerprint LIMIT 1"
    )
    return str(found.result_rows[0][0].decode()) if found.result_rows else None


def compare(target: Target, fingerprint: str) -> bool:
    """Return whether the database told the key in use, or that there is none; no answer is waited for.

    Raises :class:`MustStop` if it is another key than that of ``fingerprint``.
    """
    try:
        with closing(connect(target)) as client:
            found = recorded(client)
    except (MustStop, RetryLater, ClickHouseError, HTTPError, OSError):
        return False
    _require_same(found or fingerprint, fingerprint)
    return True


def _require_same(found: str | None, fingerprint: str) -> None:
    if found != fingerprint:
        raise MustStop(
            "The pseudonym key is not the one that this database was filled with: every student would become another",
            "Set CLASSPULSE_PSEUDONYM_KEY to that key, or use an empty database",
        )


class PseudonymKeys:
    """Compares the key with ``fingerprint`` (:func:`schemas.events.pseudonym.fingerprint`) with that of the database.

    ``on_adopted`` is called where the database had events before it had a fingerprint.
    """

    def __init__(self, warehouse: Warehouse, fingerprint: str, worker: str, on_adopted: Callable[[], None]) -> None:
        self._warehouse = warehouse
        self._fingerprint = fingerprint
        self._worker = worker
        self._on_adopted = on_adopted
        self._is_confirmed = False

    def confirm(self) -> None:
        """Record the key of the first worker; raises :class:`MustStop` if the database's is another one."""
        if self._is_confirmed:
            return
        _require_same(self._warehouse.call("compare the pseudonym key", self._confirmed), self._fingerprint)
        self._is_confirmed = True

    def _confirmed(self, client: Client) -> str | None:
        """Return the fingerprint that counts, this one if there was none."""
        found = recorded(client)
        if found is not None:
            return found
        if client.query("SELECT 1 FROM checkpoints WHERE stored > 0 LIMIT 1").result_rows:
            self._on_adopted()
        client.insert(
            "pseudonym_keys",
            [[GENERATION, self._fingerprint, self._worker]],
            column_names=["generation", "fingerprint", "worker"],
            # Of several first workers the server keeps one row: the token is the generation, not the row.
            settings={**WRITE_SETTINGS, "insert_deduplicate": 1, "insert_deduplication_token": f"generation {GENERATION}"},
        )
        return recorded(client)
