"""Who belongs to the class, what lies in the lesson, and how long the teacher waits: each worked out by hand."""

from typing import Any

import pytest

from schemas.metrics.classroom.lessons import OF_CLASS
from tests.unit.streams.lesson_fold import Event, Rows, event, fold, fraction, lesson, seconds, started, student


def joined(*names: str, second: float = 0) -> list[Event]:
    """Return joins of these students."""
    return [event("attendance.joined", second, student_id=name) for name in names]


def test_guests_are_counted_beside() -> None:
    """A stranger who sits in and answers changes nothing of the class, and has a row of their own."""
    rows = fold(
        started(0, ("a", "b")),
        *joined("a", "b", "guest", second=-5),
        event("question.asked", 10, prompt_id="q"),
        event("answer.submitted", 12, student_id="guest", prompt_id="q", correct=True, latency_ms=1),
        event("answer.submitted", 15, student_id="a", prompt_id="q", correct=False, latency_ms=9),
        event("hand.raised", 20, student_id="guest"),
        event("lesson.ended", 600),
    )
    assert fraction(lesson(rows, "participation_breadth")) == (1, 2, 2)
    assert lesson(rows, "participation_breadth")["parts"] == [1]
    assert fraction(rows["participation_breadth", "5m/1m", "lesson", "", 0]) == (1, 2, 2)
    assert fraction(lesson(rows, "response_rate")) == (0.5, 1, 1)
    assert fraction(lesson(rows, "correct_rate")) == (0, 1, 1)
    assert fraction(lesson(rows, "first_answer_seconds")) == (5, 1, 1)
    assert fraction(lesson(rows, "interactions_per_student_minute")) == (1, 20, 20)
    assert fraction(lesson(rows, "hand_raises_per_student_minute")) == (0, 20, 20)
    assert (student(rows, "guest")["interactions"], student(rows, "guest")["present_seconds"]) == (2, 600)


def test_without_attendance_the_roster_takes_part() -> None:
    """Where no device takes attendance, one of four who answers is a quarter, and not all of those known to be there."""
    told = [
        started(0, ("a", "b", "c", "d")),
        event("question.asked", 10, prompt_id="q"),
        event("answer.submitted", 12, student_id="a", prompt_id="q"),
        event("lesson.ended", 600),
    ]
    rows = fold(*told)
    assert fraction(lesson(rows, "participation_breadth")) == (1, 4, 4)
    assert fraction(rows["participation_breadth", "10m/1m", "lesson", "", 0]) == (1, 4, 4)
    assert fraction(lesson(rows, "response_rate")) == (0.25, 1, 1)
    assert lesson(rows, "interactions_per_student_minute")["value"] is None
    # From the first join on attendance is taken, and what was before is written again.
    taken = fold(*told, *joined("a", second=500), fresh=1)
    assert fraction(taken["participation_breadth", "5m/1m", "lesson", "", -240]) == (1, 1, 1)
    assert fraction(taken["response_rate", "prompt", "lesson", "q", 0]) == (1, 1, 1)


def test_what_happens_outside_the_lesson_is_not_of_the_lesson() -> None:
    """Hands raised an hour before the start and after the end count in the hopping windows there, and nowhere else."""
    rows = fold(
        started(0, ("a", "b")),
        *joined("a"),
        *(event("hand.raised", second, student_id="b") for second in (-3600, 601, 3600)),
        event("hand.called", 3601, student_id="b"),
        event("hand.raised", 600, student_id="a"),
        event("question.asked", -60, prompt_id="early"),
        event("answer.submitted", -50, student_id="a", prompt_id="early"),
        event("lesson.ended", 600),
    )
    assert fraction(lesson(rows, "participation_breadth")) == (1, 1, 1)
    assert fraction(lesson(rows, "hand_raises_per_student_minute")) == (1, 10, 10)
    assert fraction(lesson(rows, "call_through_rate")) == (0, 1, 1)
    assert fraction(lesson(rows, "response_rate")) == (0, 0, 0)
    assert fraction(rows["response_rate", "prompt", "lesson", "early", 0]) == (1, 1, 1)
    assert fraction(rows["participation_breadth", "5m/1m", "lesson", "", 3600]) == (1, 1, 1)
    assert (student(rows, "b")["hands_raised"], student(rows, "b")["hands_called"]) == (0, 0)


