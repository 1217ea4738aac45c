"""The metrics of a lesson (智慧课堂), numbers 1 to 15. Key: the lesson.

What all of them share. **Lesson so far**: from the earliest ``lesson.started`` (without one: the earliest event) to the
lesson's end. **End**: the latest ``lesson.ended``, whatever its time. A lesson that never ends ends at its latest event,
but at the latest ``LESSON_GRACE_US`` after its scheduled end, if a ``lesson.started`` tells one. **Presence** of a student:
from ``joined`` to the next ``left`` or the lesson's end (without ``lesson.ended``: the latest end possible); a repeated
joined or left has no effect, nor has a left before any joined; at one instant left comes before joined. **Present** in a
window: at any moment of it. **Several lesson.started**: of each school and class the earliest (by time, source, id) counts;
their rosters join (双师, a dual-teacher lesson in two schools), and teacher and timetable are those of the earliest of all.
"""

from typing import Final

from schemas.metrics.metric import (
    MINUTE_US,
    SECOND_US,
    WINDOW_1M,
    WINDOW_5M,
    WINDOW_10M,
    WINDOW_LESSON,
    WINDOW_PROMPT,
    WINDOW_STUDENT,
    Metric,
)

__all__ = [
    "CLASSROOM_METRICS", "CLASSROOM_PANE_US", "INTERACTION_TYPES", "LESSON_GRACE_US", "LONG_WAIT_US", "PLATFORMS",
    "SKETCH_ACCURACY", "STRATEGIES", "STUDENT_PARTS",
]  # fmt: skip

#: Classroom metrics are merged from panes of this length; every hop and size of their windows is a multiple of it.
CLASSROOM_PANE_US: Final = 10 * SECOND_US
#: A lesson without ``lesson.ended`` ends at the latest so long after its scheduled end.
LESSON_GRACE_US: Final = 30 * MINUTE_US
#: From here on a wait is long (Rowe 1974).
LONG_WAIT_US: Final = 3 * SECOND_US
#: Relative error of a quantile from the sketch: DDSketch (Masson, Rim and Lee 2019), buckets of ratio (1 + a) / (1 - a).
SKETCH_ACCURACY: Final = 0.01

#: 问题引学, 情境创学, 活动互学, 评价优学, 数字助学, in the order of ``parts``.
STRATEGIES: Final = ("question_led", "situational", "interactive", "evaluative", "digital")
#: 国家, 市, 区, 校.
PLATFORMS: Final = ("national", "municipal", "district", "school")

#: The event types that are a student's interaction (metrics 8, 9 and 11).
INTERACTION_TYPES: Final = (
    "classroom.answer.submitted",
    "classroom.hand.raised",
    "classroom.interaction.recorded",
)

#: What ``parts`` of ``student_lesson`` holds, in order.
STUDENT_PARTS: Final = (
    "scheduled_seconds",  # of the lesson, if the student is on the roster; otherwise 0
    "attended_seconds",  # of presence within the scheduled time, if on the roster; otherwise 0
    "present_seconds",  # of presence
    "interactions",
    "answers",
    "graded_answers",  # answers that say whether they are correct
    "correct_answers",
    "hands_raised",
    "hands_called",
    "assessments",
    "assessment_score_sum",
    "plan_steps",  # plan.progressed
    "plan_progress",  # the highest progress told in the lesson; 0 where none was
)

_SPEECH: Final = ("speech.recorded",)
_TALK_WINDOWS: Final = (WINDOW_10M, WINDOW_LESSON)
_WHEN_SAMPLED: Final = "when a `speech.recorded` lies in the window"
_WHEN_CODED: Final = "when a `speech.recorded` with a FIAS code lies in the window"
_ST: Final = "S-T analysis (Fujita 1988); one `speech.recorded` is one sample, whatever its length"
_FIAS: Final = "Flanders' interaction analysis (Flanders 1970); one `speech.recorded` is one sample"
_PRESENCE: Final = ("attendance.joined", "attendance.left", "lesson.started", "lesson.ended")
_INTERACTIONS: Final = ("answer.submitted", "hand.raised", "interaction.recorded")
_ANY: Final = "when any event of the lesson lies in the window (lesson: is stored)"
_ASKED: Final = "when a `question.asked` is stored"


def _talk_share(name: str, chinese: str, english: str, codes: str) -> Metric:
    return Metric(
        name=name, number=3, chinese=chinese, english=english, family="classroom", module="talk", unit="share",
        numerator=f"samples with FIAS code {codes}", denominator="samples with a FIAS code", sample="the denominator",
        exists=_WHEN_CODED, windows=_TALK_WINDOWS, direction="context", events=_SPEECH, source=_FIAS,
    )  # fmt: skip


