"""One lesson, told in episodes of about two minutes: each fills its time with speech and one activity."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from deploy.local.simulator.district import School, SchoolClass, Student, Teacher
from deploy.local.simulator.draft import KINDS, LAST, Context, Draft, Kind, Script
from deploy.local.simulator.school_day import LESSON_MS, rfc3339
from deploy.local.simulator.speech import question_and_answer, speech_between

STARTED: Final = KINDS["classroom.lesson.started"]
ENDED: Final = KINDS["classroom.lesson.ended"]
JOINED: Final = KINDS["classroom.attendance.joined"]
LEFT: Final = KINDS["classroom.attendance.left"]
STRATEGY: Final = KINDS["classroom.strategy.changed"]
ASKED: Final = KINDS["classroom.question.asked"]
CLOSED: Final = KINDS["classroom.question.closed"]
ANSWERED: Final = KINDS["classroom.answer.submitted"]
HAND_RAISED: Final = KINDS["classroom.hand.raised"]
HAND_CALLED: Final = KINDS["classroom.hand.called"]
INTERACTION: Final = KINDS["classroom.interaction.recorded"]
SPEECH: Final = KINDS["classroom.speech.recorded"]
TOOL: Final = KINDS["classroom.tool.used"]
ASSESSMENT: Final = KINDS["classroom.assessment.completed"]
PROGRESS: Final = KINDS["classroom.plan.progressed"]

_STRATEGIES: Final = ("question_led", "situational", "interactive", "evaluative", "digital")
_TOOLS: Final = (
    ("投屏", "school"),
    ("随堂测", "district"),
    ("国家智慧教育平台", "national"),
    ("成都云教", "municipal"),
    ("思维导图", "district"),
    ("虚拟实验", "national"),
    ("同屏批注", "school"),
)
_ABSENT_SHARE: Final = 0.03
_LATE_SHARE: Final = 0.06
_AWAY_SHARE: Final = 0.04
#: From a lesson's end until its last tablet is put away. A watermark trails by a minute; with clocks that are wrong by up
#: to 45 s on both sides this is still beyond it, so that every lesson closes by events of its own.
LAST_LEFT_MS: Final = 180_000
#: Nothing that belongs to the lesson happens in its last second, so that the end comes after it.
_MARGIN_MS: Final = 1000
_NEVER_MS: Final = 1 << 60


class Side(NamedTuple):
    """Where a lesson is held: the class in its room, and who teaches or assists there."""

    school: School
    school_class: SchoolClass
    teacher: Teacher


@dataclass(slots=True)
class Lesson:
    """A lesson by the timetable; ``start_ms`` and ``end_ms`` are the scheduled times.

    ``sides``: the class that is taught, and in a dual-teacher lesson (双师) the one of another school that takes part.
    """

    lesson_id: str
    sides: tuple[Side, ...]
    start_ms: int

    @property
    def teacher(self) -> Teacher:
        """Who teaches both sides."""
        return self.sides[0].teacher

    @property
    def mode(self) -> str:
        """Mode as ``lesson.started`` tells it."""
        return "dual_teacher" if len(self.sides) > 1 else "standard"

    @property
    def end_ms(self) -> int:
        """Scheduled end, milliseconds since the epoch."""
        return self.start_ms + LESSON_MS


@dataclass(slots=True)
class Outages:
    """Tablets that lose the network once in the lesson: ``share`` of them, for about ``duration_ms``."""

    rng: random.Random
    share: float
    duration_ms: int


@dataclass(frozen=True, slots=True)
class _Room:
    """One side of the lesson under way; its events bear its own school and class."""

    context: Context
    school_class: SchoolClass
    started_ms: int
    channel: str


@dataclass(slots=True)
class _Seat:
    """A student's presence in this lesson."""

    student: Student
    room: _Room
    joined_ms: int
    away_from_ms: int = _NEVER_MS
    away_until_ms: int = _NEVER_MS

    def present(self, time_ms: int) -> bool:
        return self.joined_ms < time_ms and not self.away_from_ms <= time_ms < self.away_until_ms


@dataclass(frozen=True, slots=True)
class _Question:
    """A question put to the class; ``difficulty`` divides every student's ability."""

    prompt_id: str
    kind: str
    difficulty: float
    asked_ms: int
    closed_ms: int


