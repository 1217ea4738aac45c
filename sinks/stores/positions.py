"""Positions: one number for "how far", that keeps growing when a topic's offsets begin again.

``position = epoch x 2^48 + offset``. The epoch is raised when a topic was recreated or truncated, so that what is
written afterwards always outranks what was written before.
"""

from typing import Final

_OFFSET_BITS: Final = 48


def position(epoch: int, offset: int) -> int:
    """Return the position of ``offset`` in ``epoch``."""
    return (epoch << _OFFSET_BITS) + offset
