"""Small scenarios in which every metric has something to say: a lesson, a teacher's week, a research activity."""

from tests.oracle.rows import Event

__all__ = ["BASE_US", "SECOND_US", "activity", "event", "lesson", "week"]

#: 2026-11-16T00:00:00Z, a Monday.
BASE_US = 1_794_787_200_000_000
SECOND_US = 1_000_000
DAY_SECONDS = 86_400


def event(name: str, second: float, number: int, key: str, **data: object) -> Event:
    """Make an event ``second`` seconds after the base time."""
    time_us = BASE_US + round(second * SECOND_US)
    return {"type": name, "key": key, "source": "/d/1", "id": f"{key}-{number}", "time_us": time_us, **data}


def lesson(key: str, answers: int = 4) -> list[Event]:
    """A lesson with a start, three students of whom one leaves, two prompts, answers, talk, tools and an end."""
    plan = {
        "roster": ["ann", "bo", "chen"],
        "scheduled_start_us": BASE_US,
        "scheduled_end_us": BASE_US + 2400 * SECOND_US,
        "schoolid": "s07",
        "classid": "s07-c2",
    }
    events = [event("classroom.lesson.started", 7, 0, key, **plan)]
    events += [
        event("classroom.attendance.joined", 11.5 * n, 10 + n, key, student_id=student)
        for n, student in enumerate(("ann", "bo", "chen"))
    ]
    events += [
        event("classroom.question.asked", 300 + 400 * n, 20 + n, key, prompt_id=f"q{n}", kind="open") for n in range(2)
    ]
    for n in range(answers):
        told = {"prompt_id": f"q{n // 2 % 2}", "correct": n % 3 > 0, "latency_ms": 900 + 1700 * n}
        events.append(
            event("classroom.answer.submitted", 310 + 71 * n, 30 + n, key, student_id=("ann", "bo")[n % 2], **told)
        )
    talk = (("teacher", 4), ("student", 8), ("both", 9), ("silence", 10), ("teacher", 5), ("teacher", 2))
    events += [
        event("classroom.speech.recorded", 500 + 5 * n, 110 + n, key, speaker=speaker, duration_ms=5000, fias_code=code)
        for n, (speaker, code) in enumerate(talk)
    ]
    return [
        *events,
        event("classroom.hand.raised", 820, 120, key, student_id="ann"),
        event("classroom.hand.raised", 821, 121, key, student_id="bo"),
        event("classroom.hand.called", 825, 122, key, student_id="ann"),
        event("classroom.interaction.recorded", 900, 123, key, student_id="ann"),
        event("classroom.strategy.changed", 60, 130, key, strategy="question_led"),
        event("classroom.strategy.changed", 1000, 131, key, strategy="digital"),
        event("classroom.tool.used", 1010, 132, key, platform="district", duration_ms=90_000),
        event("classroom.tool.used", 1060, 133, key, platform="national", duration_ms=90_000),
        event("classroom.assessment.completed", 1400, 134, key, student_id="ann", score=0.85),
        event("classroom.plan.progressed", 1450, 135, key, student_id="bo", progress=0.35),
        event("classroom.attendance.left", 1500, 136, key, student_id="bo"),
        event("classroom.lesson.ended", 2300, 3, key),
    ]


def week(key: str) -> list[Event]:
    """A teacher's preparation: five heartbeats, one of them after a long silence, and a plan from edit to lesson."""
    plan = {"subject": "plan-1"}
    start_us = BASE_US + (DAY_SECONDS + 3600) * SECOND_US
    return [
        *(event("prep.heartbeat.recorded", 61 * n + 900 * (n > 3), n, key) for n in range(5)),
        event("prep.plan.edited", 200, 10, key, substantive=True, characters_changed=120, **plan),
        event("prep.plan.coedited", 230, 11, key, editor_id="t-other", characters_changed=10, **plan),
        event("prep.resource.attached", 240, 12, key, origin="reused", platform="national", **plan),
        event("prep.resource.attached", 250, 13, key, origin="created", platform="school", **plan),
        event("prep.plan.completed", 260, 14, key, **plan),
        event("prep.plan.taught", DAY_SECONDS + 7200, 15, key, lesson_id="lesson-1", lesson_start_us=start_us, **plan),
    ]


def activity(key: str) -> list[Event]:
    """A research activity to which one of two invited teachers came, and a guest; with feedback and an improvement."""
    plan = {"invited": ["t1", "t2"], "scheduled_start_us": BASE_US, "scheduled_end_us": BASE_US + 100 * SECOND_US}
    return [
        event("research.activity.published", -5000, 0, key, schoolid="s07", **plan),
        event("research.participant.joined", 10, 1, key, teacher_id="t1", schoolid="s07"),
        event("research.participant.left", 60, 2, key, teacher_id="t1", schoolid="s07"),
        event("research.participant.joined", 20, 3, key, teacher_id="t3", schoolid="s08"),
        event("research.contribution.posted", 30, 4, key, teacher_id="t1"),
        event("research.lesson.observed", 35, 5, key, teacher_id="t3", lesson_id="lesson-1", rubric_scores=[0.8]),
        event("research.feedback.given", 90, 6, key, teacher_id="t3", feedback_id="f1", lesson_end_us=BASE_US),
        event("research.report.generated", 95, 7, key, report_id="r1"),
        event("research.improvement.linked", 5000, 8, key, teacher_id="t1", feedback_id="f1", improvement_id="i1"),
    ]
