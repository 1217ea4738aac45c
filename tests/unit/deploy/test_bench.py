"""The benchmark's arithmetic, its input, and what its programs are told and answer."""

import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

import tests.lab.bench
from deploy.local.simulator import Produced, source_and_id
from tests.lab.bench.catalogue import PEERS, Python
from tests.lab.bench.launch import ProgramError, launch
from tests.lab.bench.mixes import TOPIC, records
from tests.lab.bench.program import Task
from tests.lab.bench.reading import ProductReading, Reading, median_rate, ratio, spread
from tests.lab.bench.run import Result

TASK = Task("127.0.0.1:9092", TOPIC, 6, "some-group", 10, 30.0, 8_388_608)
COUNTS_EACH = """
from tests.lab.bench.program import Stopwatch, Task
stopwatch = Stopwatch(Task.from_command_line())
print("what a library says", end="")
while True:
    stopwatch.count()
"""
COUNTS_BATCHES = COUNTS_EACH.replace("count()", "count(4)").replace("while", "stopwatch.start()\nwhile")
EVENTS = 6_000


def product(rate: float, *, balanced: bool = True, differences: int | None = None) -> ProductReading:
    """A round of classpulse with 1,000 events."""
    reading = Reading(1_000, 1_000 / rate, 0.012)
    return ProductReading(
        reading, 4.0, 0.005, 500 * 2**20, 1_000, 990, 7, 3, 4_000, accounts_balance=balanced, differences=differences
    )


def run(program: str, tmp_path: Path, task: Task = TASK) -> Reading:
    """Launch a program of one file."""
    return launch([sys.executable, "-c", program, *task.arguments()], task.seconds, tmp_path / "program.log")


def test_medians_ratios_and_spreads_are_what_they_say() -> None:
    """The median is robust to one bad round; a ratio is classpulse by the other, to three digits."""
    readings = [Reading(1_000, seconds, 0.5) for seconds in (1.0, 0.5, 100.0)]
    assert median_rate(readings) == 1_000
    assert spread(readings) == pytest.approx((2_000 - 10) / 1_000)
    assert ratio(1_000, 300) == 3.33
    assert ratio(123_456, 1) == 123_000
    assert readings[0].cpu_us_per_event == pytest.approx(500)
    assert Reading(1_000, 1.0).cpu_us_per_event is None


def test_a_result_has_the_promised_keys_and_metrics() -> None:
    """What `--json` prints is computed from medians, and keeps every round."""
    result = Result(
        ceiling=[Reading(1_000, 1_000 / rate, 0.004) for rate in (200_000, 220_000, 150_000)],
        classpulse=[product(90_000), product(110_000), product(100_000, differences=0)],
        peers={"faust": [Reading(100, 0.1), Reading(100, 0.2), Reading(100, 0.1)]},
        missing={"bytewax": "install it"},
    )
    found = result.to_json()
    assert found["ceiling_events_per_second"] == 200_000
    assert found["classpulse_events_per_second"] == 100_000
    assert found["ratio_to_ceiling"] == 0.5
    assert (found["peers"]["faust"]["events_per_second"], found["peers"]["faust"]["ratio"]) == (1_000, 100)
    assert found["not_measured"] == {"bytewax": "install it"}
    assert {name: len(rounds) for name, rounds in found["rounds"].items()} == {"ceiling": 3, "classpulse": 3, "faust": 3}
    assert (found["worker_cpu_us_per_event"], found["clickhouse_cpu_us_per_event"]) == (12, 5)
    assert (found["laws_hold"], found["verify_differences"]) == (True, 0)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "rounds",
    [
        [product(1.0), product(1.0)],
        [product(1.0, differences=2)],
        [product(1.0, balanced=False), product(1.0, differences=0)],
    ],
    ids=["never verified", "a difference", "a record missing in an earlier round"],
)
def test_metrics_without_the_invariants_are_void(rounds: list[ProductReading]) -> None:
    """The invariants hold only if every round's accounts balance and one was verified without a difference."""
    assert not Result(ceiling=[Reading(1, 1.0)], classpulse=rounds).invariants_hold


def test_a_slow_peer_reads_a_prefix() -> None:
    """A peer with a limit reads the beginning of the topic, and all of a smaller one."""
    faust, streams = PEERS["faust"], PEERS["kafka-streams"]
    assert faust.most_events is not None
    assert faust.events_of(600_000) == faust.most_events < 600_000
    assert faust.events_of(1_000) == 1_000
    assert streams.events_of(600_000) == 600_000


