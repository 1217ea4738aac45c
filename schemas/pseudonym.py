"""Student ids out, keyed hashes in: no table ever holds an id by which a school knows a student."""

import hmac
from functools import lru_cache
from typing import Final

import polars as pl

from schemas.fields import STUDENT_FIELDS

#: HMAC needs a key that cannot be guessed; student numbers can be, so a short key would give them away.
KEY_MIN_BYTES: Final = 16
#: Pseudonyms remembered, about 60 MB; a district's students of a week fit.
CACHE_LIMIT_IDS: Final = 200_000
PSEUDONYM_HEX_DIGITS: Final = 32


class Pseudonymizer:
    """Replaces student ids by ``p`` and the first 32 hexadecimal digits of HMAC-SHA256(key, id in UTF-8).

    The same key always gives the same pseudonym, so figures go on over restarts; another key unlinks everything stored
    before. Raises ``ValueError`` for a key shorter than ``KEY_MIN_BYTES``.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_MIN_BYTES:
            message = (
                f"the pseudonym key has {len(key)} bytes, at least {KEY_MIN_BYTES} are needed: make one with "
                "`openssl rand -hex 32`, set it as CLASSPULSE_PSEUDONYM_KEY, and keep it for good"
            )
            raise ValueError(message)
        self._key = key
        self._cached = lru_cache(maxsize=CACHE_LIMIT_IDS)(self._hash)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key hidden)"

    def one(self, student_id: str) -> str:
        """Return the pseudonym of ``student_id``."""
        return self._cached(student_id)

    def apply(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return ``events`` with the ids in the columns of ``STUDENT_FIELDS`` replaced; nulls stay null.

        Each id is hashed once. Apply it once: a pseudonym would be hashed like an id.
        """
        present = [name for name in events.columns if name in STUDENT_FIELDS]
        columns = [name for name in present if events[name].null_count() < events.height]
        if not columns:
            return events
        values = [events[name] for name in columns]
        flat = [column.explode() if column.dtype == pl.List(pl.String) else column for column in values]
        ids = pl.concat([column.alias("id") for column in flat]).unique().drop_nulls()
        pseudonyms = pl.Series([self._cached(student_id) for student_id in ids], dtype=pl.String)
        replaced = []
        for name, column in zip(columns, values, strict=True):
            if column.dtype == pl.List(pl.String):
                element = pl.element().replace_strict(ids, pseudonyms, return_dtype=pl.String)
                replaced.append(pl.col(name).list.eval(element))
            else:
                replaced.append(pl.col(name).replace_strict(ids, pseudonyms, return_dtype=pl.String))
        return events.with_columns(replaced)

    def _hash(self, student_id: str) -> str:
        return "p" + hmac.digest(self._key, student_id.encode("utf-8"), "sha256").hex()[:PSEUDONYM_HEX_DIGITS]
