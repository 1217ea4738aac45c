"""智慧课堂, smart classroom: what happens in a lesson. Partition key: the lesson."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.events.envelope import Data
from schemas.events.fields import DurationMs, Grade, Identifier, Identifiers, Label, Platform, Share, Timestamp

Student = Annotated[Identifier, Field(description="Student id; stored only as a keyed hash.", examples=["stu-004211"])]
Prompt = Annotated[Identifier, Field(description="The question, unique within the lesson.", examples=["q-03"])]


class LessonStarted(Data):
    """A lesson began (上课)."""

    teacher_id: Identifier = Field(description="Who teaches.", examples=["t-0117"])
    course: Label = Field(description="School subject.", examples=["数学"])
    grade: Grade = Field(description="Grade, 1 to 12.", examples=[5])
    mode: Literal["standard", "dual_teacher"] = Field(description="Standard, or 双师 dual-teacher.", examples=["standard"])
    roster: Identifiers = Field(description="Students expected, at most 500.", examples=[["stu-004211", "stu-004212"]])
    scheduled_start: Timestamp = Field(description="By the timetable.", examples=["2026-11-16T08:00:00+08:00"])
    scheduled_end: Timestamp = Field(
        description="By the timetable; after scheduled_start, by 12 hours at most.", examples=["2026-11-16T08:40:00+08:00"]
    )


class LessonEnded(Data):
    """A lesson ended (下课)."""

    reason: Literal["scheduled", "early", "interrupted"] | None = Field(
        default=None, description="Why it ended.", examples=["scheduled"]
    )


class AttendanceJoined(Data):
    """A student came into the lesson, in the room or online."""

    student_id: Student
    channel: Literal["room", "online"] | None = Field(default=None, description="How.", examples=["room"])


class AttendanceLeft(Data):
    """A student left the lesson."""

    student_id: Student


class StrategyChanged(Data):
    """The teacher moved to another strategy of the five-study classroom (五学课堂)."""

    strategy: Literal["question_led", "situational", "interactive", "evaluative", "digital"] = Field(
        description="问题引学, 情境创学, 活动互学, 评价优学, 数字助学.", examples=["interactive"]
    )


class QuestionAsked(Data):
    """A question was put to the class; its time is while the teacher asks it, or when the teacher has asked it."""

    prompt_id: Prompt
    kind: Literal["open", "choice", "exercise"] | None = Field(
        default=None,
        description="Kind of question; `open`: an oral one, whose wait time is measured by the record of speech.",
        examples=["choice"],
    )


class QuestionClosed(Data):
    """No more answers are taken."""

    prompt_id: Prompt


class AnswerSubmitted(Data):
    """A student answered a question."""

    student_id: Student
    prompt_id: Prompt
    correct: bool | None = Field(default=None, description="Right or wrong, where it can be told.", examples=[True])
    score: Share | None = Field(default=None, description="Share of the full marks, 0 to 1.", examples=[0.8])
    latency_ms: DurationMs | None = Field(
        default=None, description="From the question's display to the answer.", examples=[5400]
    )


class HandRaised(Data):
    """A student raised a hand."""

    student_id: Student


class HandCalled(Data):
    """The teacher called on a student."""

    student_id: Student


class InteractionRecorded(Data):
    """A student took part in something other than answering."""

    student_id: Student
    kind: Literal["discussion", "board", "vote", "share", "peer_review"] = Field(
        description="What it was.", examples=["discussion"]
    )


class SpeechRecorded(Data):
    """Someone spoke, or nobody did, for a while; starts at the event's time."""

    speaker: Literal["teacher", "student", "both", "silence"] = Field(description="Who.", examples=["teacher"])
    duration_ms: DurationMs = Field(description="How long.", examples=[3000])
    fias_code: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None,
        description="Category by Flanders (1970), not by one of its later versions. The teacher: 1 accepts feeling, 2 "
        "praises, 3 uses ideas of students, 4 asks, 5 lectures, 6 directs, 7 criticises. Students: 8 respond, 9 initiate. "
        "10 silence or confusion. A category of another speaker is rejected; `both` may have any.",
        examples=[4],
    )


class ToolUsed(Data):
    """A digital tool was in use for a while; starts at the event's time."""

    tool: Label = Field(description="Name of the tool.", examples=["投屏"])
    platform: Platform = Field(description="Level of the platform it belongs to.", examples=["district"])
    duration_ms: DurationMs = Field(description="How long.", examples=[90000])


class AssessmentCompleted(Data):
    """A student finished a test (科学测)."""

    student_id: Student
    assessment_id: Identifier = Field(description="The test.", examples=["quiz-2026-117"])
    score: Share = Field(description="Share of the full marks, 0 to 1.", examples=[0.85])


class PlanProgressed(Data):
    """A student moved on in the personal learning plan (个性学)."""

    student_id: Student
    plan_id: Identifier = Field(description="The personal plan.", examples=["plan-004211"])
    progress: Share = Field(description="Share of the plan done, 0 to 1.", examples=[0.35])
