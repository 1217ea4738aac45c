"""Every event type of the catalogue, its model, family and topic, declared once.

An event type is ``io.classpulse.<name>.v1``; ``name`` is what the tables, the code and the documents use.
"""

from dataclasses import dataclass
from typing import Final

from schemas.events import classroom, prep, registry, research
from schemas.events.envelope import SUPPORTED_MAJOR_VERSION, Data

PREFIX: Final = "io.classpulse."
SUFFIX: Final = f".v{SUPPORTED_MAJOR_VERSION}"


@dataclass(frozen=True, slots=True)
class Family:
    """Events that share a topic, a partition key and a table."""

    name: str
    chinese: str
    key: str
    models: dict[str, type[Data]]

    @property
    def topic(self) -> str:
        """Kafka topic without the deployment's prefix."""
        return f"classpulse.{self.name}"

    @property
    def table(self) -> str:
        """ClickHouse table of the stored events."""
        return f"events_{self.name}"


def _family(name: str, chinese: str, key: str, **models: type[Data]) -> Family:
    return Family(name, chinese, key, {f"{name}.{what.replace('__', '.')}": model for what, model in models.items()})


CLASSROOM: Final = _family(
    "classroom",
    "智慧课堂",
    "lesson",
    lesson__started=classroom.LessonStarted,
    lesson__ended=classroom.LessonEnded,
    attendance__joined=classroom.AttendanceJoined,
    attendance__left=classroom.AttendanceLeft,
    strategy__changed=classroom.StrategyChanged,
    question__asked=classroom.QuestionAsked,
    question__closed=classroom.QuestionClosed,
    answer__submitted=classroom.AnswerSubmitted,
    hand__raised=classroom.HandRaised,
    hand__called=classroom.HandCalled,
    interaction__recorded=classroom.InteractionRecorded,
    speech__recorded=classroom.SpeechRecorded,
    tool__used=classroom.ToolUsed,
    assessment__completed=classroom.AssessmentCompleted,
    plan__progressed=classroom.PlanProgressed,
)
PREP: Final = _family(
    "prep",
    "备课",
    "teacher",
    plan__opened=prep.PlanOpened,
    heartbeat__recorded=prep.HeartbeatRecorded,
    plan__edited=prep.PlanEdited,
    resource__attached=prep.ResourceAttached,
    plan__shared=prep.PlanShared,
    plan__coedited=prep.PlanCoedited,
    plan__completed=prep.PlanCompleted,
    plan__reviewed=prep.PlanReviewed,
    plan__taught=prep.PlanTaught,
)
RESEARCH: Final = _family(
    "research",
    "教研",
    "activity",
    activity__published=research.ActivityPublished,
    participant__joined=research.ParticipantJoined,
    participant__left=research.ParticipantLeft,
    contribution__posted=research.ContributionPosted,
    lesson__observed=research.LessonObserved,
    feedback__given=research.FeedbackGiven,
    report__generated=research.ReportGenerated,
    improvement__linked=research.ImprovementLinked,
)
REGISTRY: Final = _family(
    "registry",
    "注册",
    "entity",
    school__registered=registry.SchoolRegistered,
    group__registered=registry.GroupRegistered,
    class__registered=registry.ClassRegistered,
    teacher__registered=registry.TeacherRegistered,
    roster__registered=registry.RosterRegistered,
    entry__retired=registry.EntryRetired,
)

#: The registry's event that an entry is no longer part of the district.
RETIRED: Final = "registry.entry.retired"

FAMILIES: Final = (CLASSROOM, PREP, RESEARCH, REGISTRY)
MODELS: Final[dict[str, type[Data]]] = {name: model for family in FAMILIES for name, model in family.models.items()}


def type_uri(name: str) -> str:
    """Return the CloudEvents ``type`` of the event called ``name``."""
    return f"{PREFIX}{name}{SUFFIX}"


def schema_uri(name: str, version: str = "1.0") -> str:
    """Return the ``dataschema`` of the event called ``name``."""
    return f"urn:classpulse:{name}:{version}"
