"""What the measuring programs compute from what they see."""

import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from datetime import date
from itertools import islice

import pytest

from deploy.local.simulator import source_and_id
from docs.generate import capacity as documents
from schemas.errors import MustStop
from sinks.clickhouse.client import Target, connect
from tests.lab.measure import capacity, history, inputs, quantiles, restart, sizing, workers
from tests.lab.measure.drain import Cost, Sample, cost_between, steady
from tests.lab.measure.latency import Watched, latencies
from tests.lab.measure.outcome import Goal
from tests.lab.measure.paced import SentBatch
from tests.lab.rig import scrape, usage

PLACE = ("classpulse.classroom", 0)
OTHER = ("classpulse.classroom", 1)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([(1.0, 1), (2.0, 1), (3.0, 1), (4.0, 1)], 0.5, 2.0),
        ([(4.0, 1), (1.0, 97), (9.0, 2)], 0.99, 9.0),
        ([(4.0, 1), (1.0, 98), (9.0, 1)], 0.99, 4.0),
        ([(0.1, 10)] * 3, 1.0, 0.1),
    ],
)
def test_a_quantile_counts_every_event_once(values: list[tuple[float, float]], share: float, expected: float) -> None:
    """A batch of many events weighs as much as they do."""
    assert quantiles.of_weighted(values, share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([(1.0, 1.0)], 0.0), ([(1.0, 1.0)], 1.1)])
def test_there_is_no_quantile_of_nothing(values: list[tuple[float, float]], share: float) -> None:
    """No value, or a share that is none, is an error rather than a number."""
    with pytest.raises(ValueError, match="no quantile"):
        quantiles.of_weighted(values, share)


def test_a_histogram_quantile_lies_within_its_bucket() -> None:
    """Half way into a bucket's events is half way between its bounds; beyond the last bound is that bound."""
    buckets = {0.1: 10.0, 0.5: 20.0, 1.0: 20.0, math.inf: 40.0}
    assert quantiles.histogram_quantile(buckets, 0.375) == pytest.approx(0.3)
    assert quantiles.histogram_quantile(buckets, 0.99) == 1.0
    assert quantiles.histogram_quantile({0.1: 0.0, math.inf: 0.0}, 0.5) is None


def test_an_event_is_queryable_at_the_first_poll_that_finds_it_applied() -> None:
    """A batch whose last record is just below the checkpoint counts; one record more waits for the next checkpoint."""
    watched = Watched()
    for at, offset in ((1.0, 0), (1.1, 10), (1.2, 10), (1.3, 30)):
        watched.see(PLACE, offset, at)
    batches = [SentBatch(PLACE, 0.5, 10, 0), SentBatch(PLACE, 1.0, 11, 10), SentBatch(PLACE, 0.1, 3, 0)]
    assert latencies(batches, watched, 0.4) == [(pytest.approx(0.6), 10.0), (pytest.approx(0.3), 11.0)]


@pytest.mark.parametrize("batch", [SentBatch(PLACE, 1.0, 2, 29), SentBatch(OTHER, 1.0, 1, 0)])
def test_an_event_that_never_became_queryable_is_an_error(batch: SentBatch) -> None:
    """What was lost is not left out of the percentiles."""
    watched = Watched()
    watched.see(PLACE, 30, 2.0)
    with pytest.raises(LookupError, match="never became queryable"):
        latencies([batch], watched, 0.0)


def _sample(at: float, first: tuple[int, str], second: tuple[int, str], cpu: float = 0.0) -> Sample:
    offsets = {PLACE: first[0], OTHER: second[0]}
    return Sample(at, offsets, {PLACE: first[1], OTHER: second[1]}, sum(offsets.values()), {"worker-0": cpu})


def test_a_rate_is_that_of_the_time_in_which_all_workers_had_work() -> None:
    """The start, until each has written, and the tail, once one is done, do not count."""
    samples = [
        _sample(0.0, (0, ""), (0, "")),
        _sample(1.0, (10, "a"), (0, ""), 0.5),
        _sample(2.0, (20, "a"), (10, "b"), 1.0),
        _sample(3.0, (40, "a"), (30, "b"), 2.0),
        _sample(9.0, (40, "a"), (60, "b"), 3.0),
    ]
    found = steady(samples, 2)
    assert found == Cost(40, 1.0, {"worker-0": 1.0})
    assert found is not None
    assert found.cpu_us("worker") == 25_000
    assert cost_between(samples[0], samples[-1]).events_per_second == pytest.approx(100 / 9)


def test_without_common_work_there_is_no_rate() -> None:
    """One worker did all: that is no measurement of two."""
    samples = [_sample(0.0, (0, ""), (0, "")), _sample(1.0, (10, "a"), (10, "a"))]
    assert steady(samples, 2) is None


