"""Real processes for tests and measurements: a stack of Kafka and ClickHouse, and workers on it."""

from tests.lab.rig.rig import Rig, start_stack
from tests.lab.rig.waiting import PATIENCE_SECONDS, wait_until
from tests.lab.rig.worker import WorkerProcess, address_of

__all__ = ["PATIENCE_SECONDS", "Rig", "WorkerProcess", "address_of", "start_stack", "wait_until"]