@dataclass(slots=True)
class _Stage:
    """What the episodes of one lesson share."""

    lesson: Lesson
    rng: random.Random
    started_ms: int
    ended_ms: int
    rooms: list[_Room] = field(default_factory=list)
    seats: list[_Seat] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    prompts: int = 0
    #: What is said in the episode about its question: (start in ms, data).
    dialogue: list[tuple[int, str]] = field(default_factory=list)

    def add(self, time_ms: int, kind: Kind, data: str, room: _Room | None = None) -> None:
        """Tell what the terminal of a room sends, of the first room if none is given."""
        sender = room or self.rooms[0]
        self.drafts.append(Draft(time_ms, kind, sender.school_class.terminal, sender.context, data))

    def add_of(self, seat: _Seat, time_ms: int, kind: Kind, data: str) -> None:
        """Tell what a student's tablet sends."""
        self.drafts.append(Draft(time_ms, kind, seat.student.device, seat.room.context, data))

    def seats_at(self, time_ms: int) -> list[_Seat]:
        return [seat for seat in self.seats if seat.present(time_ms)]

    @property
    def latest_ms(self) -> int:
        return self.ended_ms - _MARGIN_MS


def lesson_script(lesson: Lesson, rng: random.Random, outages: Outages) -> Script:
    """Tell one lesson from its start to its end; every data object is valid by the models."""
    yield lesson.start_ms, []
    stage = _open(lesson, rng)
    _lose_network(stage, outages)
    for strategy, start_ms, end_ms in _phases(rng, stage.started_ms, stage.ended_ms):
        stage.add(start_ms + 50, STRATEGY, f'{{"strategy":"{strategy}"}}')
        for episode_ms, next_ms in _episodes(rng, start_ms, end_ms):
            stage.dialogue = []
            activity = _ACTIVITIES[strategy][int(rng.random() * len(_ACTIVITIES[strategy]))]
            activity(stage, episode_ms, next_ms)
            _speak(stage, strategy, episode_ms, next_ms)
            yield next_ms, _taken(stage)
    _close(stage)
    yield LAST, _taken(stage)


def _taken(stage: _Stage) -> list[Draft]:
    drafts, stage.drafts = stage.drafts, []
    return drafts


def _open(lesson: Lesson, rng: random.Random) -> _Stage:
    started_ms = lesson.start_ms + int(rng.uniform(3_000, 100_000))
    ended_ms = lesson.end_ms + int(rng.uniform(-45_000, 110_000))
    stage = _Stage(lesson, rng, started_ms, ended_ms)
    for side in lesson.sides:
        _enter(stage, side)
    return stage


def _enter(stage: _Stage, side: Side) -> None:
    """One room joins the lesson, the first at once and the other within seconds, and its students come."""
    rng, lesson = stage.rng, stage.lesson
    context = Context(
        lesson.lesson_id,
        lesson.lesson_id,
        schoolid=side.school.school_id,
        classid=side.school_class.class_id,
        lessonid=lesson.lesson_id,
    )
    first = not stage.rooms
    started_ms = stage.started_ms if first else stage.started_ms + 1_000 + int(rng.random() * 15_000)
    room = _Room(context, side.school_class, started_ms, "room" if first else "online")
    stage.rooms.append(room)
    stage.add(started_ms, STARTED, _started_data(lesson, side), room)
    for student in side.school_class.students:
        if rng.random() >= _ABSENT_SHARE:
            stage.seats.append(_seat(stage, student, room))


def _lose_network(stage: _Stage, outages: Outages) -> None:
    rng = outages.rng
    for seat in stage.seats:
        if outages.share and rng.random() < outages.share:
            device = seat.student.device
            device.offline_from_ms = int(rng.uniform(stage.started_ms, stage.ended_ms))
            device.offline_until_ms = device.offline_from_ms + int(outages.duration_ms * rng.uniform(0.5, 1.5)) + 1


