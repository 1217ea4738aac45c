"""Topics that are missing at the start of a worker, or deleted under it."""

from streams.kafka.topics import DEAD_LETTER_TOPIC
from tests.faults.fault_rig import FaultRig
from tests.faults.kafka_side import delete_topics
from tests.lab.rig import WorkerProcess, wait_until


def problems(worker: WorkerProcess) -> str:
    """Return what the worker says of why it is not ready; empty if it is."""
    return "" if worker.status("readyz") == 200 else worker.page("readyz")


def test_a_missing_topic_is_named_and_taken_up_when_it_is_there(rig: FaultRig) -> None:
    """Not ready while a topic or the dead letters' is missing, be it from the start or later; then everything is read."""
    delete_topics(rig, "classpulse.prep", DEAD_LETTER_TOPIC)
    worker = rig.start_worker()
    for name in ("classpulse.prep", DEAD_LETTER_TOPIC):
        wait_until(lambda name=name: f"no topic {name}" in problems(worker), f"{name} to be named")  # type: ignore[misc]
    assert "classpulse topics create" in problems(worker)
    assert worker.telemetry().total("classpulse_missing_partitions") == 4
    rig.create_topics()
    wait_until(lambda: not problems(worker), "the worker to be ready")
    rig.produce(2_000)
    rig.assert_invariants()
    delete_topics(rig, "classpulse.research")
    wait_until(lambda: "no topic classpulse.research" in problems(worker), "the deletion to be noticed")
    assert worker.status("healthz") == 200
    rig.create_topics()
    wait_until(lambda: not problems(worker), "the worker to be ready again")
    rig.produce(2_000, seed=2)
    rig.assert_invariants()
