"""Merges all scripts of the district into one stream in the order of time, a minute at a time."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from itertools import count
from typing import Final

from deploy.local.simulator.draft import Draft, Script

_SLICE_MS: Final = 60_000
_NEVER_MS: Final = 1 << 62


def merged(openings: Iterator[tuple[int, list[Script]]]) -> Iterator[list[Draft]]:
    """Yield the drafts of all scripts in time order, in lists of at most a minute each.

    ``openings`` gives, in time order, scripts and a time (ms) before which none of them has a draft. A minute's
    drafts and each running script's current piece are all that is held, never a whole lesson.
    """
    order = count()
    running: list[tuple[int, int, Script]] = []
    pool: list[Draft] = []
    opening = next(openings, None)
    while running or pool or opening:
        opening_ms = opening[0] if opening else _NEVER_MS
        first_ms = min(opening_ms, running[0][0] if running else _NEVER_MS, pool[0].time_ms if pool else _NEVER_MS)
        slice_end_ms = first_ms - first_ms % _SLICE_MS + _SLICE_MS
        while opening is not None and opening[0] < slice_end_ms:
            for script in opening[1]:
                horizon_ms, _ = next(script)
                heapq.heappush(running, (horizon_ms, next(order), script))
            opening = next(openings, None)
        while running and running[0][0] < slice_end_ms:
            horizon_ms, number, script = running[0]
            piece = next(script, None)
            if piece is None:
                heapq.heappop(running)
                continue
            pool += piece[1]
            heapq.heapreplace(running, (max(piece[0], horizon_ms), number, script))
        pool.sort(key=_time_ms)
        due = bisect_left(pool, slice_end_ms, key=_time_ms)
        yield pool[:due]
        del pool[:due]


def _time_ms(draft: Draft) -> int:
    return draft.time_ms
