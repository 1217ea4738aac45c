"""A simulated school district: the events of its devices, as Kafka records, with an exact account of their fates."""

from deploy.local.simulator.config import Disturbance, FittedConfig, SimulationConfig
from deploy.local.simulator.ledger import REASONS, Fate, Ledger, Produced, source_and_id
from deploy.local.simulator.present import ending_now, in_whole_weeks
from deploy.local.simulator.publish import publish
from deploy.local.simulator.simulation import Simulation, simulate

__all__ = [
    "REASONS",
    "Disturbance",
    "Fate",
    "FittedConfig",
    "Ledger",
    "Produced",
    "Simulation",
    "SimulationConfig",
    "ending_now",
    "in_whole_weeks",
    "publish",
    "simulate",
    "source_and_id",
]
