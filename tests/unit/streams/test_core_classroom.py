"""The classroom metrics at their edges, each worked out by hand."""

import math

import polars as pl
import pytest

from schemas.metrics.catalogue import METRICS
from schemas.metrics.classroom.course import STRATEGIES
from schemas.metrics.classroom.lessons import LESSON_GRACE_US
from schemas.metrics.classroom.talk import ST_MODES
from schemas.metrics.metric import WINDOW_PLACE
from schemas.metrics.rules import MetricRules
from streams.core.classroom import family as classroom
from tests.unit.streams.lesson_fold import SECOND_US, Event, event, fold, fraction, frame, lesson, seconds, started, student


def test_nobody_present() -> None:
    """An empty room has metrics, but nothing is divided by 0: the values are NULL, and so is the index."""
    rows = fold(started(), event("question.asked", 10, prompt_id="q"), event("lesson.ended", 600))
    for metric in (
        "response_rate",
        "participation_breadth",
        "participation_gini",
        "hand_raises_per_student_minute",
        "interactions_per_student_minute",
        "attendance_rate",
        "first_answer_seconds",
        "engagement_index",
    ):
        row = lesson(rows, metric)
        assert (row["value"], *fraction(row)) == (None, 0, 0, 0), metric
    assert lesson(rows, "engagement_index")["parts"] == [None] * 4 + [0.25] * 4
    assert rows["response_rate", "prompt", "lesson", "q", 0]["value"] is None
    assert not [place for place in rows if place[0] in ("student_lesson", "call_through_rate", "correct_rate_lesson")]


def test_one_student() -> None:
    """One student who does everything: breadth 1, Gini 0, one interaction a minute."""
    rows = fold(
        started(0, ("安",)),
        event("attendance.joined", 0, student_id="安"),
        event("question.asked", 10, prompt_id="问-一"),
        event("answer.submitted", 13, student_id="安", prompt_id="问-一", correct=True, latency_ms=2000),
        event("hand.raised", 60, student_id="安"),
        event("hand.called", 61, student_id="安"),
        event("lesson.ended", 120),
    )
    assert fraction(lesson(rows, "participation_breadth")) == (1, 1, 1)
    assert fraction(lesson(rows, "participation_gini")) == (0, 4, 1)
    assert fraction(lesson(rows, "interactions_per_student_minute")) == (2, 2, 2)
    assert fraction(lesson(rows, "hand_raises_per_student_minute")) == (1, 2, 2)
    assert fraction(lesson(rows, "call_through_rate")) == (1, 1, 1)
    assert fraction(lesson(rows, "first_answer_seconds")) == (3, 1, 1)
    assert lesson(rows, "first_answer_seconds")["parts"] == [3]
    assert fraction(rows["response_rate", "prompt", "lesson", "问-一", 0]) == (1, 1, 1)
    assert fraction(rows["answer_latency_p90_ms", "prompt", "lesson", "问-一", 0]) == (2000, 1, 1)
    assert fraction(lesson(rows, "engagement_index")) == (1, 1, 1)
    assert fraction(rows["student_lesson", "student", "lesson", "安", 0]) == (2, 2, 2)
    assert student(rows, "安") == {
        "scheduled_seconds": 600,
        "attended_seconds": 120,
        "present_seconds": 120,
        "interactions": 2,
        "answers": 1,
        "graded_answers": 1,
        "correct_answers": 1,
        "hands_raised": 1,
        "hands_called": 1,
        "assessments": 0,
        "assessment_score_sum": 0,
        "plan_steps": 0,
        "plan_progress": 0,
    }