def test_what_the_first_count_counts_is_not_measured(tmp_path: Path) -> None:
    """Time begins with the first record, so that one is no part of the rate; what was started before counts in full."""
    assert run(COUNTS_EACH, tmp_path).events == 9
    assert run(COUNTS_BATCHES, tmp_path).events == 12


def test_a_program_stops_when_its_time_is_over(tmp_path: Path) -> None:
    """A peer that would take too long answers with what it has read by then."""
    endless = Task(TASK.bootstrap, TASK.topic, TASK.partitions, TASK.group, 10**12, 0.2, TASK.fetch_max_bytes)
    reading = run(COUNTS_EACH, tmp_path, endless)
    assert 0 < reading.events < 10**12
    assert 0.2 <= reading.seconds < 5


@pytest.mark.parametrize("program", ["raise SystemExit('the broker is away')", "print('42')"], ids=["ends", "babbles"])
def test_a_program_without_an_answer_is_an_error_that_shows_its_log(program: str, tmp_path: Path) -> None:
    """No metric is made up for a program that measured nothing."""
    with pytest.raises(ProgramError, match="without an answer") as error:
        run(program, tmp_path)
    assert "program.log" in str(error.value)
    assert ("the broker is away" in str(error.value)) == program.startswith("raise")


def test_a_peer_that_is_not_installed_says_what_to_do(tmp_path: Path) -> None:
    """A missing interpreter, and one without the package, are missing peers with a remedy."""
    for python in (str(tmp_path / "python"), sys.executable):
        assert "make bench" in (PEERS["bytewax"].missing(Python(peers=python)) or "")
    assert PEERS["aiokafka-pydantic"].missing(Python()) is None


def test_peers_of_their_own_environment_need_nothing_of_this_one() -> None:
    """What they share with the other programs imports the standard library alone."""
    root = str(Path(tests.lab.bench.__file__).parents[3])
    program = f"import sys; sys.path.insert(0, {root!r}); import tests.lab.bench.program, tests.lab.bench.peers.events"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def rough() -> list[Produced]:
    """The rough mix, small."""
    return list(records("rough", EVENTS, 3))


def test_every_record_is_where_everybody_reads(rough: list[Produced]) -> None:
    """Both mixes put exactly the asked number of records into the one topic, and repeat themselves."""
    plain = list(records("plain", EVENTS, 3))
    for mix in (plain, rough):
        assert len(mix) == EVENTS
        assert {record.topic for record in mix} == {TOPIC}
    assert {record.outcome for record in plain} == {"stored"}
    assert list(records("rough", EVENTS, 3)) == rough


def test_the_rough_mix_is_rough(rough: list[Produced]) -> None:
    """Larger events, one hot lesson, repeats, garbage and late events, each in its share."""
    plain_bytes = sum(len(record.value or b"") for record in records("plain", EVENTS, 3))
    assert sum(len(record.value or b"") for record in rough) > 2.5 * plain_bytes
    keys = sorted(record.key or b"" for record in rough)
    hottest = max(len(list(group)) for _key, group in groupby(keys))
    assert 0.18 < hottest / EVENTS < 0.45
    share = {
        outcome: sum(record.outcome == outcome for record in rough) / EVENTS for outcome in ("duplicate", "dead_letter")
    }
    assert 0.07 < share["duplicate"] < 0.12
    assert 0.005 < share["dead_letter"] < 0.015
    happened = [json.loads(record.value or b"")["time"] for record in rough if record.outcome == "stored"]
    latest, late = "", 0
    for time in happened:
        late += time < latest
        latest = max(latest, time)
    assert late / len(happened) > 0.25


def test_a_repeat_goes_to_the_lesson_of_its_original(rough: list[Produced]) -> None:
    """Moving events into the hot lesson keeps every record's outcome true."""
    places: dict[tuple[str, str], set[bytes | None]] = {}
    for record in rough:
        if record.outcome != "dead_letter":
            places.setdefault(source_and_id(record), set()).add(record.key)
            event = json.loads(record.value or b"")
            assert event["partitionkey"].encode() == record.key
    assert all(len(keys) == 1 for keys in places.values())
