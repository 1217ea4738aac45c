"""Metric 5."""

from collections.abc import Sequence
from statistics import median

from schemas.metrics.classroom.waiting import LONG_WAIT_US
from tests.oracle.classroom.lessons import Lesson
from tests.oracle.classroom.talk import bounds
from tests.oracle.rows import Event, Metrics, RowKey, Rows

__all__ = ["waiting_rows"]

Stretch = tuple[int, int]


def waiting_rows(lesson: Lesson) -> Rows:
    """Metric 5: walk from question to question through what is said."""
    speech = [event for event in lesson.only("speech.recorded") if lesson.holds(event)]
    asked: dict[str, int] = {}
    for event in lesson.only("question.asked"):
        if event.get("kind") == "open" and lesson.holds(event):
            asked[event["prompt_id"]] = min(event["time_us"], asked.get(event["prompt_id"], event["time_us"]))
    if not any(event.get("kind") == "open" for event in lesson.only("question.asked")) or not lesson.only(
        "speech.recorded"
    ):
        return {}
    moments = sorted(asked.values())
    firsts, seconds = [], []
    for number, asked_us in enumerate(moments if speech else []):
        next_us = moments[number + 1] if number + 1 < len(moments) else None
        since_us = max([asked_us, *(end for start, end in spoken(speech, "teacher") if start <= asked_us)])
        firsts += first_wait(speech, since_us)
        seconds += second_wait(speech, since_us, next_us)
    long = sum(wait_us >= LONG_WAIT_US for wait_us in firsts)
    told = {
        "wait_time_seconds": middle(lesson, firsts),
        "long_wait_share": lesson.so_far(long, len(firsts), len(firsts)),
        "second_wait_time_seconds": middle(lesson, seconds),
    }
    return {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def middle(lesson: Lesson, waits_us: Sequence[int]) -> Metrics:
    """Return the median."""
    waits = sorted(wait_us / 1e6 for wait_us in waits_us)
    return lesson.so_far(median(waits) if waits else 0, bool(waits), len(waits), waits)


def spoken(speech: Sequence[Event], *speakers: str) -> list[Stretch]:
    """Return when any of the speakers speaks: what overlaps or touches is one."""
    found: list[Stretch] = []
    for start, end in sorted(bounds(segment) for segment in speech if segment["speaker"] in speakers):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def recorded_until(speech: Sequence[Event]) -> int:
    """Return when the record ends."""
    return max(end for _, end in map(bounds, speech))


def first_wait(speech: Sequence[Event], since_us: int) -> list[int]:
    """Return the wait until anybody speaks, if it was recorded."""
    others = spoken(speech, "student", "both")
    if any(start <= since_us < end for start, end in others):
        return [0]
    words = [start for start, _ in [*others, *spoken(speech, "teacher")] if start >= since_us]
    wait_us = min(words, default=recorded_until(speech)) - since_us
    return [wait_us] if words or wait_us > 0 else []


def second_wait(speech: Sequence[Event], since_us: int, next_us: int | None) -> list[int]:
    """Return the wait from the answer to the teacher's next word, if there was an answer and it was recorded."""
    students = spoken(speech, "student")
    answer = next((stretch for stretch in students if stretch[0] >= since_us or stretch[1] > since_us), None)
    if answer is None or (next_us is not None and answer[0] >= next_us):
        return []
    reply_us = next((start for start, _ in spoken(speech, "teacher", "both") if start >= answer[0]), None)
    before = [end for start, end in students if start == answer[0] or reply_us is None or start < reply_us]
    if reply_us is None:
        wait_us = recorded_until(speech) - max(before)
        return [wait_us] if wait_us > 0 else []
    return [max(0, reply_us - max(before))]