def test_everyone_silent() -> None:
    """Two are present and do nothing: breadth 0, no Gini, and the index is of what is known."""
    rows = fold(
        started(0, ("a", "b")),
        event("attendance.joined", 0, student_id="a"),
        event("attendance.joined", 0, student_id="b"),
        event("speech.recorded", 30, speaker="silence", fias_code=10, duration_ms=3_000),
        event("lesson.ended", 60),
    )
    assert fraction(lesson(rows, "participation_breadth")) == (0, 2, 2)
    assert (lesson(rows, "participation_gini")["value"], *fraction(lesson(rows, "participation_gini"))) == (None, 0, 0, 2)
    assert lesson(rows, "engagement_index")["parts"] == [None, 0, None, 0, *[0.25] * 4]
    assert fraction(lesson(rows, "engagement_index")) == (0, 0.5, 2)
    assert fraction(lesson(rows, "silence_share")) == (1, 1, 1)
    assert lesson(rows, "question_ratio")["value"] is None


def test_a_lesson_without_length() -> None:
    """A lesson that ends as it starts has no seconds to share out."""
    rows = fold(
        started(0, ("a",), (0, 0)),
        event("attendance.joined", 0, student_id="a"),
        event("tool.used", 0, tool="t", platform="city", duration_ms=1000),
        event("strategy.changed", 0, strategy="digital"),
        event("lesson.ended", 0),
    )
    assert fraction(lesson(rows, "tool_share")) == (0, 0, 1)
    assert fraction(lesson(rows, "strategy_balance")) == (0, 0, 1)
    assert fraction(lesson(rows, "strategy_share", "digital")) == (0, 0, 1)
    assert fraction(lesson(rows, "attendance_rate")) == (0, 0, 1)
    assert fraction(lesson(rows, "early_stop_seconds")) == (0, 0, 0)
    assert student(rows, "a")["present_seconds"] == 0


def said(speakers: str, from_second: float = 0, seconds: float = 3) -> list[Event]:
    """Return speech of so many seconds each: T teacher, S student, B both, - silence."""
    names = {"T": "teacher", "S": "student", "B": "both", "-": "silence"}
    return [
        event("speech.recorded", from_second + seconds * n, speaker=names[one], duration_ms=round(1000 * seconds))
        for n, one in enumerate(speakers)
    ]


def categories(*codes: int) -> list[Event]:
    """Return speech of 3 s each with these categories of Flanders."""
    return [
        event("speech.recorded", 3 * n, speaker="teacher" if code < 8 else "student", fias_code=code, duration_ms=3_000)
        for n, code in enumerate(codes)
    ]


@pytest.mark.parametrize(
    ("speakers", "rt", "ch", "mode"),
    [
        ("TTTSSTSSST", 0.5, 0.4, "dialogue"),
        ("SSSSSSSSTT", 0.2, 0.1, "practice"),
        ("TTBBSS", 0.5, 2 / 6, "mixed"),
        ("TS-S-S-STT", 0.3, 0.2, "practice"),
        ("TTTTTTTTTS", 0.9, 0.1, "lecture"),
    ],
)
def test_published_st_sequences(speakers: str, rt: float, ch: float, mode: str) -> None:
    """Rt, Ch and the mode of sequences from the literature; silence is student behaviour."""
    rows = fold(*said(speakers))
    assert lesson(rows, "teacher_occupancy")["value"] == pytest.approx(rt)
    assert lesson(rows, "behaviour_conversion")["value"] == pytest.approx(ch)
    assert [lesson(rows, "st_mode", item)["value"] for item in ST_MODES] == [float(item == mode) for item in ST_MODES]


def test_published_fias_sequences() -> None:
    """Shares and ratios of sequences from the literature; nothing to divide by is NULL."""
    shares = ("teacher_talk_share", "student_talk_share", "silence_share", "pupil_initiation_ratio")
    rows = fold(*categories(5, 5, 5, 4, 8, 8, 10))
    assert [lesson(rows, name)["value"] for name in shares] == [pytest.approx(x) for x in (4 / 7, 2 / 7, 1 / 7, 0)]
    rows = fold(*categories(4, 8, 3, 9, 2, 4, 8, 3, 10))
    assert [lesson(rows, name)["value"] for name in shares] == [pytest.approx(x) for x in (5 / 9, 3 / 9, 1 / 9, 1 / 3)]
    rows = fold(*said("T"))
    assert not [place for place in rows if place[0] in shares]


