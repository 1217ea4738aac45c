"""The schedule of faults: drawn from a seed, complete, and within its time."""

from collections import Counter

import pytest

from tests.lab.chaos.conductor import LINK_FAULTS, Conductor
from tests.lab.chaos.schedule import COOL_DOWN_SECONDS, KINDS, WARM_UP_SECONDS, schedule

WORKERS = ("w0", "w1", "w2")


def test_the_same_seed_draws_the_same_faults_and_another_draws_others() -> None:
    """Two calls agree in every field; another seed does not."""
    first, again, other = (schedule(seed, 900, 200, WORKERS, durable_broker=True) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len(first) == 200


def test_faults_come_in_order_within_their_time() -> None:
    """None before the workers have joined, none at the very end, each no earlier than the one before."""
    times = [step.at_seconds for step in schedule(3, 120, 60, WORKERS, durable_broker=True)]
    assert times == sorted(times)
    assert times[0] >= WARM_UP_SECONDS
    assert times[-1] <= 120 - COOL_DOWN_SECONDS


@pytest.mark.parametrize("seed", range(20))
def test_the_first_faults_have_every_kind_once(seed: int) -> None:
    """A run with as many faults as there are kinds has each of them, and every worker is struck in a longer one."""
    steps = schedule(seed, 300, len(KINDS), WORKERS, durable_broker=True)
    assert Counter(step.kind for step in steps) == Counter(kind.name for kind in KINDS)
    longer = schedule(seed, 900, 200, WORKERS, durable_broker=True)
    assert {step.target for step in longer} == {*WORKERS, "extra", "broker", "clickhouse"}


def test_a_broker_in_memory_is_never_killed() -> None:
    """What a broker that forgets cannot survive is left out."""
    steps = schedule(1, 900, 400, WORKERS, durable_broker=False)
    assert {step.kind for step in steps} == {kind.name for kind in KINDS if not kind.durable}


def test_only_the_named_kinds_strike() -> None:
    """A run may be about one kind of fault; one that cannot strike is a mistake of the caller."""
    steps = schedule(1, 900, 100, WORKERS, durable_broker=False, only=["worker_kill"])
    assert {step.kind for step in steps} == {"worker_kill"}
    with pytest.raises(ValueError, match="can strike"):
        schedule(1, 900, 100, WORKERS, durable_broker=False, only=["broker_kill"])


def test_every_fault_at_an_insert_names_its_table_and_no_other_does() -> None:
    """The steps of a write are struck one by one, all of them in a long run."""
    by_name = {kind.name: kind for kind in KINDS}
    steps = schedule(5, 900, 300, WORKERS, durable_broker=True)
    assert all((step.table in by_name[step.kind].tables) if by_name[step.kind].tables else not step.table for step in steps)
    hit = {step.table for step in steps if step.table}
    assert hit == {
        "dead_letters",
        "events_classroom",
        "events_prep",
        "events_research",
        "events_registry",
        "metric_rows",
        "checkpoints",
    }


def test_a_run_without_workers_or_without_time_is_rejected() -> None:
    """Nothing to strike, or no time for it, is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one worker"):
        schedule(1, 60, 1, (), durable_broker=True)
    with pytest.raises(ValueError, match="too short"):
        schedule(1, 10, 1, WORKERS, durable_broker=True)
    assert schedule(1, 10, 0, WORKERS, durable_broker=True) == []


def test_every_kind_can_be_performed() -> None:
    """For each kind that strikes a worker there is a performer; a new kind without one would fail only in a run."""
    for kind in KINDS:
        if kind.victim == "worker":
            assert kind.name in LINK_FAULTS or hasattr(Conductor, f"_{kind.name}"), kind.name