@pytest.mark.parametrize(
    ("closings", "ended", "due", "responders", "end"),
    [
        ([30], 600, 600, 1, 30),
        ([30, 70], 600, 600, 2, 70),
        ([], 600, 600, 2, 600),
        ([], 45, 600, 1, 45),
        ([700], 45, 600, 1, 45),
        ([5], 600, 600, 0, 10),
        ([], None, 600, 2, 2400),
        ([], None, 0, 3, 10),
    ],
)
def test_answers_count_until_the_question_closes(
    closings: list[float], ended: float | None, due: float, responders: int, end: float
) -> None:
    """The latest closing counts, one before the asking as the asking; without any the lesson's end, if it is known."""
    rows = fold(
        started(0, ("a", "b", "c"), (0, due)),
        *joined("a", "b", "c"),
        event("question.asked", 10, prompt_id="q"),
        *(event("question.closed", second, prompt_id="q") for second in closings),
        event("answer.submitted", 30, student_id="a", prompt_id="q"),
        event("answer.submitted", 60, student_id="b", prompt_id="q"),
        event("answer.submitted", 9000, student_id="c", prompt_id="q"),
        *([] if ended is None else [event("lesson.ended", ended)]),
    )
    row = rows["response_rate", "prompt", "lesson", "q", 0]
    assert (fraction(row), seconds(row)) == ((responders, 3, 3), (10, end))


def test_the_gini_is_given_with_and_without_correction() -> None:
    """(0, 0, 0, 1) is 0.75 as Gini defined it, and 1 with Deltas' correction; one student has none."""
    rows = fold(*joined("a", "b", "c", "d"), event("hand.raised", 10, student_id="a"), event("lesson.ended", 60))
    assert (lesson(rows, "participation_gini")["value"], lesson(rows, "participation_gini")["parts"]) == (0.75, [1])
    alone = fold(*joined("a"), event("hand.raised", 10, student_id="a"), event("lesson.ended", 60))
    assert lesson(alone, "participation_gini")["parts"] == [None]


def place(rows: Rows, metric: str, side: str) -> tuple[float, float, int]:
    """Return the metric of one class of the lesson."""
    return fraction(rows[metric, "place", "lesson", side, 0])


def test_each_class_of_a_lesson_in_two_places_has_its_own_students() -> None:
    """Two classes of a dual-teacher lesson: one answers and takes attendance, the other has no device for it."""
    rows = fold(
        started(0, ("a", "b"), schoolid="s1", classid="c1"),
        started(5, ("c", "d", "e"), schoolid="s2", classid="c9"),
        *joined("a", "b", "guest"),
        event("question.asked", 10, prompt_id="q"),
        *(event("answer.submitted", 20, student_id=name, prompt_id="q", correct=name != "c") for name in ("a", "b", "c")),
        event("hand.raised", 30, student_id="d"),
        event("hand.called", 35, student_id="d"),
        event("lesson.ended", 600),
    )
    assert [place(rows, "response_rate", side) for side in ("s1/c1", "s2/c9")] == [(1, 1, 1), (pytest.approx(1 / 3), 1, 1)]
    assert [place(rows, "participation_breadth", side) for side in ("s1/c1", "s2/c9")] == [(2, 2, 2), (2, 3, 3)]
    assert [place(rows, "correct_rate", side) for side in ("s1/c1", "s2/c9")] == [(2, 2, 2), (0, 1, 1)]
    assert [place(rows, "call_through_rate", side) for side in ("s1/c1", "s2/c9")] == [(0, 0, 0), (1, 1, 1)]
    assert [place(rows, "attendance_rate", side) for side in ("s1/c1", "s2/c9")] == [(1200, 1200, 2), (0, 0, 3)]
    assert fraction(lesson(rows, "participation_breadth")) == (4, 4, 4)
    assert {key[0] for key in rows if key[1] == "place"} == set(OF_CLASS)