def test_published_fias_totals() -> None:
    """The totals of a published matrix give its ratios."""
    totals = (5, 67, 75, 76, 112, 0, 0, 71, 84, 1)
    rows = fold(*categories(*(code for code, count in enumerate(totals, start=1) for _ in range(count))))
    told = {
        "teacher_talk_share": (335, 491),
        "student_talk_share": (155, 491),
        "silence_share": (1, 491),
        "question_ratio": (76, 188),
        "pupil_initiation_ratio": (84, 155),
        "teacher_response_ratio": (147, 147),
    }
    assert {name: fraction(lesson(rows, name))[:2] for name in told} == told


def test_speech_counts_by_its_length() -> None:
    """A lecture of 38 minutes in one record outweighs a word of a student; frames and one record give the same."""
    lecture = event("speech.recorded", 0, speaker="teacher", duration_ms=38 * 60_000)
    word = event("speech.recorded", 38 * 60, speaker="student", duration_ms=1_600)
    rows = fold(lecture, word)
    assert fraction(lesson(rows, "teacher_occupancy")) == (760, 761, 761)
    assert fraction(lesson(fold(*said("T" * 760), word), "teacher_occupancy")) == (760, 761, 761)


def test_a_cell_is_of_what_fills_most_of_it() -> None:
    """Less than half a cell is no sample; of equal ones the teacher counts; what overlaps covers a moment once."""
    assert fraction(lesson(fold(*said("S", seconds=1.499)), "teacher_occupancy")) == (0, 0, 0)
    assert fraction(lesson(fold(*said("S", seconds=1.5)), "teacher_occupancy")) == (0, 1, 1)
    assert fraction(lesson(fold(*said("ST", seconds=1.5)), "teacher_occupancy")) == (1, 1, 1)
    twice = [event("speech.recorded", 0, speaker="teacher", duration_ms=1_400, source=name) for name in ("a", "b")]
    assert fraction(lesson(fold(*twice), "teacher_occupancy")) == (0, 0, 0)


def test_speech_on_a_boundary() -> None:
    """Speech reaches into every window that it lasts into; a change of speaker across the edge is not counted."""
    rows = fold(*said("T", 597), *said("S", 600), *said("B", 603))
    place = ("teacher_occupancy", "10m/1m", "lesson", "")
    assert fraction(rows[*place, 0]) == (1, 1, 1)
    assert fraction(rows[*place, 600]) == (0.5, 2, 2)
    assert fraction(rows[*place, 60]) == (1.5, 3, 3)
    place = ("behaviour_conversion", "10m/1m", "lesson", "")
    assert [fraction(rows[*place, slot])[0] for slot in (0, 60, 600)] == [0, 2, 1]
    assert fraction(lesson(rows, "behaviour_conversion")) == (2, 3, 3)
    long = fold(*said("T", 590, seconds=20))
    assert fraction(long["teacher_occupancy", "10m/1m", "lesson", "", 600]) == (3, 3, 3)


def test_one_instant_is_in_the_order_of_source_and_id() -> None:
    """Events at one instant follow each other by source, then id, however they came."""
    first, second, third = STRATEGIES[:3]
    rows = fold(
        event("strategy.changed", 5, source="b", id="1", strategy=third),
        event("strategy.changed", 5, source="a", id="2", strategy=second),
        event("strategy.changed", 5, source="a", id="1", strategy=first),
        event("lesson.ended", 10),
    )
    assert [lesson(rows, "strategy_share", item)["numerator"] for item in STRATEGIES] == [0, 0, 5, 0, 0]


