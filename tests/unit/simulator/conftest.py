"""Two runs of the simulator that many tests look at: one undisturbed, one with everything that can go wrong."""

from __future__ import annotations

from datetime import date

import pytest

from deploy.simulator import Disturbance, Produced, SimulationConfig, simulate

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
def calm() -> list[Produced]:
    """Records of an undisturbed run, all in structured mode."""
    return list(simulate(SimulationConfig(events=25_000, date=DAY, binary_share=0.0)))


@pytest.fixture(scope="session")
def troubled() -> list[Produced]:
    """Records of a run with every disturbance."""
    return list(simulate(SimulationConfig(events=25_000, date=DAY, disturbance=TROUBLE, binary_share=0.3)))