def test_a_lesson_in_one_place_has_no_places() -> None:
    """Started twice in one class, or with the same class at another time, it is one lesson of one class."""
    rows = fold(started(0, ("a",), schoolid="s1", classid="c1"), started(9, ("b",), schoolid="s1", classid="c1", id="2"))
    assert not [key for key in rows if key[1] == "place"]


def speech(speaker: str, second: float, length: float) -> Event:
    """Return a segment of speech."""
    return event("speech.recorded", second, speaker=speaker, duration_ms=round(length * 1000))


def asked(second: float, prompt: str = "q", **data: Any) -> Event:
    """Return an oral question."""
    return event("question.asked", second, **{"prompt_id": prompt, "kind": "open", **data})


def waits(*events: Event) -> tuple[list[float], list[float]]:
    """Return the waits I and II of a lesson of a quarter of an hour with these events."""
    rows = fold(started(0, (), (0, 900)), *events, event("lesson.ended", 900))
    return lesson(rows, "wait_time_seconds")["parts"], lesson(rows, "second_wait_time_seconds")["parts"]


def test_both_wait_times() -> None:
    """The teacher asks until second 14, waits 4 s for the answer, and 2.5 s after it before the reply."""
    told = [speech("teacher", 5, 9), speech("student", 18, 3.5), speech("teacher", 24, 6)]
    assert waits(asked(10), *told) == ([4], [2.5])
    # Silence that is recorded as such is no word, and a question in two pieces is one.
    pieces = [
        speech("teacher", 5, 6),
        speech("teacher", 11, 3),
        speech("silence", 14, 4),
        *told[1:],
        speech("silence", 21.5, 2.5),
    ]
    assert waits(asked(10), *pieces) == ([4], [2.5])


def test_the_teachers_own_next_word_ends_the_wait() -> None:
    """Who goes on after a second has waited a second, whoever answers later; common talk is a word of anybody."""
    told = [speech("teacher", 5, 5), speech("teacher", 11, 2), speech("student", 20, 2), speech("both", 23, 2)]
    assert waits(asked(10), *told) == ([1], [1])


def test_who_is_interrupted_has_not_been_waited_for() -> None:
    """A student who speaks as the question ends did not have to wait, and a teacher who cuts in does not wait."""
    told = [speech("teacher", 5, 5), speech("student", 9, 6), speech("teacher", 12, 2)]
    assert waits(asked(8), *told) == ([0], [0])


def test_a_question_without_an_answer_is_waited_for_as_long_as_is_recorded() -> None:
    """Nobody speaks until the record ends: at least so long. A question after the record, or on a device, has no wait."""
    told = [speech("teacher", 5, 5), speech("silence", 10, 20)]
    assert waits(asked(8), *told) == ([20], [])
    assert waits(asked(8), asked(40, "later"), asked(9, "tablet", kind="choice"), *told) == ([20], [])
    assert waits(asked(8), speech("teacher", 5, 5), speech("student", 12, 3), speech("silence", 15, 5)) == ([2], [5])


def test_an_answer_belongs_to_the_question_before_it() -> None:
    """Of two questions only the second is answered; asked again, a question counts from its first time."""
    told = [
        speech("teacher", 5, 5),
        speech("teacher", 20, 5),
        speech("student", 31, 2),
        speech("teacher", 36, 2),
        asked(8),
        asked(22, "second"),
        asked(24, "second"),
    ]
    assert waits(*told) == ([6, 10], [3])


def test_waits_need_speech_and_an_oral_question() -> None:
    """Without a record of speech, or with questions on devices alone, there is no row, and never a wait of zero."""
    for events in ([asked(8)], [speech("teacher", 5, 5), asked(8, kind="choice")]):
        rows = fold(started(0, (), (0, 900)), *events, event("lesson.ended", 900))
        assert ("wait_time_seconds", "lesson", "lesson", "", 0) not in rows