def test_a_call_answers_the_earliest_raise_that_is_up() -> None:
    """Cold calls are counted apart, and a hand that is raised again and again is answered as often as it is called."""
    rows = fold(
        started(0, ("a", "b")),
        event("hand.called", 5, student_id="a"),
        event("hand.raised", 10, student_id="a"),
        event("hand.raised", 20, student_id="a"),
        event("hand.called", 40, student_id="a"),
        event("hand.called", 60, student_id="b"),
        event("hand.raised", 60, student_id="b"),
        event("hand.called", 90, student_id="b"),
    )
    assert fraction(lesson(rows, "call_through_rate")) == (2, 3, 3)
    assert fraction(lesson(rows, "cold_call_share")) == (2, 4, 4)
    assert fraction(lesson(rows, "call_delay_seconds")) == (30, 2, 2)
    assert (lesson(rows, "longest_call_delay_seconds")["value"], lesson(rows, "longest_call_delay_seconds")["parts"]) == (
        30,
        [0, 30],
    )


def test_overlapping_tools_count_once() -> None:
    """The union of the uses counts, for each platform and for all; what lies outside the lesson does not."""
    rows = fold(
        started(0),
        event("tool.used", -20, platform="school", duration_ms=30_000),
        event("tool.used", 5, platform="school", duration_ms=2_000),
        event("tool.used", 8, platform="district", duration_ms=12_000),
        event("tool.used", 90, platform="district", duration_ms=60_000),
        event("tool.used", 200, platform="national", duration_ms=1_000),
        event("lesson.ended", 100),
    )
    assert fraction(lesson(rows, "tool_share")) == (30, 100, 5)
    assert fraction(lesson(rows, "tool_share", "school")) == (10, 100, 2)
    assert fraction(lesson(rows, "tool_share", "district")) == (22, 100, 2)
    assert fraction(lesson(rows, "tool_share", "national")) == (0, 100, 1)
    assert ("tool_share", "lesson", "lesson", "municipal", 0) not in rows


def test_strategies_share_the_lesson() -> None:
    """A strategy lasts until the next one or the end; the entropy of the shares is the balance."""
    rows = fold(
        started(0),
        event("strategy.changed", -10, strategy="digital"),
        event("strategy.changed", 25, strategy="interactive"),
        event("strategy.changed", 75, strategy="digital"),
        event("lesson.ended", 100),
    )
    assert [fraction(lesson(rows, "strategy_share", item)) for item in STRATEGIES] == [
        (0, 100, 3),
        (0, 100, 3),
        (50, 100, 3),
        (0, 100, 3),
        (50, 100, 3),
    ]
    balance = lesson(rows, "strategy_balance")
    assert balance["value"] == pytest.approx(math.log(2) / math.log(5))
    assert balance["parts"] == [0, 0, 50, 0, 50]


def test_students_who_leave_and_return() -> None:
    """Absence between two stays is no presence; who is away when asked is not expected to answer."""
    rows = fold(
        started(0, ("a", "b"), (0, 100)),
        event("attendance.joined", 0, student_id="a"),
        event("attendance.left", 20, student_id="a"),
        event("question.asked", 30, prompt_id="q"),
        event("attendance.joined", 40, student_id="a"),
        event("attendance.joined", 0, student_id="b"),
        event("lesson.ended", 100),
    )
    assert fraction(rows["response_rate", "prompt", "lesson", "q", 0]) == (0, 1, 1)
    assert fraction(lesson(rows, "attendance_rate")) == (180, 200, 2)
    assert student(rows, "a")["present_seconds"] == 80
    assert fraction(lesson(rows, "interactions_per_student_minute")) == (0, 3, 3)


def test_a_lesson_that_never_ends() -> None:
    """It ends at its latest event, at the latest half an hour after its timetable; that costs nobody attendance."""
    joined = event("attendance.joined", 0, student_id="a")
    early = fold(started(0, ("a",)), joined, event("hand.raised", 300, student_id="a"))
    assert seconds(lesson(early, "tool_share")) == (0, 300)
    assert fraction(lesson(early, "attendance_rate")) == (600, 600, 1)
    assert (student(early, "a")["attended_seconds"], student(early, "a")["present_seconds"]) == (600, 0)
    assert seconds(early["student_lesson", "student", "lesson", "a", 0]) == (0, 300)
    latest = 600 + LESSON_GRACE_US / SECOND_US
    late = fold(started(0, ("a",)), joined, event("attendance.left", 9000, student_id="a"))
    assert seconds(lesson(late, "tool_share")) == (0, latest)
    assert student(late, "a")["present_seconds"] == latest
    assert student(late, "a")["attended_seconds"] == 600
    open_end = fold(joined, event("hand.raised", 9000, student_id="b"))
    assert seconds(lesson(open_end, "tool_share")) == (0, 9000)
    assert fraction(lesson(open_end, "interactions_per_student_minute")) == (1, 150, 150)