def _started_data(lesson: Lesson, side: Side) -> str:
    data = {
        "teacher_id": side.teacher.teacher_id,
        "course": lesson.teacher.course,
        "grade": side.school_class.grade,
        "mode": lesson.mode,
        "roster": [student.student_id for student in side.school_class.students],
        "scheduled_start": rfc3339(lesson.start_ms),
        "scheduled_end": rfc3339(lesson.end_ms),
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _seat(stage: _Stage, student: Student, room: _Room) -> _Seat:
    rng = stage.rng
    delay_ms = rng.expovariate(1 / 35_000) if rng.random() >= _LATE_SHARE else rng.uniform(180_000, 720_000)
    seat = _Seat(student, room, room.started_ms + 500 + int(min(delay_ms, 900_000)))
    joined = f'{student.head},"channel":"{room.channel}"}}'
    stage.add_of(seat, seat.joined_ms, JOINED, joined)
    if rng.random() < _AWAY_SHARE:
        seat.away_from_ms = seat.joined_ms + int(rng.uniform(240_000, 900_000))
        seat.away_until_ms = seat.away_from_ms + int(rng.uniform(60_000, 420_000))
        stage.add_of(seat, seat.away_from_ms, LEFT, student.head + "}")
        stage.add_of(seat, seat.away_until_ms, JOINED, joined)
    return seat


def _phases(rng: random.Random, started_ms: int, ended_ms: int) -> Iterator[tuple[str, int, int]]:
    """Split the lesson into three to seven phases, the first led by a question or a situation."""
    count = 3 + int(rng.random() * 5)
    strategies = [_STRATEGIES[int(rng.random() * 2)]]
    while len(strategies) < count:
        strategy = _STRATEGIES[int(rng.random() * 5)]
        if strategy != strategies[-1]:
            strategies.append(strategy)
    weights = [0.5 + rng.random() for _ in strategies]
    scale = (ended_ms - started_ms) / sum(weights)
    start_ms = started_ms
    for strategy, weight in zip(strategies, weights, strict=True):
        end_ms = start_ms + int(weight * scale)
        yield strategy, start_ms, end_ms
        start_ms = end_ms


def _episodes(rng: random.Random, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    while start_ms < end_ms:
        next_ms = start_ms + int(rng.uniform(85_000, 160_000))
        if end_ms - next_ms < 40_000:
            next_ms = end_ms
        yield start_ms, next_ms
        start_ms = next_ms


def _speak(stage: _Stage, strategy: str, start_ms: int, end_ms: int) -> None:
    room = stage.rooms[0]
    terminal = room.school_class.terminal
    end_ms = min(end_ms, stage.latest_ms)
    segments = list(stage.dialogue)
    lecturing = stage.lesson.teacher.lecturing
    if segments:
        (first_ms, _), (last_ms, last) = segments[0], segments[-1]
        segments += speech_between(stage.rng, strategy, lecturing, start_ms, first_ms)
        start_ms = last_ms + json.loads(last)["duration_ms"]
    segments += speech_between(stage.rng, strategy, lecturing, start_ms, end_ms)
    stage.drafts += [Draft(time_ms, SPEECH, terminal, room.context, data) for time_ms, data in segments]


def _question(stage: _Stage, start_ms: int, end_ms: int) -> None:
    """Ask, let hands go up, call some, take the answers of most, close."""
    rng = stage.rng
    asked_ms = start_ms + int(rng.uniform(4_000, 20_000))
    closed_ms = min(end_ms - 500, asked_ms + int(rng.uniform(35_000, 90_000)), stage.latest_ms)
    if closed_ms < asked_ms + 5_000:
        return
    stage.prompts += 1
    prompt_id = f"q-{stage.prompts:02d}"
    kind = ("open", "choice", "choice", "exercise")[int(rng.random() * 4)]
    stage.add(asked_ms, ASKED, f'{{"prompt_id":"{prompt_id}","kind":"{kind}"}}')
    if kind == "open":
        stage.dialogue = question_and_answer(rng, asked_ms, min(end_ms, stage.latest_ms))
    seats = stage.seats_at(asked_ms)
    question = _Question(prompt_id, kind, rng.uniform(0.75, 1.2), asked_ms, closed_ms)
    for seat in seats:
        _answer(stage, seat, question)
    _hands(stage, seats, asked_ms, closed_ms)
    stage.add(closed_ms, CLOSED, f'{{"prompt_id":"{prompt_id}"}}')


def _answer(stage: _Stage, seat: _Seat, question: _Question) -> None:
    draw, student = stage.rng.random, seat.student
    if draw() >= min(0.98, (0.6 + 0.5 * student.activity) * seat.room.school_class.climate):
        return
    stretch = draw()
    latency_ms = int((1_800 + 24_000 * stretch * stretch) * student.pace)
    answered_ms = question.asked_ms + latency_ms
    if answered_ms >= question.closed_ms:
        return
    if question.kind == "open":
        verdict = f',"score":{int(100 * min(1.0, student.ability * (0.6 + 0.6 * draw()) / question.difficulty)) / 100}'
    else:
        verdict = ',"correct":true' if draw() < student.ability / question.difficulty else ',"correct":false'
    data = f'{student.head},"prompt_id":"{question.prompt_id}"{verdict},"latency_ms":{latency_ms}}}'
    stage.add_of(seat, answered_ms, ANSWERED, data)


def _hands(stage: _Stage, seats: list[_Seat], asked_ms: int, closed_ms: int) -> None:
    rng = stage.rng
    waiting_ms = closed_ms - asked_ms
    for seat in seats:
        student = seat.student
        if rng.random() >= 0.35 * student.activity * seat.room.school_class.climate:
            continue
        raised_ms = asked_ms + 800 + int(rng.random() * min(12_000, waiting_ms * 0.5))
        stage.add_of(seat, raised_ms, HAND_RAISED, student.head + "}")
        if rng.random() < 0.25:
            called_ms = min(raised_ms + 1_500 + int(rng.random() * 15_000), closed_ms)
            stage.add(called_ms, HAND_CALLED, student.head + "}", seat.room)


def _interaction(kind: str, share: float, most: int) -> Callable[[_Stage, int, int], None]:
    """Return an activity in which active students take part up to ``most`` times."""

    def activity(stage: _Stage, start_ms: int, end_ms: int) -> None:
        rng = stage.rng
        span_ms = min(end_ms, stage.latest_ms) - start_ms
        for seat in stage.seats_at(start_ms):
            student = seat.student
            for _ in range(most):
                if rng.random() < share * (0.15 + 1.3 * student.activity) * seat.room.school_class.climate:
                    data = f'{student.head},"kind":"{kind}"}}'
                    time_ms = start_ms + int(rng.random() * span_ms)
                    stage.add_of(seat, time_ms, INTERACTION, data)

    return activity


def _quiz(stage: _Stage, start_ms: int, _end_ms: int) -> None:
    rng = stage.rng
    assessment_id = f"quiz-{stage.lesson.lesson_id}-{start_ms // 1000 % 10_000:04d}"
    for seat in stage.seats_at(start_ms):
        student = seat.student
        if rng.random() < 0.05:
            continue
        done_ms = min(start_ms + int(45_000 + 80_000 * rng.random() * student.pace), stage.latest_ms)
        score = int(20 * min(1.0, max(0.0, rng.gauss(student.ability, 0.12)))) / 20
        data = f'{student.head},"assessment_id":"{assessment_id}","score":{score}}}'
        stage.add_of(seat, done_ms, ASSESSMENT, data)


def _tool(stage: _Stage, start_ms: int, _end_ms: int) -> None:
    rng = stage.rng
    tool, platform = _TOOLS[int(rng.random() * len(_TOOLS))]
    used_ms = start_ms + int(rng.random() * 15_000)
    duration_ms = max(5_000, min(int(rng.uniform(20_000, 110_000)), stage.latest_ms - used_ms))
    stage.add(used_ms, TOOL, f'{{"tool":"{tool}","platform":"{platform}","duration_ms":{duration_ms}}}')


def _own_plan(stage: _Stage, start_ms: int, end_ms: int) -> None:
    """The students work in their personal plans; a tool is in use meanwhile."""
    rng = stage.rng
    _tool(stage, start_ms, end_ms)
    span_ms = min(end_ms, stage.latest_ms) - start_ms
    for seat in stage.seats_at(start_ms):
        student = seat.student
        if rng.random() < 0.65:
            gained = student.progress + 0.08 * rng.random() * student.ability
            student.progress = gained if gained <= 1.0 else 0.0
            progress = int(1000 * student.progress) / 1000
            data = f'{student.head},"plan_id":"plan-{student.student_id[4:]}","progress":{progress}}}'
            stage.add_of(seat, start_ms + int(rng.random() * span_ms), PROGRESS, data)


def _tool_and_question(stage: _Stage, start_ms: int, end_ms: int) -> None:
    _tool(stage, start_ms, end_ms)
    _question(stage, start_ms, end_ms)


_DISCUSSION: Final = _interaction("discussion", 0.45, 2)
_BOARD: Final = _interaction("board", 0.12, 1)
_VOTE: Final = _interaction("vote", 1.1, 1)
_SHARE: Final = _interaction("share", 0.2, 1)
_PEER_REVIEW: Final = _interaction("peer_review", 0.6, 1)

_ACTIVITIES: Final[dict[str, tuple[Callable[[_Stage, int, int], None], ...]]] = {
    "question_led": (_question, _question, _tool_and_question, _BOARD),
    "situational": (_tool_and_question, _SHARE, _tool, _question),
    "interactive": (_DISCUSSION, _DISCUSSION, _SHARE, _question, _VOTE),
    "evaluative": (_quiz, _PEER_REVIEW, _question, _question),
    "digital": (_own_plan, _own_plan, _tool_and_question, _VOTE),
}


def _close(stage: _Stage) -> None:
    rng = stage.rng
    ended_ms = stage.ended_ms
    present = stage.seats_at(ended_ms)
    last = {seat.room.channel: seat for seat in present}
    for seat in present:
        if seat is last[seat.room.channel]:
            stage.add_of(seat, ended_ms + LAST_LEFT_MS, LEFT, seat.student.head + "}")
        elif rng.random() < 0.35:
            left_ms = ended_ms + int(rng.uniform(200, 50_000))
            stage.add_of(seat, left_ms, LEFT, seat.student.head + "}")
    early = ended_ms < stage.lesson.end_ms - 30_000
    reason = "interrupted" if rng.random() < 0.02 else "early" if early else "scheduled"
    for number, room in enumerate(stage.rooms):
        stage.add(ended_ms + number * 150, ENDED, f'{{"reason":"{reason}"}}', room)
