"""Metrics 5 to 7."""

import math
from collections.abc import Sequence

from schemas.metrics.classroom.questions import LONG_WAIT_US, SKETCH_ACCURACY
from schemas.metrics.metric import WINDOW_10M
from tests.oracle.classroom.lessons import Lesson, hopping
from tests.oracle.rows import Event, Metrics, RowKey, Rows, quotient

__all__ = ["question_rows"]


def question_rows(lesson: Lesson) -> Rows:
    """Metrics 5 to 7: each prompt that was asked, the windows that hold the moments of asking, and the lesson."""
    rows: Rows = {}
    rates: list[tuple[int, float | None]] = []
    waits_us: list[int] = []
    asked = lesson.only("question.asked")
    answers = lesson.only("answer.submitted")
    for prompt in sorted({event["prompt_id"] for event in asked}):
        asked_us = min(event["time_us"] for event in asked if event["prompt_id"] == prompt)
        closings = [event for event in lesson.only("question.closed") if event["prompt_id"] == prompt]
        closed_us = max([asked_us, *(event["time_us"] for event in closings)])
        own = [event for event in answers if event["prompt_id"] == prompt]
        responders = {event["student_id"] for event in own}
        audience = responders | {stay.person for stay in lesson.stays if stay.start_us <= asked_us < stay.end_us}
        rate = quotient(asked_us, closed_us, len(responders), len(audience), len(audience))
        rows[RowKey("response_rate", "prompt", lesson.key, prompt, 0)] = rate
        rates.append((asked_us, rate.value))
        later_us = [event["time_us"] for event in own if event["time_us"] >= asked_us]
        if later_us:
            waits_us.append(min(later_us) - asked_us)
        for metric, row in answer_metrics(own, asked_us, closed_us).items():
            rows[RowKey(metric, "prompt", lesson.key, prompt, 0)] = row
    spans = [(RowKey("response_rate", "10m/1m", lesson.key, "", a), a, b) for a, b in hopping(asked, WINDOW_10M)]
    for key, start_us, end_us in spans:
        known = [rate for asked_us, rate in rates if start_us <= asked_us < end_us and rate is not None]
        rows[key] = quotient(start_us, end_us, sum(known), len(known), len(known))
    told: dict[str, Metrics] = {}
    if asked:
        known = [rate for _, rate in rates if rate is not None]
        told["response_rate"] = lesson.so_far(sum(known), len(known), len(known))
        waits = sorted(wait_us / 1e6 for wait_us in waits_us)
        middle = median(waits) if waits else 0
        told["wait_time_seconds"] = lesson.so_far(middle, bool(waits), len(waits), waits)
        long = sum(wait_us >= LONG_WAIT_US for wait_us in waits_us)
        told["long_wait_share"] = lesson.so_far(long, len(waits), len(waits))
    if answers:
        told |= answer_metrics(answers, lesson.start_us, lesson.end_us, sketched=True)
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def median(ascending: Sequence[float]) -> float:
    """Return the middle, or the mean of the middle two."""
    half = len(ascending) // 2
    return ascending[half] if len(ascending) % 2 else (ascending[half - 1] + ascending[half]) / 2


def answer_metrics(answers: Sequence[Event], start_us: int, end_us: int, *, sketched: bool = False) -> dict[str, Metrics]:
    """Metric 7 of some answers."""
    latencies = sorted(event["latency_ms"] for event in answers if event.get("latency_ms") is not None)
    graded = [event["correct"] for event in answers if event.get("correct") is not None]
    told = {"correct_rate": quotient(start_us, end_us, sum(graded), len(graded), len(graded))}
    parts = sketch(latencies) if sketched else []
    for metric, share in (("answer_latency_p50_ms", 0.5), ("answer_latency_p90_ms", 0.9)):
        value = quantile(latencies, share) if latencies else 0
        told[metric] = quotient(start_us, end_us, value, bool(latencies), len(latencies), parts)
    return told


def quantile(ascending: Sequence[float], share: float) -> float:
    """Return the quantile, interpolated linearly between the two nearest values."""
    place = share * (len(ascending) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (place - below)


def sketch(latencies: Sequence[int]) -> list[float]:
    """Return buckets and counts of a DDSketch, by bucket."""
    ratio = (1 + SKETCH_ACCURACY) / (1 - SKETCH_ACCURACY)
    counts: dict[int, int] = {}
    for latency in latencies:
        bucket = math.ceil(math.log(max(1, latency)) / math.log(ratio))
        counts[bucket] = counts.get(bucket, 0) + 1
    return [float(number) for pair in sorted(counts.items()) for number in pair]