def test_a_lesson_that_ends_before_it_starts() -> None:
    """Its end is where it was told; it has no seconds, and nobody is present after that end."""
    rows = fold(
        started(100, ("a",), (0, 200)),
        event("attendance.joined", 10, student_id="a"),
        event("attendance.joined", 50, student_id="b"),
        event("tool.used", 20, platform="school", duration_ms=100_000),
        event("lesson.ended", 40),
    )
    assert seconds(lesson(rows, "tool_share")) == (100, 40)
    assert (lesson(rows, "tool_share")["value"], *fraction(lesson(rows, "tool_share"))) == (None, 0, 0, 1)
    assert fraction(lesson(rows, "early_stop_seconds")) == (160, 1, 1)
    assert fraction(lesson(rows, "attendance_rate")) == (30, 200, 1)
    assert student(rows, "a")["attended_seconds"] == 30
    assert fraction(lesson(rows, "participation_breadth")) == (0, 0, 0)
    assert (student(rows, "a")["present_seconds"], student(rows, "b")["present_seconds"]) == (0, 0)


def test_a_timetable_that_ends_before_it_starts() -> None:
    """Nobody can attend it: the rate is NULL."""
    rows = fold(started(0, ("a",), (600, 0)), event("attendance.joined", 0, student_id="a"), event("lesson.ended", 600))
    assert (lesson(rows, "attendance_rate")["value"], *fraction(lesson(rows, "attendance_rate"))) == (None, 0, 0, 1)
    assert student(rows, "a")["scheduled_seconds"] == 0


@pytest.mark.parametrize("due_end", [0, -60, 12 * 3600 + 1, 10 * 365 * 86_400])
def test_a_timetable_that_cannot_be_counts_as_none(due_end: float) -> None:
    """One typing error does not ruin a school's attendance: what it was to be measured by is not known."""
    told = (started(0, ("a",), (0, due_end)), event("attendance.joined", 0, student_id="a"), event("lesson.ended", 600))
    rows = fold(*told)
    for metric in ("attendance_rate", "delayed_start_seconds", "early_stop_seconds"):
        assert (lesson(rows, metric)["value"], lesson(rows, metric)["denominator"]) == (None, 0)
    assert (student(rows, "a")["scheduled_seconds"], student(rows, "a")["attended_seconds"]) == (0, 0)


def test_attendance_that_nobody_takes_is_unknown() -> None:
    """Without any attendance.joined it is neither 0 nor 1, of the class and of each student, until the first one comes."""
    start, end = started(0, ("a", "b")), event("lesson.ended", 600)
    rows = fold(start, end)
    assert lesson(rows, "attendance_rate")["value"] is None
    assert student(rows, "a")["scheduled_seconds"] == 0
    taken = fold(start, end, event("attendance.joined", 0, student_id="a"), fresh=1)
    assert lesson(taken, "attendance_rate")["value"] == 0.5
    assert [student(taken, name)["scheduled_seconds"] for name in "ab"] == [600, 600]


def test_delays_end_with_the_timetable() -> None:
    """Who begins or ends far outside the timetable is late or early by its whole length, and no more."""
    rows = fold(started(5_000, ("a",), (0, 600)), event("lesson.ended", 6_000))
    assert fraction(lesson(rows, "delayed_start_seconds")) == (600, 1, 1)
    early = fold(started(-9_000, ("a",), (0, 600)), event("lesson.ended", -8_000))
    assert fraction(lesson(early, "early_stop_seconds")) == (600, 1, 1)


