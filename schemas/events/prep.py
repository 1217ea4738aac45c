"""备课, lesson preparation: what a teacher does on a lesson plan. Partition key: the teacher; subject: the plan."""

from typing import Literal

from pydantic import Field

from schemas.events.envelope import Data
from schemas.events.fields import Count, Grade, Identifier, Label, Platform, Share, Timestamp


class PlanOpened(Data):
    """The teacher opened a plan."""

    course: Label | None = Field(default=None, description="School subject.", examples=["数学"])
    grade: Grade | None = Field(default=None, description="Grade, 1 to 12.", examples=[5])


class HeartbeatRecorded(Data):
    """The teacher is active in the plan; sent about once a minute."""

    had_input: bool | None = Field(
        default=None,
        description="Whether there was input (keys, pen, pointer) since the heartbeat before. False is no preparation: the "
        "plan is open, and nobody works on it. Without it the heartbeat counts.",
        examples=[True],
    )


class PlanEdited(Data):
    """The plan's text changed."""

    characters_changed: Count = Field(description="Characters added or removed.", examples=[120])
    substantive: bool = Field(description="More than spelling or layout.", examples=[True])


class ResourceAttached(Data):
    """A resource was put into the plan."""

    resource_id: Identifier = Field(description="The resource.", examples=["res-88123"])
    origin: Literal["created", "reused"] = Field(description="Own work or taken over.", examples=["reused"])
    platform: Platform = Field(description="Level of the platform it comes from.", examples=["national"])


class PlanShared(Data):
    """The plan was shared with others."""

    audience: Literal["colleague", "school", "group", "district"] = Field(description="With whom.", examples=["school"])


class PlanCoedited(Data):
    """Another teacher edited the plan. Sent twice: to the plan's teacher, and to the editor, who gets the time for it."""

    editor_id: Identifier = Field(description="The other teacher.", examples=["t-0122"])
    characters_changed: Count = Field(description="Characters added or removed.", examples=[40])
    owner_id: Identifier | None = Field(
        default=None,
        description="Whose plan it is, where the partition key is the editor.",
        examples=["t-0117"],
    )


class PlanCompleted(Data):
    """The plan is ready."""


class PlanReviewed(Data):
    """A colleague reviewed the plan."""

    reviewer_id: Identifier = Field(description="Who reviewed.", examples=["t-0009"])
    score: Share | None = Field(default=None, description="Share of the full marks, 0 to 1.", examples=[0.9])


class PlanTaught(Data):
    """The plan was used in a lesson."""

    lesson_id: Identifier = Field(description="The lesson.", examples=["lesson-s07-c2-20261116-1"])
    lesson_start: Timestamp = Field(description="When it began.", examples=["2026-11-16T08:00:00+08:00"])
