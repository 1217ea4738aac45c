"""Chance that repeats: one generator for each purpose, so that a change of one part leaves the others as they were."""

from __future__ import annotations

import random


def seeded(seed: int, purpose: str) -> random.Random:
    """Return the generator of ``purpose`` in the run of ``seed``."""
    return random.Random(f"{seed}/{purpose}")  # noqa: S311 - it must repeat, and nothing here is secret