def test_two_lessons_of_one_class_at_once() -> None:
    """Lessons are kept apart by their key, whoever is in both."""
    rows = fold(
        event("hand.raised", 10, student_id="a", classid="c"),
        {**event("attendance.joined", 10, student_id="a", classid="c"), "key": "other"},
        {**event("lesson.ended", 20), "key": "other"},
    )
    assert fraction(lesson(rows, "participation_breadth")) == (1, 1, 1)
    assert fraction(lesson(rows, "participation_breadth", key="other")) == (0, 1, 1)
    assert student(rows, "a")["hands_raised"] == 1
    assert student(rows, "a", "other")["present_seconds"] == 10


def test_a_dual_teacher_lesson() -> None:
    """Two schools start one lesson: the rosters join, the timetable is the earliest start's, each side's first counts."""
    sides = [
        started(60, ("b", "c"), (0, 900), schoolid="s2", classid="k2", id="1"),
        started(30, ("a", "b"), (0, 600), schoolid="s1", classid="k1", id="2"),
        started(90, ("d",), (0, 100), schoolid="s1", classid="k1", id="3"),
    ]
    stays = [event("attendance.joined", 30, student_id=name) for name in "abcd"]
    rows = fold(*sides, *stays, event("lesson.ended", 330))
    assert fraction(lesson(rows, "attendance_rate")) == (900, 1800, 3)
    assert fraction(lesson(rows, "delayed_start_seconds")) == (30, 1, 1)
    assert fraction(lesson(rows, "early_stop_seconds")) == (270, 1, 1)
    assert student(rows, "c")["scheduled_seconds"] == 600
    outside = student(rows, "d")
    assert (outside["scheduled_seconds"], outside["attended_seconds"], outside["present_seconds"]) == (0, 0, 300)


def test_an_earlier_start_leaves_no_row_behind() -> None:
    """Who is named only by a start that no longer counts keeps a row, and it says that nothing is expected."""
    late, taken = started(60, ("a",), id="1"), [event("attendance.joined", 60, student_id=name) for name in "ab"]
    assert student(fold(late, *taken), "a")["scheduled_seconds"] == 600
    rows = fold(*taken, late, started(0, ("b",), id="2"), fresh=1)
    assert student(rows, "a")["scheduled_seconds"] == 0
    assert student(rows, "b")["scheduled_seconds"] == 600


def test_what_is_read_back_is_what_came() -> None:
    """EventCache read back have empty text where events as they come have NULL: the rows are the same."""
    cached = frame(
        [
            started(0, ("a",)),
            started(60, ("b",)),
            event("attendance.joined", 0, student_id="a"),
            event("speech.recorded", 5, speaker="teacher"),
            event("lesson.ended", 90),
        ]
    )
    read_back = cached.head(1).with_columns(pl.col(pl.String).fill_null(""))
    mixed = pl.concat([read_back, cached.tail(-1)])
    order = ["metric", "window", "item", "slot_us"]
    every = classroom.rows(cached, cached, MetricRules()).sort(order)
    assert every.equals(classroom.rows(mixed, mixed, MetricRules()).sort(order))
    emptied = cached.with_columns(pl.col(pl.String).fill_null(""))
    assert every.equals(classroom.rows(emptied, emptied, MetricRules()).sort(order))


def test_quantiles_and_their_sketch() -> None:
    """Quantiles lie between the two nearest; the sketch holds every answer, below 1 ms in bucket 0."""
    answers = [
        event("answer.submitted", number, student_id="a", prompt_id="q", latency_ms=latency_ms, correct=latency_ms == 0)
        for number, latency_ms in enumerate((0, 1, 100, 1000))
    ]
    rows = fold(*answers, event("answer.submitted", 9, student_id="a", prompt_id="q"))
    assert fraction(lesson(rows, "answer_latency_p50_ms")) == (50.5, 1, 4)
    assert fraction(lesson(rows, "answer_latency_p90_ms")) == (pytest.approx(730), 1, 4)
    buckets = [math.ceil(math.log(value) / math.log(1.01 / 0.99)) for value in (100, 1000)]
    assert lesson(rows, "answer_latency_p50_ms")["parts"] == [0, 2, buckets[0], 1, buckets[1], 1]
    assert fraction(lesson(rows, "correct_rate")) == (1, 4, 4)
    assert ("correct_rate", "prompt", "lesson", "q", 0) not in rows


