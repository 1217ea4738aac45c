"""The pure core: watermarks, presence, the event cache, and where a partition goes on."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.event_types import CLASSROOM
from schemas.metrics.metric import WINDOW_5M, WINDOW_10M
from sinks.stores.checkpoints import NO_OFFSET, Checkpoint
from sinks.stores.positions import position
from streams.core.event_cache import EventCache
from streams.core.presence import FOREVER_US, intervals, persons_at, persons_in, seconds_until, while_absent
from streams.core.watermark import Watermark
from streams.core.windows import windows_at, windows_of
from streams.pipeline.partition import Log, resume_point

CACHED = pl.Schema({"key": pl.String, "source": pl.String, "id": pl.String, "time_us": pl.Int64})


@given(st.lists(st.integers(0, 10**15)), st.integers(0, 10**9))
def test_a_watermark_never_goes_back(times_us: list[int], out_of_orderness_us: int) -> None:
    """Whatever order events come in, the watermark only rises, and trails the latest event."""
    mark = Watermark()
    for time_us in times_us:
        later = mark.seen(time_us, out_of_orderness_us)
        assert later.value_us >= mark.value_us
        assert later.value_us >= later.max_time_us - out_of_orderness_us
        mark = later


def test_a_silent_partition_follows_the_clock() -> None:
    """Without records the watermark is the clock less the idle time; an old clock does not pull it back."""
    mark = Watermark().seen(1_000_000, 0)
    assert mark.idle(90_000_000, 60_000_000).value_us == 30_000_000
    assert mark.idle(0, 60_000_000) == mark


def test_an_event_on_a_boundary_belongs_to_the_later_window() -> None:
    """Windows are half-open: a pane at 300 s is in windows that start at or before it, and end after it."""
    starts = windows_of(pl.DataFrame({"pane_us": [300_000_000]}), WINDOW_5M)["start_us"].sort().to_list()
    assert starts == [60_000_000 * minute for minute in (1, 2, 3, 4, 5)]


@given(st.lists(st.tuples(st.sampled_from("kl"), st.integers(0, 200)), max_size=12))
def test_windows_come_once(drawn: list[tuple[str, int]]) -> None:
    """However close the panes lie, each window they belong to is found, and once."""
    panes = pl.DataFrame(
        [(key, tens * 10_000_000) for key, tens in drawn], schema={"key": pl.String, "pane_us": pl.Int64}, orient="row"
    )
    expected = {
        (key, start_us, start_us + window.size_us)
        for window in (WINDOW_5M, WINDOW_10M)
        for key, _pane_us, start_us in windows_of(panes, window).rows()
    }
    found = windows_at(panes, WINDOW_5M, WINDOW_10M).select("key", "window_start_us", "window_end_us").rows()
    assert sorted(found) == sorted(expected)


def marks(*rows: tuple[str, int, bool]) -> pl.DataFrame:
    """Return joins and leaves of one key as the core takes them."""
    return pl.DataFrame(
        [("k", *row) for row in rows],
        schema={"key": pl.String, "person": pl.String, "time_us": pl.Int64, "joined": pl.Boolean},
        orient="row",
    )


def test_presence_out_of_imperfect_marks() -> None:
    """Repeats have no effect, a leading leave is ignored, a missing leave goes on, a leave at the same instant is first."""
    found = intervals(
        marks(
            ("a", 5, False),
            ("a", 10, True),
            ("a", 11, True),
            ("a", 20, False),
            ("a", 21, False),
            ("b", 7, True),
            ("b", 9, False),
            ("b", 9, True),
        )
    )
    assert found.sort("person", "start_us").select("person", "start_us", "end_us").rows() == [
        ("a", 10, 20),
        ("b", 7, 9),
        ("b", 9, FOREVER_US),
    ]


def test_the_end_of_a_lesson_cuts_presence() -> None:
    """Nobody is present after the end; who came after it was never there."""
    ends = pl.DataFrame({"key": ["k"], "end_us": [15]})
    found = intervals(marks(("a", 10, True), ("b", 15, True), ("c", 20, True)), ends)
    assert found.rows() == [("k", "a", 10, 15)]


spans = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans()), max_size=14)


@given(spans, st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), min_size=1, max_size=6, unique=True))
def test_counts_without_meeting_equal_counts_by_meeting(
    drawn: list[tuple[str, int, bool]], bounds: list[tuple[int, int]]
) -> None:
    """The persons and the presence in a window are those found by looking at every interval."""
    present = intervals(marks(*drawn))
    windows = pl.DataFrame(
        [("k", start, start + size) for start, size in bounds],
        schema={"key": pl.String, "window_start_us": pl.Int64, "window_end_us": pl.Int64},
        orient="row",
    )
    rows = present.rows()
    for _key, start, end, persons in persons_in(present, windows).rows():
        assert persons == len({row[1] for row in rows if row[2] < end and row[3] > start})
    edges = pl.DataFrame({"key": ["k"] * len(bounds), "at_us": [start for start, _size in bounds]})
    for _key, at_us, present_us in seconds_until(present, edges).rows():
        assert present_us == sum(max(0, min(end, at_us) - min(start, at_us)) for _k, _p, start, end in rows)
    for _key, at_us, persons in persons_at(present, edges).rows():
        assert persons == sum(start <= at_us < end for _k, _p, start, end in rows)


@given(spans, st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=8))
def test_strays_are_those_outside_every_interval(
    drawn: list[tuple[str, int, bool]], actions: list[tuple[str, int]]
) -> None:
    """An action is a stray if and only if no interval of its person holds its time."""
    present = intervals(marks(*drawn))
    frame = pl.DataFrame(
        [("k", *action) for action in actions],
        schema={"key": pl.String, "person": pl.String, "time_us": pl.Int64},
        orient="row",
    )
    rows = present.rows()
    expected = [
        (person, at_us) for person, at_us in actions if not any(r[1] == person and r[2] <= at_us < r[3] for r in rows)
    ]
    found = while_absent(frame, present).select("person", "time_us").rows()
    assert sorted(found) == sorted(expected)


def events(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    """Return events as they are cached."""
    return pl.DataFrame(rows, schema=CACHED, orient="row")


def test_cached_events_drop_what_was_seen_whatever_its_time() -> None:
    """Identity is key, source and id: a repeat within the batch or of an earlier one is dropped, another time or not."""
    cached = EventCache(CACHED, 100)
    cached.load(["k"], events(("k", "s", "1", 1), ("k", "s", "1", 1)))
    added = cached.add(events(("k", "s", "1", 9), ("k", "s", "2", 2), ("k", "s", "2", 3), ("k", "t", "1", 4)))
    ((known, _),) = cached.slices(added.cached, 100)
    assert known.height == 3
    assert added.fresh.select("source", "id", "time_us").rows() == [("s", "2", 2), ("t", "1", 4)]
    assert cached.height == 3


def test_cached_events_stay_within_their_bound() -> None:
    """The keys longest untouched are forgotten until the bound holds; a forgotten key is missing again."""
    cached = EventCache(CACHED, 100)
    for number in range(10):
        key = f"k{number}"
        cached.load([key], events())
        cached.touch([key])
        cached.add(events(*((key, "s", str(event), event) for event in range(20))))
        cached.shrink()
        assert cached.height <= 100
    assert cached.missing(["k0", "k9"]) == ["k0"]


def test_fact_columns_are_columns_of_the_events() -> None:
    """What the metrics need is part of what the codec gives."""
    from schemas.codec.decode import event_columns
    from streams.core.families import FOLDS

    assert set(FOLDS[CLASSROOM.name].cached_schema(CLASSROOM)) <= set(event_columns(CLASSROOM))


SAVED = Checkpoint("t", 0, epoch=2, next_offset=50, last_offset=47, last_fingerprint=7)


@pytest.mark.parametrize(
    ("log", "epoch", "next_offset", "why"),
    [
        (Log(0, 90, 7), 2, 50, "the record is there"),
        (Log(0, 11, 7), 2, 50, "the record is there, whatever end the broker names"),
        (Log(0, 90, 8), 3, 0, "another record is there"),
        (Log(0, 50, None), 2, 50, "nothing beyond, and the record itself was compacted away"),
        (Log(0, 40, None), 3, 0, "the log is shorter than what was applied"),
        (Log(60, 90, None), 3, 60, "the log was cut beyond what was applied"),
    ],
)
def test_where_to_go_on(log: Log, epoch: int, next_offset: int, why: str) -> None:
    """A partition goes on at its checkpoint unless the log is another one; then a new epoch begins."""
    found = resume_point(SAVED, "t", 0, log)
    assert (found.epoch, found.next_offset) == (epoch, next_offset), why
    assert found.last_offset == (47 if epoch == 2 else NO_OFFSET), "nothing of a new epoch is applied yet"


def test_a_partition_without_checkpoint_begins_at_the_start() -> None:
    """The first offset that is still there, not 0."""
    assert resume_point(None, "t", 3, Log(12, 90)) == Checkpoint("t", 3, next_offset=12)


def test_a_new_epoch_outranks_every_old_offset() -> None:
    """The position after a recreation is above every position before."""
    assert replace(SAVED, epoch=3, next_offset=0).position > replace(SAVED, next_offset=10**12).position
    assert position(1, 5) == 2**48 + 5