def test_two_workers_are_compared_by_medians() -> None:
    """One slow run does not decide."""
    runs = {"one": [Cost(100, 1.0, {})] * 3, "two": [Cost(100, seconds, {}) for seconds in (0.5, 0.5, 9.0)]}
    assert workers.speedup(runs, "one", "two") == 2.0


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("", 1.0, 1.0, "s"), True),
        (Goal("", 1.0, 1.01, "s"), False),
        (Goal("", 1.7, 1.7, "×", at_most=False), True),
        (Goal("", 1.7, 1.6, "×", at_most=False), False),
        (Goal("", 1.0, math.nan, "s"), False),
        (Goal("", 1.0, math.nan, "s", at_most=False), False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_never_without_a_measurement(goal: Goal, met: bool) -> None:
    """The bound itself is enough; what could not be measured is missed."""
    assert goal.met is met


def test_the_parts_of_a_restart_add_up() -> None:
    """What the log says splits the whole time."""
    parts = restart.parts_of(100.0, [101.5, 105.0], 107.25)
    assert list(parts.values()) == [1.5, 3.5, 2.25]


@pytest.mark.parametrize(("lessons", "shape"), [(810, (54, 15)), (3000, (75, 40)), (60, (4, 15))])
def test_lessons_at_once_fit_into_schools(lessons: int, shape: tuple[int, int]) -> None:
    """As many classes as lessons, within what the simulator can do."""
    assert inputs.shape_of(lessons) == shape


@pytest.mark.parametrize("lessons", [0, 7, 6000])
def test_what_no_schools_hold_is_rejected(lessons: int) -> None:
    """The error says which numbers can be had."""
    with pytest.raises(ValueError, match="give a multiple"):
        inputs.shape_of(lessons)


def test_more_devices_send_the_same_events() -> None:
    """Only the sources change: there are more of them, and each event keeps its id, its key and its data."""
    plain = list(islice(inputs.lessons_at_once(15, 12, seed=1), 4_000))
    split = list(islice(inputs.on_more_devices(inputs.lessons_at_once(15, 12, seed=1)), 4_000))
    before, after = ([source_and_id(record) for record in records] for records in (plain, split))
    assert [name for _, name in before] == [name for _, name in after]
    assert [source for source, _ in before] == [source.rpartition(".")[0] for source, _ in after]
    devices = Counter(source.rpartition(".")[0] for source in {source for source, _ in after})
    assert {count for source, count in devices.items() if "/terminal-" in source} == {9}
    assert max(count for source, count in devices.items() if "/tablet-" in source) == 2
    assert {record.key for record in plain} == {record.key for record in split}


def test_a_history_that_does_not_fit_is_rejected_with_the_room_it_needs() -> None:
    """Nothing is begun that would fill the disk."""
    assert history.room_for(10, 1000, 18_000) == 18_000
    with pytest.raises(MustStop, match=r"need 2.0 GiB on disk, and 1.0 GiB are free.*--folder"):
        history.room_for(1, int(2 * 2**30 / history.MERGE_ROOM) + 1, 2**30)


def test_a_day_is_copied_to_the_days_before_it(database: Target) -> None:
    """Each copy has its own day in its names and times, its own ids, and is otherwise the same."""
    client = connect(database)
    client.command(
        "INSERT INTO events_classroom (key, time, source, id, type, subject, lessonid, stored_at) VALUES"
        " ('lesson-s01-c1-20260310-1', '2026-03-10 00:30:00', '/d', 'one', 'classroom.hand.raised',"
        " 'lesson-s01-c1-20260310-1', 'lesson-s01-c1-20260310-1', '2026-03-10 00:31:00')"
    )
    client.command(
        "INSERT INTO metric_rows (metric, window, key, slot, window_start, window_end, value, revision)"
        " VALUES ('m', 'lesson', 'lesson-s01-c1-20260310-1', 0, '2026-03-10 00:00:00', '2026-03-10 00:40:00', 0.5, 7)"
    )
    done: list[int] = []
    for table in history.TABLES:
        history.copy_days(client, table, date(2026, 3, 10), 3, done.append)
    events = client.query(
        "SELECT key, subject, lessonid, toString(time), toString(stored_at), id FROM events_classroom ORDER BY time"
    ).result_rows
    assert [row[:5] for row in events] == [
        (*[f"lesson-s01-c1-202603{day:02}-1"] * 3, f"2026-03-{day:02} 00:30:00.000000", f"2026-03-{day:02} 00:31:00.000")
        for day in (7, 8, 9, 10)
    ]
    assert len({row[5] for row in events}) == 4
    figures = client.query(
        "SELECT key, toUnixTimestamp(slot), toString(window_end), value, revision FROM metric_rows ORDER BY window_end"
    ).result_rows
    assert figures == [
        (f"lesson-s01-c1-202603{day:02}-1", 0, f"2026-03-{day:02} 00:40:00.000000", 0.5, 7) for day in (7, 8, 9, 10)
    ]
    assert done[-1] == 3
    client.close()


def test_a_page_is_read_as_numbers() -> None:
    """Totals over labels, one label's values, and a histogram's buckets over all its labels."""
    page = scrape.parsed(
        [
            "# TYPE stage_seconds histogram",
            'stage_seconds_bucket{stage="a",le="0.1"} 1',
            'stage_seconds_bucket{stage="a",le="+Inf"} 2',
            'stage_seconds_bucket{stage="b",le="0.1"} 3',
            'stage_seconds_bucket{stage="b",le="+Inf"} 5',
            'stage_seconds_sum{stage="a"} 0.5',
            'stage_seconds_sum{stage="b"} 1.5',
        ]
    )
    assert page.buckets("stage_seconds") == {0.1: 4.0, math.inf: 7.0}
    assert page.by_label("stage_seconds_sum", "stage") == {"a": 0.5, "b": 1.5}
    assert page.total("stage_seconds_sum", stage="b") == 1.5
    assert page.total("nothing") == 0


def test_the_kernel_tells_cpu_and_memory_and_takes_cores() -> None:
    """A process that works shows CPU time and memory; pinned, it has one core, in every thread."""
    busy = "import sys; held = bytearray(64 << 20)\nfor _ in range(10**7): pass\nprint(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert usage.cpu_seconds(process.pid) >= 0.05
        memory = usage.memory(process.pid)
        assert memory.peak_bytes >= memory.resident_bytes > 64 << 20
        core = min(os.sched_getaffinity(0))
        usage.pin(process.pid, [core])
        assert os.sched_getaffinity(process.pid) == {core}
        process.stdin.close() if process.stdin else None
    with pytest.raises(OSError, match=str(process.pid)):
        usage.cpu_seconds(process.pid)


def test_no_time_gives_no_rate() -> None:
    """A drain that ended before it was looked at says so."""
    with pytest.raises(ValueError, match="measure for longer"):
        usage.rate_per_second(10, 0.0)


def test_a_lesson_is_told_from_its_students() -> None:
    """Two sizes of class give what a lesson sends anyway and what each student adds."""
    assert capacity.per_lesson_and_student(545 + 12 * 14, 545 + 45 * 14) == (pytest.approx(545), pytest.approx(14))


def test_only_the_lessons_that_began_together_are_counted() -> None:
    """Of a day, the first slot is counted whole, and the busiest 10 s is at least the mean."""
    slot = capacity.counted(inputs.lessons_at_once(15, 12, seed=1), 15)
    assert slot.events_per_lesson == pytest.approx(713, rel=0.15)
    assert 400 < slot.record_bytes < 1_000
    assert 1.0 < slot.busiest_over_mean < 10.0


def _measured(**numbers: float) -> sizing.Measured:
    ones = {field.name: 1.0 for field in fields(sizing.Measured)}
    return sizing.Measured(**(ones | {"worker_events_per_second": 10_000.0} | numbers))


def test_what_a_scale_needs_is_the_arithmetic_of_the_page() -> None:
    """Events, workers, partitions, cores and bytes follow from the measured numbers by the page's formulas."""
    measured = _measured(
        events_per_lesson=600,
        events_per_student=10,
        busiest_over_mean=2,
        clickhouse_cpu_us_per_event=10,
        record_bytes=500,
        figures_per_event=2,
        stored_bytes_per_event=60,
        stored_bytes_per_figure=20,
        rows_inserted_per_event=4,
    )
    need = sizing.needed(sizing.Scale("", 360_000, 12_000), measured, sizing.Assumptions(parts_per_second=100.0))
    assert (need.events_per_second, need.busiest_events_per_second) == (4_500, 9_000)
    assert (need.workers, need.partitions, need.cells) == (2, 12, 2)
    assert (need.clickhouse_cores, need.rows_per_second) == (pytest.approx(0.36), 36_000)
    assert need.stored_bytes == 10_800_000 * 8 * 600 * 100
    assert (need.kafka_bytes, need.kafka_bytes_per_second) == (10_800_000 * 80 * 1_500, 13_500_000)
    assert need.bottleneck == "ClickHouse's disk"


@pytest.mark.parametrize(
    ("numbers", "bottleneck"),
    [
        ({}, "nothing: one node is enough"),
        ({"clickhouse_cpu_us_per_event": 1e6}, "ClickHouse's CPU"),
        ({"stored_bytes_per_event": 1e9}, "ClickHouse's disk"),
        ({"worker_events_per_second": 1.0}, "ClickHouse's parts"),
    ],
)
def test_the_bottleneck_is_what_needs_most_nodes(numbers: dict[str, float], bottleneck: str) -> None:
    """Each of the bounds can be the one that decides."""
    need = sizing.needed(sizing.Scale("", 36_000, 3_000), _measured(**numbers))
    assert need.bottleneck == bottleneck
    assert need.partitions >= need.workers >= need.cells >= 1


def test_the_page_names_every_number_and_every_assumption() -> None:
    """Nothing that is computed with is left off the page."""
    assert set(documents.MEANINGS) == {field.name for field in fields(sizing.Measured)}
    assert set(documents.ASSUMED) == {field.name for field in fields(sizing.Assumptions)}
