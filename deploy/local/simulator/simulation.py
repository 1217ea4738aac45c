"""The simulation from end to end: district, scripts, one timeline, the network, records."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.local.simulator.config import SimulationConfig
from deploy.local.simulator.district import build_district
from deploy.local.simulator.ledger import Produced
from deploy.local.simulator.network import Network
from deploy.local.simulator.programme import openings
from deploy.local.simulator.timeline import merged


class Simulation:
    """One run. Iterate over ``records()`` once; ``district`` and ``fitted`` tell what is simulated."""

    def __init__(self, config: SimulationConfig) -> None:
        disturbance = config.disturbance
        self.fitted = config.fitted()
        self.district = build_district(
            config.seed,
            self.fitted.schools,
            self.fitted.classes_per_school,
            config.students_per_class,
            skew_share=disturbance.skew_share,
            skew_seconds=disturbance.skew_seconds,
        )
        self._network = Network(config)

    def records(self) -> Iterator[Produced]:
        """Yield the records in arrival order."""
        return self._network.transmit(merged(openings(self.fitted, self.district)))

    @property
    def peak_pending_records(self) -> int:
        """Most records held back at once so far."""
        return self._network.peak_pending


def simulate(config: SimulationConfig) -> Iterator[Produced]:
    """Yield the records of ``config`` in arrival order; bounded memory, deterministic.

    Exactly ``config.events`` records, or ``config.days`` school days with the days of preparation before them.
    """
    return Simulation(config).records()
