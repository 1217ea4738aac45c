"""Metrics 5 to 7."""

import math
from collections.abc import Sequence

from schemas.metrics.classroom.questions import SKETCH_ACCURACY
from schemas.metrics.metric import WINDOW_10M
from tests.oracle.classroom.lessons import Lesson, hopping
from tests.oracle.rows import NEVER_US, Event, Metrics, RowKey, Rows, quotient

__all__ = ["question_rows"]


def question_rows(lesson: Lesson) -> Rows:
    """Metrics 5 to 7: each prompt that was asked, the windows that hold the moments of asking, and the lesson."""
    rows: Rows = {}
    rates: list[tuple[int, float | None, bool]] = []
    counted: list[Event] = []
    waits_us: list[int] = []
    asked = lesson.only("question.asked")
    answers = [event for event in lesson.only("answer.submitted") if lesson.is_of_class(event)]
    for prompt in sorted({event["prompt_id"] for event in asked}):
        asked_us = min(event["time_us"] for event in asked if event["prompt_id"] == prompt)
        closings = [event for event in lesson.only("question.closed") if event["prompt_id"] == prompt]
        closed_us = min(
            max([asked_us, *(event["time_us"] for event in closings)]) if closings else NEVER_US, lesson.latest_us
        )
        own = [event for event in answers if event["prompt_id"] == prompt and event["time_us"] <= closed_us]
        counted += own
        closed_us = asked_us if closed_us == NEVER_US else max(asked_us, closed_us)
        responders = {event["student_id"] for event in own}
        audience = responders | lesson.audience(asked_us, asked_us + 1)
        rate = quotient(asked_us, closed_us, len(responders), len(audience), len(audience))
        rows[RowKey("response_rate", "prompt", lesson.key, prompt, 0)] = rate
        is_inside = lesson.start_us <= asked_us <= lesson.latest_us
        rates.append((asked_us, rate.value, is_inside))
        later_us = [event["time_us"] for event in own if event["time_us"] >= asked_us]
        if later_us and is_inside:
            waits_us.append(min(later_us) - asked_us)
        for metric, row in answer_metrics(own, asked_us, closed_us).items():
            rows[RowKey(metric, "prompt", lesson.key, prompt, 0)] = row
    spans = [(RowKey("response_rate", "10m/1m", lesson.key, "", a), a, b) for a, b in hopping(asked, WINDOW_10M)]
    for key, start_us, end_us in spans:
        known = [rate for asked_us, rate, _ in rates if start_us <= asked_us < end_us and rate is not None]
        rows[key] = quotient(start_us, end_us, sum(known), len(known), len(known))
    told: dict[str, Metrics] = {}
    if asked:
        known = [rate for _, rate, is_inside in rates if rate is not None and is_inside]
        told["response_rate"] = lesson.so_far(sum(known), len(known), len(known))
        waits = sorted(wait_us / 1e6 for wait_us in waits_us)
        middle = median(waits) if waits else 0
        told["first_answer_seconds"] = lesson.so_far(middle, bool(waits), len(waits), waits)
    if lesson.only("answer.submitted"):
        never_asked = {event["prompt_id"] for event in answers} - {event["prompt_id"] for event in asked}
        counted += [
            event for event in answers if event["prompt_id"] in never_asked and event["time_us"] <= lesson.latest_us
        ]
        told |= answer_metrics(counted, lesson.start_us, lesson.end_us, sketched=True)
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
