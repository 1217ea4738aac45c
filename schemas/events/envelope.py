"""The CloudEvents 1.0 envelope: who says what about which lesson, plan or activity, and when.

Source: CloudEvents 1.0.2 and its Kafka protocol binding. Both content modes are accepted: *binary* (attributes in
``ce_*`` record headers, data in the value) and *structured* (``application/cloudevents+json``).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.codec import media_types
from schemas.events.characters import UNSEEN, others
from schemas.events.fields import IDENTIFIER_PATTERN, Identifier, Timestamp

#: Ends in ``MAJOR``, ``MAJOR.MINOR`` or ``MAJOR.MINOR.PATCH`` after a slash or colon.
DATASCHEMA_PATTERN = f"^{others(UNSEEN)}+[:/]v?[0-9]{{1,4}}(\\.[0-9]{{1,4}}){{0,2}}$"
SUPPORTED_MAJOR_VERSION = 1


class Data(BaseModel):
    """Base of every event's ``data``: strict JSON types, unknown fields accepted and not stored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Envelope(BaseModel):
    """The context attributes of one event. Unknown extension attributes are accepted and not stored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    specversion: Literal["1.0"] = Field(description="Version of CloudEvents.", examples=["1.0"])
    id: Identifier = Field(
        description="Unique within `source`; a re-sent event keeps it. UUIDv7 is a good choice.",
        examples=["019a8c1e-5b7c-7d3e-9f00-0242ac120002"],
    )
    source: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=IDENTIFIER_PATTERN)] = Field(
        description="One device, as a URI reference.", examples=["/schools/s07/devices/tablet-0113"]
    )
    type: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="`io.classpulse.<family>.<what>.<past tense>.v1`.",
        examples=["io.classpulse.classroom.answer.submitted.v1"],
    )
    time: Timestamp = Field(
        description="Event time: when it happened, by the device's clock, RFC 3339 with zone.",
        examples=["2026-11-16T08:05:12.345+08:00"],
    )
    subject: Identifier = Field(
        description="What the event is about: the lesson, the plan, the activity, or the registered entity.",
        examples=["lesson-s07-c2-20261116-1"],
    )
    dataschema: Annotated[str, StringConstraints(max_length=256, pattern=DATASCHEMA_PATTERN)] = Field(
        description="URI of the data's schema, ending in its version; another major version is a dead letter.",
        examples=["urn:classpulse:classroom.answer.submitted:1.0"],
    )
    partitionkey: Identifier | None = Field(
        default=None,
        description="Lesson id (classroom), teacher id (prep), activity id (research) or entity id (registry); "
        "equals the Kafka record key, which says it alone where this is left out.",
        examples=["lesson-s07-c2-20261116-1"],
    )
    sequence: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")] | None = Field(
        default=None, description="Zero-padded counter of the device; a gap reveals loss.", examples=["0000000042"]
    )
    schoolid: Identifier | None = Field(default=None, description="School of the device.", examples=["s07"])
    classid: Identifier | None = Field(default=None, description="Class the event belongs to.", examples=["s07-c2"])
    lessonid: Identifier | None = Field(
        default=None, description="Lesson the event belongs to.", examples=["lesson-s07-c2-20261116-1"]
    )
    recordedtime: Timestamp | None = Field(
        default=None,
        description="When the device wrote the event down, if it was offline then.",
        examples=["2026-11-16T08:05:12.400+08:00"],
    )
    datacontenttype: (
        Annotated[str, StringConstraints(max_length=media_types.LENGTH_LIMIT, pattern=media_types.JSON)] | None
    ) = Field(default=None, description="Media type of `data`.", examples=["application/json"])
