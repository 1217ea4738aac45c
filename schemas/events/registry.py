"""The district's registry: schools, groups, classes, teachers, rosters. Partition key: the entity."""

from typing import Literal

from pydantic import Field

from schemas.events.envelope import Data
from schemas.events.fields import Grade, Identifier, Identifiers, Label


class SchoolRegistered(Data):
    """A school, and the education group (教育集团) it belongs to."""

    name: Label = Field(description="Name.", examples=["高新区第七小学"])
    group_id: Identifier | None = Field(default=None, description="Education group.", examples=["g03"])
    stage: Literal["primary", "junior", "senior", "combined"] = Field(description="Stage.", examples=["primary"])


class GroupRegistered(Data):
    """An education group (教育集团)."""

    name: Label = Field(description="Name.", examples=["第三教育集团"])


class ClassRegistered(Data):
    """A class of a school."""

    school_id: Identifier = Field(description="School.", examples=["s07"])
    grade: Grade = Field(description="Grade, 1 to 12.", examples=[5])
    name: Label = Field(description="Name.", examples=["五年级2班"])


class TeacherRegistered(Data):
    """A teacher of a school, with the career stage."""

    school_id: Identifier = Field(description="School.", examples=["s07"])
    course: Label = Field(description="School subject.", examples=["数学"])
    career_stage: Literal["novice", "developing", "experienced", "expert"] = Field(
        description="Career stage.", examples=["experienced"]
    )


class RosterRegistered(Data):
    """The students of a class; replaces the earlier roster."""

    students: Identifiers = Field(
        description="Student ids, at most 500; stored only as keyed hashes.", examples=[["stu-004211"]]
    )


class EntryRetired(Data):
    """The entity is no longer part of the district."""