def _talk_ratio(name: str, chinese: str, english: str, numerator: str, denominator: str) -> Metric:
    return Metric(
        name=name, number=4, chinese=chinese, english=english, family="classroom", module="talk", unit="ratio",
        numerator=numerator, denominator=denominator, sample="the denominator", exists=_WHEN_CODED,
        windows=(WINDOW_LESSON,), direction="higher", events=_SPEECH, source=_FIAS,
    )  # fmt: skip


def _latency(name: str, chinese: str, english: str, quantile: float) -> Metric:
    return Metric(
        name=name, number=7, chinese=chinese, english=english, family="classroom", module="questions", unit="milliseconds",
        numerator=f"{quantile} quantile of `latency_ms` over the answers that have it, interpolated linearly between the "
        "two nearest (type 7 of Hyndman and Fan; NumPy's default); 0 without any",
        denominator="1; 0 without any", sample="answers with `latency_ms`",
        exists="prompt: " + _ASKED + ". lesson: when an `answer.submitted` is stored",
        windows=(WINDOW_PROMPT, WINDOW_LESSON), direction="context", events=("question.asked", "answer.submitted"),
        source="District catalogue, metric 7", merge="sketch", quantile=quantile,
        parts="lesson: a DDSketch of relative error 1 %: bucket, count, bucket, count ..., by bucket. Bucket i holds the "
        "latencies x (at least 1 ms) with i = ceil(ln x / ln(1.01 / 0.99)). prompt: nothing",
    )  # fmt: skip


