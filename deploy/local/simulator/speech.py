"""Who speaks in a lesson, second by second, with the FIAS category, by strategy and by the teacher's habit."""

from __future__ import annotations

import random
from typing import Final

#: Weights of (speaker, FIAS category) for each strategy of the five-study classroom. Category None: not coded.
_TALK: Final[dict[str, dict[tuple[str, int | None], int]]] = {
    "question_led": {
        ("teacher", 4): 22,
        ("teacher", 5): 14,
        ("teacher", 3): 10,
        ("teacher", 2): 6,
        ("teacher", 1): 2,
        ("teacher", 6): 4,
        ("student", 8): 22,
        ("student", 9): 10,
        ("both", None): 4,
        ("silence", 10): 8,
    },
    "situational": {
        ("teacher", 5): 30,
        ("teacher", 4): 10,
        ("teacher", 1): 5,
        ("teacher", 3): 5,
        ("student", 8): 10,
        ("student", 9): 14,
        ("both", None): 6,
        ("silence", 10): 12,
    },
    "interactive": {
        ("student", 9): 32,
        ("student", 8): 14,
        ("both", None): 22,
        ("teacher", 3): 8,
        ("teacher", 2): 5,
        ("teacher", 6): 5,
        ("teacher", 4): 6,
        ("silence", 10): 6,
    },
    "evaluative": {
        ("silence", 10): 34,
        ("teacher", 2): 8,
        ("teacher", 3): 8,
        ("teacher", 7): 4,
        ("teacher", 4): 10,
        ("teacher", 5): 10,
        ("student", 8): 16,
        ("student", 9): 6,
    },
    "digital": {
        ("silence", 10): 20,
        ("teacher", 6): 12,
        ("teacher", 5): 24,
        ("student", 8): 12,
        ("student", 9): 12,
        ("both", None): 6,
        ("teacher", 4): 8,
    },
}
_LECTURE: Final = '{"speaker":"teacher","fias_code":5,"duration_ms":'


def _head(speaker: str, fias_code: int | None) -> str:
    code = "" if fias_code is None else f'"fias_code":{fias_code},'
    return f'{{"speaker":"{speaker}",{code}"duration_ms":'


_HEADS: Final = {
    strategy: tuple(_head(*who) for who, weight in weights.items() for _ in range(weight))
    for strategy, weights in _TALK.items()
}


def question_and_answer(rng: random.Random, asked_ms: int, end_ms: int) -> list[tuple[int, str]]:
    """Return the segments of an oral question, as :func:`speech_between` does: question, wait, answer, wait, reply.

    The question ends soon after ``asked_ms``; nothing is said at or after ``end_ms``.
    """
    waited, replied = int(400 + 5_000 * rng.random() ** 2), int(300 + 3_000 * rng.random() ** 2)
    parts = [
        ("teacher", 4, 2_500 + int(rng.random() * 1_500)),
        ("silence", 10, waited),
        ("student", 8, 2_500 + int(rng.random() * 6_000)),
        ("silence", 10, replied),
        ("teacher", 2, 2_000 + int(rng.random() * 3_000)),
    ]
    time_ms = asked_ms - 2_000
    segments = []
    for speaker, fias_code, length_ms in parts:
        duration_ms = min(length_ms, end_ms - time_ms)
        if duration_ms > 0:
            segments.append((time_ms, f"{_head(speaker, fias_code)}{duration_ms}}}"))
        time_ms += length_ms
    return segments


def speech_between(
    rng: random.Random, strategy: str, lecturing: float, start_ms: int, end_ms: int
) -> list[tuple[int, str]]:
    """Return the segments that fill ``start_ms`` to ``end_ms`` without a gap, each as (start in ms, data as JSON)."""
    draw = rng.random
    heads = _HEADS[strategy]
    choices = len(heads)
    segments = []
    time_ms = start_ms
    while time_ms < end_ms:
        # Few segments are long: the square of a uniform number gives 1.5 to 11 s with a mean of 4.7 s.
        stretch = draw()
        duration_ms = min(1500 + int(9500 * stretch * stretch), end_ms - time_ms)
        head = _LECTURE if draw() < lecturing * 0.5 else heads[int(draw() * choices)]
        segments.append((time_ms, f"{head}{duration_ms}}}"))
        time_ms += duration_ms
    return segments
