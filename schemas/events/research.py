"""教研, teaching research: what teachers do together. Partition key: the activity."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.events.envelope import Data
from schemas.events.fields import Count, Identifier, Identifiers, Share, Timestamp


class ActivityPublished(Data):
    """An activity was announced."""

    host_id: Identifier = Field(description="Who hosts.", examples=["t-0009"])
    mode: Literal["observation", "joint_preparation", "seminar", "training", "reflection", "other"] = Field(
        description="One of the 5+N modes.", examples=["observation"]
    )
    invited: Identifiers = Field(description="Teachers invited, at most 500.", examples=[["t-0117", "t-0122"]])
    scheduled_start: Timestamp = Field(description="By the invitation.", examples=["2026-11-18T14:00:00+08:00"])
    scheduled_end: Timestamp = Field(
        description="By the invitation; after scheduled_start, by 7 days at most.", examples=["2026-11-18T15:30:00+08:00"]
    )


class ParticipantJoined(Data):
    """A teacher joined."""

    teacher_id: Identifier = Field(description="Who.", examples=["t-0117"])


class ParticipantLeft(Data):
    """A teacher left."""

    teacher_id: Identifier = Field(description="Who.", examples=["t-0117"])


class ContributionPosted(Data):
    """A teacher contributed."""

    teacher_id: Identifier = Field(description="Who.", examples=["t-0117"])
    kind: Literal["comment", "question", "material", "demonstration"] = Field(
        description="What kind.", examples=["comment"]
    )
    characters: Count | None = Field(default=None, description="Length of the text.", examples=[240])


class LessonObserved(Data):
    """A lesson was observed against a rubric (听评课)."""

    teacher_id: Identifier = Field(description="The observer.", examples=["t-0122"])
    lesson_id: Identifier = Field(description="The lesson.", examples=["lesson-s07-c2-20261116-1"])
    rubric_scores: Annotated[list[Share], Field(max_length=50)] = Field(
        description="One score a criterion, each 0 to 1.", examples=[[0.8, 0.9, 0.7]]
    )


class FeedbackGiven(Data):
    """An observer gave feedback on a lesson."""

    teacher_id: Identifier = Field(description="Who gave it.", examples=["t-0122"])
    feedback_id: Identifier = Field(description="The item.", examples=["fb-5521"])
    lesson_id: Identifier = Field(description="The lesson.", examples=["lesson-s07-c2-20261116-1"])
    lesson_end: Timestamp = Field(
        description="When the lesson ended; at most 12 hours after this event.", examples=["2026-11-16T08:40:00+08:00"]
    )


class ReportGenerated(Data):
    """An evaluation report was made."""

    report_id: Identifier = Field(description="The report.", examples=["rep-2026-11-s07"])


class ImprovementLinked(Data):
    """An improvement was linked to a feedback item: the loop is closed."""

    teacher_id: Identifier = Field(description="Who improved.", examples=["t-0117"])
    feedback_id: Identifier = Field(description="The feedback item.", examples=["fb-5521"])
    improvement_id: Identifier = Field(description="The improvement.", examples=["imp-0917"])
