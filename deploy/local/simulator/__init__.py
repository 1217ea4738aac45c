"""A simulated school district: the events of its devices, as Kafka records, with an exact account of their outcomes."""

from deploy.local.simulator.config import Disturbance, FittedConfig, SimulationConfig
from deploy.local.simulator.ledger import REASONS, Ledger, Outcome, Produced, source_and_id
from deploy.local.simulator.present import ending_now, in_whole_weeks
from deploy.local.simulator.publish import publish
from deploy.local.simulator.simulation import Simulation, simulate

__all__ = [
    "REASONS",
    "Disturbance",
    "FittedConfig",
    "Ledger",
    "Outcome",
    "Produced",
    "Simulation",
    "SimulationConfig",
    "ending_now",
    "in_whole_weeks",
    "publish",
    "simulate",
    "source_and_id",
]