CLASSROOM_METRICS: Final = (
    Metric(
        name="teacher_occupancy", number=1, chinese="教师行为占有率 Rt", english="teacher's share of behaviour Rt",
        family="classroom", module="talk", unit="share",
        numerator="samples of the speaker teacher + half of those of both", denominator="samples",
        sample="samples", exists=_WHEN_SAMPLED, windows=_TALK_WINDOWS, direction="context", events=_SPEECH, source=_ST,
    ),
    Metric(
        name="behaviour_conversion", number=2, chinese="师生行为转换率 Ch",
        english="changes between teacher and students Ch",
        family="classroom", module="talk", unit="share",
        numerator="runs - 1; a run is a longest stretch of samples with one speaker (teacher, student, both, silence), by "
        "time, source and id, within the window",
        denominator="samples", sample="samples", exists=_WHEN_SAMPLED, windows=_TALK_WINDOWS, direction="context",
        events=_SPEECH, source=_ST,
    ),
    _talk_share("teacher_talk_share", "教师语言比例", "teacher talk", "1 to 7"),
    _talk_share("student_talk_share", "学生语言比例", "student talk", "8 or 9"),
    _talk_share("silence_share", "沉寂比例", "silence", "10"),
    _talk_ratio(
        "pupil_initiation_ratio", "学生自发比例", "talk that students begin",
        "samples with code 9", "samples with code 8 or 9",
    ),
    _talk_ratio(
        "question_ratio", "教师提问比例", "questions among questions and lecturing",
        "samples with code 4", "samples with code 4 or 5",
    ),
    _talk_ratio(
        "teacher_response_ratio", "教师回应比例", "encouraging among encouraging and directing",
        "samples with code 1, 2 or 3", "samples with code 1, 2, 3, 6 or 7",
    ),
    Metric(
        name="wait_time_seconds", number=5, chinese="候答时间", english="wait time after a question",
        family="classroom", module="questions", unit="seconds",
        numerator="median over the prompts of: first answer at or after the question - question (the earliest asking "
        "counts); prompts without such an answer are left out; the mean of the middle two where their number is even; 0 "
        "without any",
        denominator="1; 0 without any", sample="prompts with such an answer", exists=_ASKED, windows=(WINDOW_LESSON,),
        direction="higher", events=("question.asked", "answer.submitted"), source="Wait time (Rowe 1974)",
        merge="values", quantile=0.5, parts="the waits in seconds, ascending",
    ),
    Metric(
        name="long_wait_share", number=5, chinese="充分候答比例", english="questions with enough wait time",
        family="classroom", module="questions", unit="share",
        numerator="waits of at least 3 s", denominator="prompts with a wait", sample="prompts with a wait", exists=_ASKED,
        windows=(WINDOW_LESSON,), direction="higher", events=("question.asked", "answer.submitted"),
        source="Wait time (Rowe 1974)",
    ),
    Metric(
        name="response_rate", number=6, chinese="应答率", english="students who answer a question",
        family="classroom", module="questions", unit="share",
        numerator="prompt: distinct students who answered it, at any time. 10m/1m and lesson: sum of the rates of the "
        "prompts asked in the window",
        denominator="prompt: students present at the moment it was asked, and those who answered it. 10m/1m and lesson: "
        "number of those prompts (a prompt with nobody present and nobody answering is left out)",
        sample="the denominator",
        exists="prompt, lesson: when a `question.asked` is stored (asked twice: the earliest counts). 10m/1m: when any "
        "`question.asked` lies in the window",
        windows=(WINDOW_PROMPT, WINDOW_10M, WINDOW_LESSON), direction="higher",
        events=("question.asked", "answer.submitted", *_PRESENCE),
        source="Opportunity-to-respond research; Kounin's group alerting",
    ),
    _latency("answer_latency_p50_ms", "答题时延中位数", "time to answer, median", 0.5),
    _latency("answer_latency_p90_ms", "答题时延 90 分位", "time to answer, 90th percentile", 0.9),
    Metric(
        name="correct_rate", number=7, chinese="正确率", english="correct answers",
        family="classroom", module="questions", unit="share",
        numerator="answers that are correct", denominator="answers that say whether they are", sample="the denominator",
        exists="prompt: " + _ASKED + ". lesson: when an `answer.submitted` is stored",
        windows=(WINDOW_PROMPT, WINDOW_LESSON), direction="higher", events=("question.asked", "answer.submitted"),
        source="District catalogue, metric 7",
    ),
    Metric(
        name="participation_breadth", number=8, chinese="参与广度", english="students who take part",
        family="classroom", module="participation",
        unit="share",
        numerator="distinct students with at least one interaction in the window",
        denominator="distinct students present at any moment of the window, and those who interacted in it",
        sample="the denominator", exists=_ANY, windows=(WINDOW_5M, WINDOW_10M, WINDOW_LESSON), direction="higher",
        events=(*_INTERACTIONS, *_PRESENCE), source="District catalogue, metric 8",
    ),
    Metric(
        name="participation_gini", number=9, chinese="参与基尼系数", english="inequality of participation (Gini)",
        family="classroom", module="participation",
        unit="0 to 1",
        numerator="sum over all ordered pairs of students of the difference of their interactions",
        denominator="2 x students x interactions of all; students as in participation_breadth, zeros included",
        sample="students", exists="when any event of the lesson is stored", windows=(WINDOW_LESSON,), direction="lower",
        events=(*_INTERACTIONS, *_PRESENCE),
        source="Gini's mean difference, relative (Gini 1912). Merged as sums over lessons: who was in more of them, or a "
        "guest in one (双师), makes no inequality",
    ),
    Metric(
        name="hand_raises_per_student_minute", number=10, chinese="人均举手频次",
        english="hands raised per student and minute",
        family="classroom",
        module="participation", unit="hands per student and minute", numerator="`hand.raised` in the window",
        denominator="minutes of presence of all students in the window, added up", sample="the numerator", exists=_ANY,
        windows=(WINDOW_10M, WINDOW_LESSON), direction="higher", events=("hand.raised", *_PRESENCE),
        source="Person-time incidence rate",
    ),
    Metric(
        name="call_through_rate", number=10, chinese="举手应答率", english="raised hands that are called",
        family="classroom", module="participation", unit="ratio",
        numerator="`hand.called` in the window", denominator="`hand.raised` in the window", sample="the denominator",
        exists="10m/1m: when a `hand.raised` or `hand.called` lies in the window. lesson: when one is stored",
        windows=(WINDOW_10M, WINDOW_LESSON), direction="higher", events=("hand.raised", "hand.called"),
        source="District catalogue, metric 10",
    ),
    Metric(
        name="interactions_per_student_minute", number=11, chinese="人均互动频次",
        english="interactions per student and minute",
        family="classroom",
        module="participation", unit="interactions per student and minute", numerator="interactions in the window",
        denominator="minutes of presence of all students in the window, added up", sample="the numerator", exists=_ANY,
        windows=(WINDOW_1M, WINDOW_5M, WINDOW_10M, WINDOW_LESSON), direction="higher",
        events=(*_INTERACTIONS, *_PRESENCE), source="Person-time incidence rate",
    ),
    Metric(
        name="attendance_rate", number=12, chinese="出勤率", english="attendance",
        family="classroom", module="course", unit="share",
        numerator="seconds the students of the roster were present, within the scheduled time and the lesson so far",
        denominator="students of the roster x scheduled seconds", sample="students of the roster",
        exists="when a `lesson.started` is stored", windows=(WINDOW_LESSON,), direction="higher", events=_PRESENCE,
        source="District catalogue, metric 12",
    ),
    Metric(
        name="delayed_start_seconds", number=12, chinese="延迟上课", english="late start of lessons",
        family="classroom", module="course", unit="seconds",
        numerator="start of the lesson - scheduled start, 0 if early", denominator="1", sample="1",
        exists="when a `lesson.started` is stored", windows=(WINDOW_LESSON,), direction="lower",
        events=("lesson.started",), source="District catalogue, metric 12",
    ),
    Metric(
        name="early_stop_seconds", number=12, chinese="提前下课", english="early end of lessons",
        family="classroom", module="course", unit="seconds",
        numerator="scheduled end - end of the lesson, 0 if late", denominator="1", sample="1",
        exists="when a `lesson.started` and a `lesson.ended` are stored", windows=(WINDOW_LESSON,), direction="lower",
        events=("lesson.started", "lesson.ended"), source="District catalogue, metric 12",
    ),
    Metric(
        name="strategy_share", number=13, chinese="五学占比", english="share of a five-study strategy",
        family="classroom", module="course", unit="share",
        numerator="seconds under the strategy: from its `strategy.changed` to the next one (by time, source, id) or the "
        "lesson's end, within the lesson so far",
        denominator="seconds under any strategy", sample="`strategy.changed` of the lesson",
        exists="for each of the five strategies when a `strategy.changed` is stored", windows=(WINDOW_LESSON,),
        direction="context", events=("strategy.changed", "lesson.started", "lesson.ended"), item="the strategy",
        source="Five-study classroom (五学课堂) of the district",
    ),
    Metric(
        name="strategy_balance", number=13, chinese="五学均衡度", english="balance of the five-study strategies",
        family="classroom", module="course", unit="0 to 1",
        numerator="entropy of the five shares, natural logarithm; 0 without any seconds", denominator="ln 5; 0 without any "
        "seconds", sample="`strategy.changed` of the lesson", exists="when a `strategy.changed` is stored",
        windows=(WINDOW_LESSON,), direction="higher", events=("strategy.changed", "lesson.started", "lesson.ended"),
        source="Shannon's entropy, normalised (Pielou 1966)", merge="entropy",
        parts="seconds under question_led, situational, interactive, evaluative, digital",
    ),
    Metric(
        name="tool_share", number=14, chinese="数字工具使用占比", english="time with digital tools",
        family="classroom", module="course", unit="share",
        numerator="seconds in which a tool (item empty: of any platform) was in use, within the lesson so far; overlapping "
        "uses count once", denominator="seconds of the lesson so far", sample="`tool.used` of the item",
        exists="item empty: when any event of the lesson is stored. A platform: when a tool of it was used",
        windows=(WINDOW_LESSON,), direction="context", events=("tool.used", "lesson.started", "lesson.ended"),
        item="level of the platform: national, municipal, district, school; empty: any",
        source="District catalogue, metric 14",
    ),
    Metric(
        name="engagement_index", number=15, chinese="课堂参与指数", english="engagement index",
        family="classroom", module="engagement", unit="0 to 1",
        numerator="sum of weight x part over the parts that are known: response_rate, participation_breadth, 1 - "
        "participation_gini, interactions_per_student_minute / CLASSPULSE_ENGAGEMENT_FULL_RATE (at most 1), each of the "
        "lesson so far",
        denominator="sum of the weights of those parts", sample="students as in participation_breadth",
        exists="when any event of the lesson is stored", windows=(WINDOW_LESSON,), direction="higher",
        events=("question.asked", *_INTERACTIONS, *_PRESENCE),
        source="A blend of 6, 8, 9 and 11; weights are configuration",
        merge="blend", parts="the four parts as they are weighted (NULL where unknown), then their four weights",
    ),
    Metric(
        name="student_lesson", number=11, chinese="学生课堂表现", english="a student's lesson",
        family="classroom", module="students",
        unit="interactions per minute", numerator="interactions of the student in the lesson",
        denominator="minutes of presence of the student: stays that a left or the end of the lesson has closed",
        sample="the numerator",
        exists="for each student on the roster of any `lesson.started`, or with an event of their own in the lesson. Its "
        "bounds are the earliest `lesson.started` and the latest `lesson.ended`; where one is missing, the student's "
        "earliest or latest event",
        windows=(WINDOW_STUDENT,),
        direction="higher",
        events=(
            *_INTERACTIONS, "hand.called", "assessment.completed", "plan.progressed", *_PRESENCE,
        ),
        item="the student", source="What metrics of persons are merged from: 9, 12, 28 to 30",
        parts=", ".join(STUDENT_PARTS),
    ),
)  # fmt: skip
