"""However the events are cut into writes, ordered, repeated and forgotten, the metrics converge to the oracle's."""

import math
import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events.event_types import CLASSROOM, PREP, RESEARCH, Family
from schemas.metrics.catalogue import METRICS
from schemas.metrics.rules import MetricRules
from streams.core.event_cache import EventCache
from streams.core.families import FOLDS
from tests.oracle.hostile import BASE_US, activities, lessons, weeks_of_preparation
from tests.oracle.oracle import Event, Metrics, RowKey, expected_rows

RULES = MetricRules(engagement_weights=(0.4, 0.3, 0.2, 0.1), engagement_full_rate=0.1)
HIGHEST = {metric.name: metric.highest for metric in METRICS}
Stored = dict[RowKey, Metrics]
#: Few enough that one write is folded in several slices.
SLICE_ROWS = 10


def events_frame(family: Family, events: list[Event]) -> pl.DataFrame:
    """Return the events with the columns that the cache keeps."""
    schema = FOLDS[family.name].cached_schema(family)
    return pl.DataFrame([{name: event.get(name) for name in schema} for event in events], schema=schema)


def fold_in_writes(family: Family, writes: list[list[Event]], forget_after: set[int]) -> Stored:
    """Apply the writes one after the other as the pipeline does; the last row written for a key counts."""
    cached = EventCache(FOLDS[family.name].cached_schema(family), max_rows=1_000_000)
    store: list[Event] = []
    rows: Stored = {}
    for number, write in enumerate(writes):
        batch = events_frame(family, write)
        keys = batch["key"].unique().to_list()
        if missing := cached.missing(keys):
            cached.load(missing, events_frame(family, [event for event in store if event["key"] in missing]))
        added = cached.add(batch)
        found = [FOLDS[family.name].rows(known, fresh, RULES) for known, fresh in cached.slices(added.cached, SLICE_ROWS)]
        for row in (row for frame in found for row in frame.iter_rows(named=True)):
            key = RowKey(row["metric"], row["window"], row["key"], row["item"], row["slot_us"])
            rows[key] = Metrics(
                row["window_start_us"],
                row["window_end_us"],
                row["value"],
                row["numerator"],
                row["denominator"],
                row["sample_size"],
                tuple(row["parts"]),
            )
        identities = {(event["key"], event["source"], event["id"]) for event in store}
        for event in write:
            if (identity := (event["key"], event["source"], event["id"])) not in identities:
                identities.add(identity)
                store.append(event)
        if number in forget_after:
            cached.forget(keys)
    return rows


def cut(events: list[Event], seed: int) -> tuple[list[list[Event]], set[int]]:
    """Shuffle, repeat some (one with another time), cut into writes, and choose after which the memory is lost."""
    shuffle = random.Random(seed)
    again = [event for event in events if shuffle.random() < 0.3]
    ordered = [*events]
    shuffle.shuffle(ordered)
    ordered += [{**event, "time_us": event["time_us"] + shuffle.choice([0, 0, 60_000_000])} for event in again]
    writes: list[list[Event]] = []
    while ordered:
        size = shuffle.randint(1, 6)
        writes.append(ordered[:size])
        ordered = ordered[size:]
    return writes, {number for number in range(len(writes)) if shuffle.random() < 0.3}


def assert_in_range(found: Stored) -> None:
    """No metric leaves the range of its declaration, whatever the accepted events say."""
    for key, row in found.items():
        highest = HIGHEST[key.metric]
        assert row.value is None or 0 <= row.value <= (math.inf if highest is None else highest), (key, row)


def assert_same(found: Stored, expected: dict[RowKey, Any]) -> None:
    """Compare rows; numbers may differ by rounding only."""
    assert found.keys() == expected.keys()
    for key, metrics in expected.items():
        row = found[key]
        assert (row.window_start_us, row.window_end_us, row.sample_size) == (
            metrics.window_start_us,
            metrics.window_end_us,
            metrics.sample_size,
        ), key
        assert row.numerator == pytest.approx(metrics.numerator, rel=1e-9, abs=1e-9), key
        assert row.denominator == pytest.approx(metrics.denominator, rel=1e-9, abs=1e-9), key
        assert row.value == (None if metrics.value is None else pytest.approx(metrics.value, rel=1e-9, abs=1e-9)), key
        assert len(row.parts) == len(metrics.parts), key
        for one, part in zip(row.parts, metrics.parts, strict=True):
            assert one == (None if part is None else pytest.approx(part, rel=1e-9, abs=1e-9)), key


def check(family: Family, drawn: list[Callable[[str], list[Event]]], seed: int) -> None:
    """Fold drawn scenarios in random writes and compare with the oracle."""
    events = [event for number, scenario in enumerate(drawn) for event in scenario(f"key-{number}")]
    writes, forget_after = cut(events, seed)
    found = fold_in_writes(family, writes, forget_after)
    assert_in_range(found)
    assert_same(found, expected_rows(events, RULES))


@settings(max_examples=25)
@given(st.lists(lessons(), min_size=1, max_size=2), st.integers(0, 2**32))
def test_classroom_metrics_converge(drawn: list[Callable[[str], list[Event]]], seed: int) -> None:
    """Classroom metrics do not depend on how the events arrived."""
    check(CLASSROOM, drawn, seed)


@settings(max_examples=25)
@given(st.lists(weeks_of_preparation(BASE_US - 8 * 3_600_000_000), min_size=1, max_size=2), st.integers(0, 2**32))
def test_prep_metrics_converge(drawn: list[Callable[[str], list[Event]]], seed: int) -> None:
    """Preparation metrics do not depend on how the events arrived."""
    check(PREP, drawn, seed)


@settings(max_examples=25)
@given(st.lists(activities(), min_size=1, max_size=2), st.integers(0, 2**32))
def test_research_metrics_converge(drawn: list[Callable[[str], list[Event]]], seed: int) -> None:
    """Research metrics do not depend on how the events arrived."""
    check(RESEARCH, drawn, seed)
