"""Whole columns of text that are seen at little cost to keep their rule; where that is not seen, nothing is decided."""

import re
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.events.fields import IDENTIFIER_PATTERN, LABEL_PATTERN

_Bytes = npt.NDArray[np.uint8]

#: Where all of ASCII from this byte on is allowed, but for DEL.
_LOWEST_BYTE: Final = {IDENTIFIER_PATTERN: 0x21, LABEL_PATTERN: 0x20}
_DELETE: Final = 0x7F
_BEYOND_ASCII: Final = 0x80
#: First bytes of the characters U+4000 to U+D7FF, nearly all Chinese and all Korean ones, of which none is rejected.
_PLAIN_LEADS: Final = (0xE4, 0xED)
#: Bytes above this are first bytes of characters beyond ASCII.
_LAST_CONTINUATION: Final = 0xBF
_DIGITS: Final = re.compile(r"\^\[0-9\]\{(\d+),(\d+)\}\$")
#: A column with more different texts than this is cheaper to match as a whole.
_FEW: Final = 100


def text_plainly_holds(values: pa.Array, min_length: int, max_length: int | None, pattern: str | None) -> bool:
    """Return True if all ``values`` are seen to have a length within the bounds, in characters, and to match."""
    data, lengths_bytes = text_bytes(values)
    present_bytes = lengths_bytes
    if values.null_count:
        present_bytes = lengths_bytes[values.is_valid().to_numpy(zero_copy_only=False)]
    # A character is 1 to 4 bytes.
    if present_bytes.min() < min_length * 4 - 3:
        return False
    if max_length is not None and present_bytes.max() > max_length:
        return False
    if pattern is None:
        return True
    if pattern in _LOWEST_BYTE and _are_plain(data, _LOWEST_BYTE[pattern]):
        return True
    if digits := _DIGITS.fullmatch(pattern):
        within = int(digits[1]) <= present_bytes.min() and present_bytes.max() <= int(digits[2])
        return within and bool(data.min() >= ord("0") and data.max() <= ord("9"))
    distinct = values.dictionary_encode().dictionary
    return len(distinct) <= _FEW and all(_matches(pattern, text) for text in distinct.to_pylist())


def text_bytes(values: pa.Array) -> tuple[_Bytes, npt.NDArray[np.int32]]:
    """Return the UTF-8 bytes of a string column, joined, and the length of each row in bytes (0 for a null)."""
    _, offsets_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return data, np.diff(offsets)


def _are_plain(data: _Bytes, lowest: int) -> bool:
    """Return True if UTF-8 ``data`` is seen to hold no character that a name or an identifier may not have."""
    if data.min() < lowest or (data == _DELETE).any():
        return False
    highest = data.max()
    if highest < _BEYOND_ASCII:
        return True
    first, last = _PLAIN_LEADS
    return bool(highest <= last and not ((data > _LAST_CONTINUATION) & (data < first)).any())


@lru_cache(maxsize=1024)
def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None
