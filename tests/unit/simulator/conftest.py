"""Two runs of the simulator that many tests look at: one undisturbed, one with everything that can go wrong."""

from __future__ import annotations

from datetime import date

import pytest

from deploy.local.simulator import Disturbance, SimulationConfig, simulate

from .contract import Seen, seen

DAY = date(2026, 11, 16)
TROUBLE = Disturbance(
    disorder_share=0.05,
    duplicate_share=0.05,
    retimed_share=0.2,
    late_share=0.02,
    offline_share=0.1,
    skew_share=0.2,
    wild_clock_share=0.01,
    malformed_share=0.05,
)


@pytest.fixture(scope="session")
def calm() -> list[Seen]:
    """Records of an undisturbed run."""
    return [seen(record) for record in simulate(SimulationConfig(events=18_000, date=DAY))]


@pytest.fixture(scope="session")
def troubled() -> list[Seen]:
    """Records of a run with every disturbance."""
    config = SimulationConfig(events=18_000, date=DAY, disturbance=TROUBLE, binary_share=0.3)
    return [seen(record) for record in simulate(config)]
