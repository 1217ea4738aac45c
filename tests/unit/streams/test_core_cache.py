"""What is a duplicate is decided by the identity alone, however events are cached."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import event_cache as module
from streams.core.codes import spelled
from streams.core.event_cache import EventCache

SCHEMA = pl.Schema({"key": pl.String, "source": pl.String, "id": pl.String, "time_us": pl.Int64})
Event = tuple[str, str, str, int]

events = st.tuples(st.sampled_from("kl"), st.sampled_from("kst"), st.sampled_from("stu"), st.integers(0, 3))
writes = st.lists(st.lists(events, max_size=8), max_size=8)


def fold(drawn: list[list[Event]], max_rows: int) -> None:
    """Add the writes one by one, forget now and then, and compare with sets."""
    cached = EventCache(SCHEMA, max_rows)
    stored: list[Event] = []
    for write in drawn:
        keys = sorted({event[0] for event in write})
        if missing := cached.missing(keys):
            told = [event for event in stored if event[0] in missing]
            cached.load(missing, pl.DataFrame(told, schema=SCHEMA, orient="row"))
        cached.touch(keys)
        added = cached.add(pl.DataFrame(write, schema=SCHEMA, orient="row"))
        identities = {event[:3] for event in stored}
        fresh: list[Event] = []
        dropped: list[Event] = []
        for event in write:
            (dropped if event[:3] in identities else fresh).append(event)
            identities.add(event[:3])
        stored += fresh
        assert added.fresh.rows() == fresh
        assert added.dropped.rows() == dropped
        touched = {event[0] for event in fresh}
        known = [row for part, _ in cached.slices(added.cached, 3) for row in spelled(part).rows()]
        assert sorted(known) == sorted(event for event in stored if event[0] in touched)
        cached.shrink()


@settings(max_examples=40)
@given(writes)
def test_an_event_is_fresh_once(drawn: list[list[Event]]) -> None:
    """Whatever repeats within a write or between them, the first of each identity is fresh, the others are dropped."""
    fold(drawn, 1_000)


@settings(max_examples=40)
@given(writes)
def test_what_is_forgotten_comes_back(drawn: list[list[Event]]) -> None:
    """A cache that forgets at every write, and begins new dictionaries, finds the same duplicates."""
    fold(drawn, 2)


@settings(max_examples=40)
@given(writes)
def test_equal_hashes_are_no_verdict(drawn: list[list[Event]]) -> None:
    """Where every identity has the same hash, no event is taken for another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_marked", lambda cached: cached.with_columns(mark=pl.lit(7, pl.UInt64)))
        fold(drawn, 1_000)
        fold(drawn, 2)


def test_slices_hold_whole_keys_and_everything_once() -> None:
    """However few rows a slice may have, each touched key is whole in one of them; nothing is left out or repeated."""
    cached = EventCache(SCHEMA, 100)
    stored = [(*"abc", 0), (*"bbc", 1), (*"abd", 2), (*"dbd", 3)]
    cached.load(["a", "b", "c", "d"], pl.DataFrame(stored, SCHEMA, orient="row"))
    added = cached.add(pl.DataFrame([(*"cbe", 4), (*"bbe", 5), (*"abe", 6)], SCHEMA, orient="row"))
    for most_rows in (1, 2, 3, 100):
        parts = list(cached.slices(added.cached, most_rows))
        assert sum(part["key"].n_unique() for part, _ in parts) == 3
        assert sorted(at_us for part, _ in parts for at_us in part["time_us"]) == [0, 1, 2, 4, 5, 6]
        assert sorted(at_us for _, part in parts for at_us in part["time_us"]) == [4, 5, 6]
        assert all(set(fresh["key"]) <= set(part["key"]) for part, fresh in parts)