def test_a_question_asked_twice() -> None:
    """The earliest asking counts; the window of the second one has a row as well, and it stays empty."""
    rows = fold(
        event("question.asked", 900, prompt_id="q"),
        event("question.asked", 0, prompt_id="q"),
        event("answer.submitted", -5, student_id="a", prompt_id="q"),
        event("answer.submitted", 2, student_id="b", prompt_id="q"),
        event("question.closed", 20, prompt_id="q"),
    )
    prompt = rows["response_rate", "prompt", "lesson", "q", 0]
    assert (fraction(prompt), seconds(prompt)) == ((2, 2, 2), (0, 20))
    assert fraction(rows["response_rate", "10m/1m", "lesson", "", 0]) == (1, 1, 1)
    assert fraction(rows["response_rate", "10m/1m", "lesson", "", 900]) == (0, 0, 0)
    assert lesson(rows, "first_answer_seconds")["parts"] == [2]


def test_the_index_weighs_what_is_known() -> None:
    """Parts are weighted as configured, a rate above the full one counts as full, weights of unknown parts fall out."""
    rows = fold(
        *(event("attendance.joined", 0, student_id=name) for name in "abc"),
        *(event("hand.raised", 10, student_id="a") for _ in range(3)),
        event("lesson.ended", 60),
        rules=MetricRules(engagement_weights=(0.4, 0.3, 0.2, 0.1), engagement_full_rate=1.0),
    )
    index = lesson(rows, "engagement_index")
    third = pytest.approx(1 / 3)
    assert index["parts"] == [None, third, third, 1, 0.4, 0.3, 0.2, 0.1]
    assert fraction(index) == (pytest.approx(0.5 / 3 + 0.1), pytest.approx(0.6), 3)


def test_only_what_fresh_events_can_change_is_written() -> None:
    """A student's act writes that student's row and not another's; speech and hands write where they are."""
    past = [
        started(0, ("a", "b")),
        event("attendance.joined", 0, student_id="a"),
        event("attendance.joined", 0, student_id="b"),
        event("speech.recorded", 10, speaker="teacher", fias_code=5),
        event("hand.raised", 20, student_id="a"),
    ]
    rows = fold(*past, event("interaction.recorded", 1800, student_id="a"), fresh=1)
    assert [place[3] for place in rows if place[0] == "student_lesson"] == ["a"]
    assert not [place for place in rows if place[0] in ("teacher_occupancy", "call_through_rate") and place[1] != "lesson"]
    rows = fold(*past, event("lesson.ended", 1800), fresh=1)
    assert sorted(place[3] for place in rows if place[0] == "student_lesson") == ["a", "b"]


def test_every_declared_row_is_made() -> None:
    """One rich lesson has a row of every metric in every window declared, and no other."""
    rows = fold(
        started(0, ("a",)),
        event("attendance.joined", 0, student_id="a"),
        event("speech.recorded", 1, speaker="teacher", fias_code=4),
        event("strategy.changed", 1, strategy="digital"),
        event("question.asked", 1, prompt_id="q", kind="open"),
        event("answer.submitted", 2, student_id="a", prompt_id="q", correct=False, latency_ms=7),
        event("hand.raised", 3, student_id="a"),
        event("lesson.ended", 9),
    )
    own = [metric for metric in METRICS if metric.family == "classroom"]
    # The window of a place is for lessons in several.
    declared = {(metric.name, window.name) for metric in own for window in metric.windows if window is not WINDOW_PLACE}
    assert {place[:2] for place in rows} == declared
