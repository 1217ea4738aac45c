"""RFC 3339 text to microseconds, a column at a time.

Arrow parses a column of such texts at about 0.03 µs a value, but takes other forms for times as well, so the form is
looked at beside it. A column with anything that is not plainly a time is parsed here: the texts of one length have every
digit in the same place, so they are a byte matrix, and parsing is arithmetic on its columns, at about 0.3 µs a value.
"""

from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.codec.plain_text import text_bytes
from schemas.events.fields import TIME_LIMIT_CHARS

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

_SHORTEST: Final = len("2026-11-16T08:05:12Z")
_SHORTEST_WITH_OFFSET: Final = len("2026-11-16T08:05:12+08:00")
_LONGEST_PLAIN: Final = len("2026-11-16T08:05:12.123456789+08:00")
#: With nine digits of a fraction, which are cut to six afterwards; it holds the years 1678 to 2261.
_NANOSECONDS: Final = pa.timestamp("ns", "UTC")
#: A day within the years that are accepted, so that the zone cannot matter.
_EARLIEST_NS: Final = 86_400 * 10**9
_LATEST_NS: Final = int(datetime(2148, 12, 31, tzinfo=UTC).timestamp()) * 10**9
_SEPARATORS: Final = ((4, b"-"), (7, b"-"), (10, b"Tt"), (13, b":"), (16, b":"))
_ZULU: Final = b"Zz"
#: Seconds that the last minute of a month may have beside 00 to 59.
_LEAP_SECOND: Final = 60
_DAYS_IN_MONTH: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE_MONTH: Final = np.concatenate([[0], np.cumsum(_DAYS_IN_MONTH)[:-1]])


