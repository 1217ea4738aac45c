"""A lesson as its events tell it: its bounds, its roster, who was there when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.metrics.classroom.lessons import INTERACTION_TYPES, LESSON_GRACE_US, LONGEST_LESSON_US
from schemas.metrics.metric import Window
from tests.oracle.rows import NEVER_US, Event, Interval, Metrics, earliest, of_type, presence, quotient, window_starts

__all__ = ["ANSWERED", "LEFT", "Lesson", "hopping", "inside", "read_lesson"]


JOINED = "classroom.attendance.joined"
LEFT = "classroom.attendance.left"
ANSWERED = "classroom.answer.submitted"


@dataclass
class Lesson:
    """One lesson: its events, its bounds, who was there when, and the timetable if a ``lesson.started`` tells it.

    ``latest_us`` is the latest end possible: the end, if the lesson has ended.
    """

    key: str
    events: Sequence[Event]
    start_us: int
    end_us: int
    latest_us: int
    has_ended: bool
    stays: Sequence[Interval]
    present: Sequence[Interval]
    plan: Event | None
    roster: set[str]
    due: tuple[int, int] | None
    is_measured: bool
    open_without_roster: bool

    def only(self, *names: str) -> list[Event]:
        """Return the events of these types; ``names`` lack the family."""
        return of_type(self.events, *(f"classroom.{name}" for name in names))

    def interactions(self) -> list[Event]:
        """Return what the students of the class did in the lesson so far."""
        return [
            event for event in of_type(self.events, *INTERACTION_TYPES) if self.is_of_class(event) and self.holds(event)
        ]

    def is_of_class(self, event: Event) -> bool:
        """Tell whether the event's student is no guest."""
        return (self.open_without_roster and not self.roster) or event["student_id"] in self.roster

    def holds(self, event: Event) -> bool:
        """Tell whether the event lies in the lesson so far."""
        return bool(self.start_us <= event["time_us"] <= self.latest_us)

    def audience(self, start_us: int, end_us: int) -> set[str]:
        """Return the students of the class who are there at any moment of ``[start_us, end_us)``, or who may be."""
        if not self.is_measured and self.roster:
            return set(self.roster)
        return {stay.person for stay in self.present if stay.start_us < end_us and stay.end_us > start_us}

    def so_far(self, numerator: float, denominator: float, sample_size: int, parts: Sequence[float | None] = ()) -> Metrics:
        """Return a metric of the lesson so far."""
        return quotient(self.start_us, self.end_us, numerator, denominator, sample_size, parts)


def read_lesson(key: str, events: Sequence[Event], *, open_without_roster: bool = True) -> Lesson:
    """Find the bounds of the lesson, its roster and its timetable; without a roster all are of the class, or nobody."""
    started = of_type(events, "classroom.lesson.started")
    ended = of_type(events, "classroom.lesson.ended")
    times_us = [event["time_us"] for event in events]
    plan = earliest(started) if started else None
    start_us = plan["time_us"] if plan else min(times_us)
    due = (plan["scheduled_start_us"], plan["scheduled_end_us"]) if plan else None
    if due and not 0 < due[1] - due[0] <= LONGEST_LESSON_US:
        due = None
    latest_us = max(start_us, due[1] + LESSON_GRACE_US) if due else NEVER_US
    end_us = min(max(times_us), latest_us)
    if ended:
        latest_us = end_us = max(event["time_us"] for event in ended)
    roster = set()
    for side in {(event.get("schoolid", ""), event.get("classid", "")) for event in started}:
        own = [event for event in started if (event.get("schoolid", ""), event.get("classid", "")) == side]
        roster |= set(earliest(own)["roster"])
    everybody = open_without_roster and not roster
    stays = presence(events, JOINED, LEFT, "student_id", latest_us)
    return Lesson(
        key=key,
        events=events,
        start_us=start_us,
        end_us=end_us,
        latest_us=latest_us,
        has_ended=bool(ended),
        stays=stays,
        present=[stay for stay in stays if everybody or stay.person in roster],
        plan=plan,
        roster=roster,
        due=due,
        is_measured=any(everybody or event["student_id"] in roster for event in of_type(events, JOINED)),
        open_without_roster=open_without_roster,
    )


def hopping(events: Iterable[Event], window: Window) -> set[tuple[int, int]]:
    """Return start and end of every hopping window that holds an event."""
    return {(start_us, start_us + window.size_us) for start_us in window_starts((e["time_us"] for e in events), window)}


def inside(events: Iterable[Event], start_us: int, end_us: int) -> list[Event]:
    """Return the events in ``[start_us, end_us)``."""
    return [event for event in events if start_us <= event["time_us"] < end_us]
