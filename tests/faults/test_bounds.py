"""What a worker holds in memory is bounded: ClickHouse away, many devices, one lesson with half of it all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.simulator import Produced
from tests.faults.fault_rig import FaultRig, event
from tests.lab.chaos import Cut, Proxy
from tests.lab.rig import WorkerProcess, wait_until

#: The limit that docs/delivery.md states, with the default settings.
LARGEST_WORKER_BYTES = 1_280 * 2**20
#: The default settings, instead of the impatient ones.
DEFAULTS = {"CLASSPULSE_FLUSH_MAX_ROWS": "100000", "CLASSPULSE_FLUSH_INTERVAL_MS": "1000"}


@contextmanager
def watched(worker: WorkerProcess) -> Iterator[list[int]]:
    """Sample a worker's memory; the list holds the samples in bytes."""
    samples = [worker.memory().resident_bytes]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.1):
            samples.append(worker.memory().resident_bytes)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    yield samples
    over.set()
    thread.join()


def many(count: int, *, devices: int, hot_share: float = 0.0) -> list[Produced]:
    """Return so many events from so many devices, ``hot_share`` of them of one lesson, the others of 3,000."""
    first = event(0)
    template = (first.value or b"").decode()
    found = []
    for number in range(count):
        key = "hot" if number % 100 < 100 * hot_share else f"lesson-{number % 3_000}"
        value = (
            template.replace('"e0"', f'"e{number}"')
            .replace("devices/t1", f"devices/t{number % devices}")
            .replace('"lesson-1"', f'"{key}"')
            .replace("stu-1", f"stu-{number % 36_000}")
        )
        found.append(first._replace(key=key.encode(), value=value.encode()))
    return found


def test_memory_with_clickhouse_away_and_kafka_full(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """However much waits in Kafka, a worker that cannot write takes no more than its share."""
    worker = rig.start_worker(**DEFAULTS)
    rig.publish([event(number) for number in range(10)])
    rig.assert_invariants()
    clickhouse_proxy.inject(Cut())
    with watched(worker) as samples:
        rig.publish(many(200_000, devices=10_000)[10:])
        wait_until(lambda: len(samples) > 100 and samples[-1] <= max(samples[-50:-1]), "the worker to take no more")
        clickhouse_proxy.heal()
        rig.assert_invariants()
    assert max(samples) < LARGEST_WORKER_BYTES, f"{max(samples) / 2**20:.0f} MiB"


def test_memory_with_a_hundred_thousand_devices(rig: FaultRig) -> None:
    """A hundred thousand devices, 3,000 lessons and 36,000 students are no more than as many rows."""
    worker = rig.start_worker(**DEFAULTS)
    wait_until(lambda: "assigned" in worker.log.read_text(), "the worker to be ready")
    with watched(worker) as samples:
        rig.publish(many(150_000, devices=100_000))
        rig.assert_invariants()
    assert max(samples) < LARGEST_WORKER_BYTES, f"{max(samples) / 2**20:.0f} MiB"


def test_memory_with_one_hot_lesson(rig: FaultRig) -> None:
    """A lesson that has half of all events is stored and counted like any other, within the same memory."""
    worker = rig.start_worker(**DEFAULTS)
    wait_until(lambda: "assigned" in worker.log.read_text(), "the worker to be ready")
    with watched(worker) as samples:
        rig.publish(many(100_000, devices=1_000, hot_share=0.5))
        rig.assert_invariants()
    assert max(samples) < LARGEST_WORKER_BYTES, f"{max(samples) / 2**20:.0f} MiB"
