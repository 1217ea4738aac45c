"""Timestamps in columns against ``datetime``."""

import random
import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from schemas.codec.times import timestamps_us
from schemas.events.fields import RFC3339_PATTERN, timestamp_us


def expected(text: str) -> int | None:
    """Return what the model makes of ``text``, or None."""
    if re.fullmatch(RFC3339_PATTERN, text) is None:
        return None
    try:
        return timestamp_us(text)
    except ValueError:
        return None


def test_random_texts_are_read_or_rejected_as_the_model_does() -> None:
    """5,000 texts near the edges of the calendar, the clock, the fraction and the zone: same verdict, same value."""
    rng = random.Random(1)
    texts = []
    zones = ["Z", "z", "+08:00", "-23:59", "+24:00", "+0800", "-00:00", "٠"]
    for _ in range(5_000):
        year = rng.choice([1968, 1969, *range(2140, 2151), rng.randint(1968, 2151)])
        date = f"{year:04}-{rng.randint(0, 13):02}-{rng.randint(0, 32):02}"
        clock = f"{rng.randint(0, 24):02}:{rng.randint(0, 60):02}:{rng.randint(0, 60):02}"
        fraction = rng.choice(["", "." + "".join(rng.choices("0123456789", k=rng.randint(0, 12)))])
        texts.append(date + rng.choice("Tt") + clock + fraction + rng.choice(zones))
    values, wrong = timestamps_us(pa.array(texts))
    wanted = [expected(text) for text in texts]
    assert sum(value is not None for value in wanted) > 500
    assert [None if bad else value for value, bad in zip(values.to_pylist(), wrong, strict=True)] == wanted


def test_forms_that_other_readers_take_are_rejected_in_a_column_of_their_own() -> None:
    """Arrow alone would take several of these; each is judged as the model does, with no other text beside it."""
    rng = random.Random(2)
    zones = ["Z", "+08:00", "-23:59", "+0800", "+08", "-08:60", "+8:00", ""]
    texts = [f"2026-11-16{mark}08:05{seconds}{zone}" for mark in "T tS" for seconds in ("", ":12", ":1") for zone in zones]
    starts = ["2024-02-29T08:05:12", "2148-12-31T23:59:59.9", "1970-01-01T00:00:00.1234567"]
    for _ in range(2_000):
        text = rng.choice(starts) + rng.choice(zones)
        place = rng.randrange(len(text))
        texts.append(text[:place] + rng.choice(["", *"0159:-+.,TZz t٠"]) + text[place + rng.randint(0, 1) :])
    for text in texts:
        values, wrong = timestamps_us(pa.array([text]))
        assert (None if wrong[0] else values[0].as_py()) == expected(text), text


def test_every_day_of_the_range_is_the_calendars() -> None:
    """Each day from 1970 to 2148 gives the microseconds that ``datetime`` gives, leap years included."""
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(2148, 12, 31, tzinfo=UTC)
    days = range((last - first).days + 1)
    texts = [datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%dT00:00:00Z") for day in days]
    values, wrong = timestamps_us(pa.array(texts))
    assert not wrong.any()
    assert values.to_pylist() == [day * 86_400_000_000 for day in days]


def test_a_null_stays_null_and_is_not_wrong() -> None:
    """Absent timestamps pass through a column of mixed forms."""
    values, wrong = timestamps_us(pa.array([None, "1970-01-01T00:00:00.0000019Z", "nonsense", None]))
    assert values.to_pylist()[0:2] == [None, 1]
    assert wrong.tolist() == [False, False, True, False]


def test_a_slice_of_a_column_is_read_from_its_own_bytes() -> None:
    """Arrow slices share their parent's buffers; only the slice counts."""
    column = pa.array(["nonsense", "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"])[1:]
    values, wrong = timestamps_us(column)
    assert values.to_pylist() == [1_000_000, 2_000_000]
    assert not wrong.any()


def test_leap_seconds_are_at_the_ends_of_months_in_utc() -> None:
    """For every month of the range and several zones: second 60 is the next month's first, and nowhere else a time."""
    months = [datetime(1970 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(1, 179 * 12)]
    right, wrong = [], []
    for number, month in enumerate(months):
        hours = (0, 8, -11)[number % 3]
        local = month - timedelta(seconds=1) + timedelta(hours=hours)
        zone = f"{'-' if hours < 0 else '+'}{abs(hours):02}:00"
        right.append(local.strftime(f"%Y-%m-%dT%H:%M:60{zone}"))
        wrong.append((local + timedelta(hours=1)).strftime(f"%Y-%m-%dT%H:%M:60{zone}"))
    values, rejected = timestamps_us(pa.array(right + wrong))
    assert rejected.tolist() == [False] * len(right) + [True] * len(wrong)
    assert values.to_pylist()[: len(right)] == [int(month.timestamp()) * 1_000_000 for month in months]
    assert [expected(text) for text in right + wrong] == [*values.to_pylist()[: len(right)], *[None] * len(wrong)]