def timestamps_us(texts: pa.Array) -> tuple[pa.Array, _Mask]:
    """Return microseconds since the epoch (int64) for RFC 3339 ``texts``, and which of them are no such time.

    A null stays null and is not counted as wrong. The rules are those of ``schemas.events.fields.Timestamp``.
    """
    plain = _plain_us(texts)
    if plain is not None:
        return plain, np.zeros(len(texts), dtype=np.bool_)
    data, lengths = text_bytes(texts)
    present = texts.is_valid().to_numpy(zero_copy_only=False)
    wrong = np.zeros(len(texts), dtype=np.bool_)
    micros = np.zeros(len(texts), dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    for width in np.unique(lengths[present]):
        rows = np.flatnonzero(present & (lengths == width))
        if not _SHORTEST <= width <= TIME_LIMIT_CHARS:
            wrong[rows] = True
            continue
        matrix = data[starts[rows][:, None] + np.arange(width)]
        zulu = _one_of(matrix[:, -1], _ZULU)
        for of_zone, zone_width in ((zulu, 1), (~zulu, 6)):
            if of_zone.any():
                chosen = rows[of_zone]
                micros[chosen], valid = _parse(matrix[of_zone], zone_width)
                wrong[chosen] = ~valid
    return pa.array(micros, mask=~present), wrong


def _plain_us(texts: pa.Array) -> pa.Array | None:
    """Return what ``timestamps_us`` does if Arrow parses every text and the form of each is beyond doubt, else None.

    Arrow also takes a space for the T, leaves out seconds, and takes zones without a colon or without minutes. With the
    T at its place and the zone in full at the end, the length leaves only a time with seconds between them.
    """
    data, lengths = text_bytes(texts)
    ends = np.cumsum(lengths)
    if texts.null_count:
        present = texts.is_valid().to_numpy(zero_copy_only=False)
        lengths, ends = lengths[present], ends[present]
    if not len(lengths) or lengths.min() < _SHORTEST or lengths.max() > _LONGEST_PLAIN:
        return None
    zulu = data[ends - 1] == ord("Z")
    sign = data[ends - 6]
    offset = (lengths >= _SHORTEST_WITH_OFFSET) & (data[ends - 3] == ord(":")) & ((sign == ord("+")) | (sign == ord("-")))
    if not ((data[ends - lengths + 10] == ord("T")) & (zulu | offset)).all():
        return None
    try:
        nanos = texts.cast(_NANOSECONDS).cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    first, last = pc.min_max(nanos).values()
    if first.as_py() < _EARLIEST_NS or last.as_py() > _LATEST_NS:
        return None
    return pc.divide(nanos, 1_000)


def _parse(matrix: _Bytes, zone_width: int) -> tuple[_Ints, _Mask]:
    # A byte that is no digit wraps around to more than 9.
    digits = matrix - np.uint8(ord("0"))
    valid = np.ones(len(matrix), dtype=np.bool_)
    for place, separators in _SEPARATORS:
        valid &= _one_of(matrix[:, place], separators)

    def number(*places: int) -> _Ints:
        nonlocal valid
        total = np.zeros(len(matrix), dtype=np.int64)
        for place in places:
            valid &= digits[:, place] <= 9
            total = total * 10 + digits[:, place]
        return total

    year, month, day = number(0, 1, 2, 3), number(5, 6), number(8, 9)
    hour, minute, second = number(11, 12), number(14, 15), number(17, 18)
    valid &= (year >= 1970) & (year <= 2148) & (month >= 1) & (month <= 12) & (day >= 1)
    valid &= (hour <= 23) & (minute <= 59) & (second <= _LEAP_SECOND)
    month = np.where(valid, month, 1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    valid &= day <= _DAYS_IN_MONTH[month] + (leap & (month == 2))

    fraction, fraction_valid = _fraction_us(matrix, digits, zone_width)
    zone_minutes, zone_valid = _zone_minutes(matrix, digits, zone_width)
    valid &= fraction_valid & zone_valid

    before = year - 1
    days = (year - 1970) * 365 + (before // 4 - before // 100 + before // 400) - 477
    days += _DAYS_BEFORE_MONTH[month] + (leap & (month > 2)) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute - zone_minutes) * 60 + second
    leaps = second == _LEAP_SECOND
    if leaps.any():
        moments = seconds.astype("datetime64[s]")
        valid &= ~leaps | (moments == moments.astype("datetime64[M]"))
    return seconds * 1_000_000 + fraction, valid


def _one_of(column: _Bytes, allowed: bytes) -> _Mask:
    return np.isin(column, list(allowed))


def _fraction_us(matrix: _Bytes, digits: _Bytes, zone_width: int) -> tuple[_Ints, _Mask]:
    """Return the fraction of a second, cut to microseconds; it stands between the seconds and the zone."""
    first, end = 20, matrix.shape[1] - zone_width
    total = np.zeros(len(matrix), dtype=np.int64)
    if end == first - 1:
        return total, np.ones(len(matrix), dtype=np.bool_)
    if end <= first:
        return total, np.zeros(len(matrix), dtype=np.bool_)
    valid = matrix[:, first - 1] == ord(".")
    for place in range(first, first + 6):
        total = total * 10 + (digits[:, place] if place < end else 0)
    return total, valid & (digits[:, first:end] <= 9).all(axis=1)


def _zone_minutes(matrix: _Bytes, digits: _Bytes, zone_width: int) -> tuple[_Ints, _Mask]:
    if zone_width == 1:
        return np.zeros(len(matrix), dtype=np.int64), np.ones(len(matrix), dtype=np.bool_)
    zone = digits[:, -zone_width:].astype(np.int64)
    hours, minutes = zone[:, 1] * 10 + zone[:, 2], zone[:, 4] * 10 + zone[:, 5]
    sign = matrix[:, -zone_width]
    valid = (sign == ord("+")) | (sign == ord("-"))
    valid &= (zone[:, [1, 2, 4, 5]] <= 9).all(axis=1) & (matrix[:, -3] == ord(":"))
    valid &= (hours <= 23) & (minutes <= 59)
    return np.where(sign == ord("-"), -1, 1) * (hours * 60 + minutes), valid
