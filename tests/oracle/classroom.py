"""Metrics of a lesson (1 to 15) by the plainest loops."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.metrics.classroom_all import (
    INTERACTION_TYPES,
    LESSON_GRACE_US,
    LONG_WAIT_US,
    PLATFORMS,
    SKETCH_ACCURACY,
    STRATEGIES,
    STUDENT_PARTS,
)
from schemas.metrics.metric import WINDOW_1M, WINDOW_5M, WINDOW_10M, Window
from schemas.metrics.rules import MetricRules
from tests.oracle.rows import (
    NEVER_US,
    Event,
    Interval,
    Metrics,
    RowKey,
    Rows,
    earliest,
    figures,
    in_order,
    of_type,
    overlap_us,
    presence,
    window_starts,
)

__all__ = ["lesson_rows"]

JOINED = "classroom.attendance.joined"
LEFT = "classroom.attendance.left"
ANSWERED = "classroom.answer.submitted"


@dataclass
class Lesson:
    """One lesson: its events, its bounds, who was there when, and the timetable if a ``lesson.started`` tells it.

    ``latest_us`` is the latest end possible: the end, if the lesson has ended.
    """

    key: str
    events: Sequence[Event]
    start_us: int
    end_us: int
    latest_us: int
    has_ended: bool
    stays: Sequence[Interval]
    plan: Event | None
    roster: set[str]

    def only(self, *names: str) -> list[Event]:
        """Return the events of these types; ``names`` lack the family."""
        return of_type(self.events, *(f"classroom.{name}" for name in names))

    def interactions(self) -> list[Event]:
        """Return what students did."""
        return of_type(self.events, *INTERACTION_TYPES)

    def so_far(
        self, numerator: float, denominator: float, sample_size: int, parts: Sequence[float | None] = ()
    ) -> Metrics:
        """Return a metric of the lesson so far."""
        return figures(self.start_us, self.end_us, numerator, denominator, sample_size, parts)


def lesson_rows(key: str, events: Sequence[Event], rules: MetricRules) -> Rows:
    """Metrics 1 to 15 of one lesson, and the rows of its students."""
    lesson = read_lesson(key, events)
    rows = talk_rows(lesson) | question_rows(lesson) | participation_rows(lesson) | course_rows(lesson)
    return rows | student_rows(lesson) | engagement_rows(lesson, rows, rules)


def read_lesson(key: str, events: Sequence[Event]) -> Lesson:
    """Find the bounds of the lesson, its roster and its timetable."""
    started = of_type(events, "classroom.lesson.started")
    ended = of_type(events, "classroom.lesson.ended")
    times_us = [event["time_us"] for event in events]
    plan = earliest(started) if started else None
    start_us = plan["time_us"] if plan else min(times_us)
    latest_us = max(start_us, plan["scheduled_end_us"] + LESSON_GRACE_US) if plan else NEVER_US
    end_us = min(max(times_us), latest_us)
    if ended:
        latest_us = end_us = max(event["time_us"] for event in ended)
    roster = set()
    for side in {(event.get("schoolid", ""), event.get("classid", "")) for event in started}:
        own = [event for event in started if (event.get("schoolid", ""), event.get("classid", "")) == side]
        roster |= set(earliest(own)["roster"])
    stays = presence(events, JOINED, LEFT, "student_id", latest_us)
    return Lesson(key, events, start_us, end_us, latest_us, bool(ended), stays, plan, roster)


def hopping(events: Iterable[Event], window: Window) -> set[tuple[int, int]]:
    """Return start and end of every hopping window that holds an event."""
    return {(start_us, start_us + window.size_us) for start_us in window_starts((e["time_us"] for e in events), window)}


def inside(events: Iterable[Event], start_us: int, end_us: int) -> list[Event]:
    """Return the events in ``[start_us, end_us)``."""
    return [event for event in events if start_us <= event["time_us"] < end_us]


def talk_rows(lesson: Lesson) -> Rows:
    """Metrics 1 to 4."""
    speech = lesson.only("speech.recorded")
    rows: Rows = {}
    spans = [("10m/1m", *span) for span in hopping(speech, WINDOW_10M)]
    for window, start_us, end_us in [*spans, ("lesson", lesson.start_us, lesson.end_us)]:
        samples = in_order(speech if window == "lesson" else inside(speech, start_us, end_us))
        coded = [sample["fias_code"] for sample in samples if sample.get("fias_code") is not None]
        told: dict[str, tuple[float, int]] = {}
        if samples:
            speakers = [sample["speaker"] for sample in samples]
            runs = 1 + sum(one != other for one, other in pairwise(speakers))
            told["teacher_occupancy"] = (speakers.count("teacher") + speakers.count("both") / 2, len(samples))
            told["behaviour_conversion"] = (runs - 1, len(samples))
        if coded:
            told["teacher_talk_share"] = (count(coded, 1, 2, 3, 4, 5, 6, 7), len(coded))
            told["student_talk_share"] = (count(coded, 8, 9), len(coded))
            told["silence_share"] = (count(coded, 10), len(coded))
        if coded and window == "lesson":
            told["pupil_initiation_ratio"] = (count(coded, 9), count(coded, 8, 9))
            told["question_ratio"] = (count(coded, 4), count(coded, 4, 5))
            told["teacher_response_ratio"] = (count(coded, 1, 2, 3), count(coded, 1, 2, 3, 6, 7))
        slot_us = 0 if window == "lesson" else start_us
        for metric, (numerator, denominator) in told.items():
            row = figures(start_us, end_us, numerator, denominator, denominator)
            rows[RowKey(metric, window, lesson.key, "", slot_us)] = row
    return rows


def count(codes: Sequence[int], *wanted: int) -> int:
    """Return how many of the codes are among the wanted ones."""
    return sum(code in wanted for code in codes)


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
        rate = figures(asked_us, closed_us, len(responders), len(audience), len(audience))
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
        rows[key] = figures(start_us, end_us, sum(known), len(known), len(known))
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
    told = {"correct_rate": figures(start_us, end_us, sum(graded), len(graded), len(graded))}
    parts = sketch(latencies) if sketched else []
    for metric, share in (("answer_latency_p50_ms", 0.5), ("answer_latency_p90_ms", 0.9)):
        value = quantile(latencies, share) if latencies else 0
        told[metric] = figures(start_us, end_us, value, bool(latencies), len(latencies), parts)
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


def participation_rows(lesson: Lesson) -> Rows:
    """Metrics 8 to 11."""
    rows: Rows = {}
    for window in (WINDOW_1M, WINDOW_5M, WINDOW_10M):
        for start_us, end_us in hopping(lesson.events, window):
            present = {stay.person for stay in lesson.stays if stay.start_us < end_us and stay.end_us > start_us}
            events = inside(lesson.events, start_us, end_us)
            for metric, row in part_taken(lesson, window.name, events, present, start_us, end_us).items():
                rows[RowKey(metric, window.name, lesson.key, "", start_us)] = row
    everyone = {stay.person for stay in lesson.stays}
    told = part_taken(lesson, "lesson", lesson.events, everyone, lesson.start_us, lesson.end_us)
    students = everyone | {event["student_id"] for event in lesson.interactions()}
    counts = [sum(event["student_id"] == student for event in lesson.interactions()) for student in students]
    differences = sum(abs(one - other) for one in counts for other in counts)
    told["participation_gini"] = lesson.so_far(differences, 2 * len(counts) * sum(counts), len(counts))
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def part_taken(
    lesson: Lesson, window: str, events: Sequence[Event], present: set[str], start_us: int, end_us: int
) -> dict[str, Metrics]:
    """Metrics 8, 10 and 11 of one window, as far as they are taken over windows of that name."""
    acts = of_type(events, *INTERACTION_TYPES)
    raised = len(of_type(events, "classroom.hand.raised"))
    called = len(of_type(events, "classroom.hand.called"))
    minutes = sum(overlap_us(stay, start_us, end_us) for stay in lesson.stays) / 60e6
    told = {"interactions_per_student_minute": figures(start_us, end_us, len(acts), minutes, len(acts))}
    if window != WINDOW_1M.name:
        active = {event["student_id"] for event in acts}
        everyone = len(active | present)
        told["participation_breadth"] = figures(start_us, end_us, len(active), everyone, everyone)
    if window in {WINDOW_10M.name, "lesson"}:
        told["hand_raises_per_student_minute"] = figures(start_us, end_us, raised, minutes, raised)
        if raised or called:
            told["call_through_rate"] = figures(start_us, end_us, called, raised, raised)
    return told


def course_rows(lesson: Lesson) -> Rows:
    """Metrics 12 to 14."""
    rows = strategy_rows(lesson) | tool_rows(lesson)
    if lesson.plan is None:
        return rows
    due_start_us, due_end_us = lesson.plan["scheduled_start_us"], lesson.plan["scheduled_end_us"]
    from_us, to_us = max(due_start_us, lesson.start_us), min(due_end_us, lesson.end_us)
    present_us = sum(overlap_us(stay, from_us, to_us) for stay in lesson.stays if stay.person in lesson.roster)
    scheduled_us = len(lesson.roster) * max(0, due_end_us - due_start_us)
    told = {
        "attendance_rate": lesson.so_far(present_us / 1e6, scheduled_us / 1e6, len(lesson.roster)),
        "delayed_start_seconds": lesson.so_far(max(0, lesson.start_us - due_start_us) / 1e6, 1, 1),
    }
    if lesson.has_ended:
        told["early_stop_seconds"] = lesson.so_far(max(0, due_end_us - lesson.end_us) / 1e6, 1, 1)
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def strategy_rows(lesson: Lesson) -> Rows:
    """Metric 13."""
    changes = in_order(lesson.only("strategy.changed"))
    if not changes:
        return {}
    seconds = dict.fromkeys(STRATEGIES, 0.0)
    ends_us = [*(change["time_us"] for change in changes[1:]), lesson.end_us]
    for change, until_us in zip(changes, ends_us, strict=True):
        spell = Interval("", change["time_us"], until_us)
        seconds[change["strategy"]] += overlap_us(spell, lesson.start_us, lesson.end_us) / 1e6
    total = sum(seconds.values())
    rows = {
        RowKey("strategy_share", "lesson", lesson.key, strategy, 0): lesson.so_far(own, total, len(changes))
        for strategy, own in seconds.items()
    }
    entropy = -sum(own / total * math.log(own / total) for own in seconds.values() if own > 0)
    balance = lesson.so_far(entropy, math.log(5) if total else 0, len(changes), list(seconds.values()))
    return rows | {RowKey("strategy_balance", "lesson", lesson.key, "", 0): balance}


def tool_rows(lesson: Lesson) -> Rows:
    """Metric 14: go from edge to edge and count the stretch if any use covers it."""
    rows: Rows = {}
    for platform in ("", *PLATFORMS):
        uses = [event for event in lesson.only("tool.used") if platform in {"", event["platform"]}]
        if platform and not uses:
            continue
        spans = [Interval("", use["time_us"], use["time_us"] + 1000 * use["duration_ms"]) for use in uses]
        edges_us = sorted({edge_us for span in spans for edge_us in span[1:]} | {lesson.start_us, lesson.end_us})
        used_us = 0
        for from_us, to_us in pairwise(edges_us):
            if any(span.start_us <= from_us and to_us <= span.end_us for span in spans):
                used_us += overlap_us(Interval("", from_us, to_us), lesson.start_us, lesson.end_us)
        row = lesson.so_far(used_us / 1e6, max(0, lesson.end_us - lesson.start_us) / 1e6, len(uses))
        rows[RowKey("tool_share", "lesson", lesson.key, platform, 0)] = row
    return rows


def engagement_rows(lesson: Lesson, rows: Mapping[RowKey, Metrics], rules: MetricRules) -> Rows:
    """Metric 15, of the metrics of the lesson so far."""

    def value(metric: str) -> float | None:
        row = rows.get(RowKey(metric, "lesson", lesson.key, "", 0))
        return row.value if row else None

    gini, rate = value("participation_gini"), value("interactions_per_student_minute")
    parts = [
        value("response_rate"),
        value("participation_breadth"),
        None if gini is None else 1 - gini,
        None if rate is None else min(1.0, rate / rules.engagement_full_rate),
    ]
    known = [(part, weight) for part, weight in zip(parts, rules.engagement_weights, strict=True) if part is not None]
    sample_size = rows[RowKey("participation_breadth", "lesson", lesson.key, "", 0)].sample_size
    row = lesson.so_far(
        sum(part * weight for part, weight in known),
        sum(weight for _, weight in known),
        sample_size,
        [*parts, *rules.engagement_weights],
    )
    return {RowKey("engagement_index", "lesson", lesson.key, "", 0): row}


def student_rows(lesson: Lesson) -> Rows:
    """What each student did; a stay counts once a left or the end of the lesson has closed it.

    The window of a row is the lesson so far as its starts and ends and the student's own events tell it.
    """
    closed = lesson.stays
    if not lesson.has_ended:
        closed = [stay for stay in lesson.stays if is_closed_by_left(stay, lesson.events)]
    students = {event["student_id"] for event in lesson.events if event.get("student_id")}
    for started in lesson.only("lesson.started"):
        students |= set(started["roster"])
    rows: Rows = {}
    for student in students:
        own = [event for event in lesson.events if event.get("student_id") == student]
        stays = [stay for stay in closed if stay.person == student]
        parts = student_parts(lesson, student, own, stays)
        minutes = parts["present_seconds"] / 60
        acts = int(parts["interactions"])
        told = [parts[name] for name in STUDENT_PARTS]
        own_us = [event["time_us"] for event in own]
        start_us = lesson.start_us if lesson.plan else min(own_us)
        end_us = lesson.end_us if lesson.has_ended else max(start_us, min(max(own_us, default=start_us), lesson.latest_us))
        row = figures(start_us, end_us, acts, minutes, acts, told)
        rows[RowKey("student_lesson", "student", lesson.key, student, 0)] = row
    return rows


def is_closed_by_left(stay: Interval, events: Iterable[Event]) -> bool:
    """Tell whether the student left after the stay began."""
    return any(event["student_id"] == stay.person and event["time_us"] > stay.start_us for event in of_type(events, LEFT))


def student_parts(
    lesson: Lesson, student: str, own: Sequence[Event], stays: Sequence[Interval]
) -> dict[str, float]:
    """Return the parts of one student's row by name."""
    answers = of_type(own, ANSWERED)
    graded = [event["correct"] for event in answers if event.get("correct") is not None]
    tests = of_type(own, "classroom.assessment.completed")
    steps = of_type(own, "classroom.plan.progressed")
    scheduled_us, attended_us = 0, 0
    if lesson.plan is not None and student in lesson.roster:
        due_start_us, due_end_us = lesson.plan["scheduled_start_us"], lesson.plan["scheduled_end_us"]
        scheduled_us = max(0, due_end_us - due_start_us)
        attended_us = sum(overlap_us(stay, due_start_us, due_end_us) for stay in stays)
    return {
        "scheduled_seconds": scheduled_us / 1e6,
        "attended_seconds": attended_us / 1e6,
        "present_seconds": sum(stay.end_us - stay.start_us for stay in stays) / 1e6,
        "interactions": len(of_type(own, *INTERACTION_TYPES)),
        "answers": len(answers),
        "graded_answers": len(graded),
        "correct_answers": sum(graded),
        "hands_raised": len(of_type(own, "classroom.hand.raised")),
        "hands_called": len(of_type(own, "classroom.hand.called")),
        "assessments": len(tests),
        "assessment_score_sum": sum(event["score"] for event in tests),
        "plan_steps": len(steps),
        "plan_progress": max([0.0, *(event["progress"] for event in steps)]),
    }
