"""Student ids out, keyed hashes in: no table ever holds an id by which a school knows a student."""

import hmac
import unicodedata
from functools import lru_cache
from typing import Final

import polars as pl
import pyarrow as pa

from schemas.events.fields import STUDENT_FIELDS

#: HMAC needs a key that cannot be guessed; student numbers can be, so a short key would give them away.
KEY_MIN_BYTES: Final = 16
#: Pseudonyms remembered, about 60 MB; a district's students of a week fit.
CACHE_LIMIT_IDS: Final = 200_000
PSEUDONYM_HEX_DIGITS: Final = 32
#: No id of a student: these hold no white space.
_FINGERPRINT_TEXT: Final = b"fingerprint of a pseudonym key"


def fingerprint(key: bytes) -> str:
    """Return 64 hexadecimal digits that tell ``key`` from any other and reveal nothing of it."""
    return hmac.digest(key, _FINGERPRINT_TEXT, "sha256").hex()


class Pseudonymizer:
    """Replaces student ids by ``p`` and the first 32 hexadecimal digits of HMAC-SHA256(key, id in UTF-8).

    An id is taken in Unicode's form NFKC: composed, and with full-width letters and digits as plain ones. So a student whom
    one device spells ``ｓ１`` and another ``s1`` is one student. ``respelled`` counts the different ids for which that
    mattered, since the start or since they were forgotten.

    The same key always gives the same pseudonym, so metrics go on over restarts; another key unlinks everything stored
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
        self.respelled = 0
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
        replaced = [
            pl.Series(name, self._replaced(events[name].to_arrow(compat_level=pl.CompatLevel.oldest())))
            for name in events.columns
            if name in STUDENT_FIELDS and events[name].null_count() < events.height
        ]
        return events.with_columns(replaced) if replaced else events

    def _replaced(self, ids: pa.Array) -> pa.Array:
        """Return ``ids``, texts or lists of texts, as pseudonyms."""
        if pa.types.is_large_list(ids.type):
            # A slice keeps the whole array's values; Arrow takes no mask with offsets that do not begin the buffer.
            offsets = ids.offsets.to_numpy()
            values = self._replaced(ids.values.slice(offsets[0], offsets[-1] - offsets[0]))
            return pa.LargeListArray.from_arrays(offsets - offsets[0], values, mask=ids.is_null())
        encoded = ids.dictionary_encode()
        pseudonyms = pa.array(map(self._cached, encoded.dictionary.to_pylist()), pa.string())
        return pseudonyms.take(encoded.indices)

    def _hash(self, student_id: str) -> str:
        folded = unicodedata.normalize("NFKC", student_id)
        self.respelled += folded != student_id
        return "p" + hmac.digest(self._key, folded.encode("utf-8"), "sha256").hex()[:PSEUDONYM_HEX_DIGITS]
