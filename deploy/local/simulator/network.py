"""The way from the devices to Kafka: delays, repeats, outages, wrong clocks, broken bytes; and the exact outcomes."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from typing import Final

from deploy.local.simulator.chance import seeded
from deploy.local.simulator.config import SimulationConfig
from deploy.local.simulator.draft import Context, Draft, Kind
from deploy.local.simulator.encoding import Encoder, Event, encode
from deploy.local.simulator.ledger import Produced
from deploy.local.simulator.lesson_script import ENDED, LAST_LEFT_MS, LEFT, STARTED
from deploy.local.simulator.malformed import KINDS, spoiled

#: From an event to Kafka when nothing is wrong.
LATENCY_MS: Final = 60
_DAY_MS: Final = 86_400_000
#: Ahead by decades, so that the event stays ahead when an old day is sent to a broker that stamps records itself.
_AHEAD_MS: Final = 30 * 365 * _DAY_MS
#: An hour into 1970: what a clock shows after its battery died.
_DEAD_CLOCK_MS: Final = 3_600_000
#: How long a tablet takes to send what it held back.
_BURST_MS: Final = 4_000
_RETIMED_MS: Final = 20_000
#: A late event comes after this at least: long after its window was first written.
_LATE_FROM_MS: Final = 300_000
_UNLIMITED: Final = 1 << 62


class Network:
    """Takes drafts in time order, gives records in arrival order; holds back ``pending_limit`` records at most.

    A record sent again always arrives after its original: the first arrival is stored, the others are duplicates.
    """

    def __init__(self, config: SimulationConfig) -> None:
        self._disturbance = config.disturbance
        self._encoder = Encoder(config.seed, config.binary_share)
        self._rng = seeded(config.seed, "network")
        self._room = _UNLIMITED if config.events is None else config.events
        self._pending_limit = config.pending_limit
        self._pending: list[tuple[int, int, Produced]] = []
        self._held_back = 0
        #: Of each room whose lesson is not closed yet: its beginning, and when it ended; 0: not yet.
        self._open_lessons: dict[Context, tuple[Draft, int]] = {}
        #: Room for the events that are still to end and close them.
        self._reserved = 0
        self._kinds = tuple(self._disturbance.malformed_kinds or KINDS)
        self.peak_pending = 0

    def transmit(self, slices: Iterable[list[Draft]]) -> Iterator[Produced]:
        """Yield the records of ``slices``; with a limit on events, end every open lesson and stop exactly there."""
        now_ms = 0
        for drafts in slices:
            yield from self._transmit_slice(drafts)
            if drafts:
                now_ms = drafts[-1].time_ms
            if self._room <= self._reserved:
                break
        if self._room < _UNLIMITED // 2:
            self._close_open_lessons(now_ms)
        while self._pending:
            yield heapq.heappop(self._pending)[2]

    def _transmit_slice(self, drafts: list[Draft]) -> Iterator[Produced]:
        pending = self._pending
        draw = self._rng.random
        disturbed_share = self._disturbance.event_share
        identify = self._encoder.identify
        for draft in drafts:
            time_ms, kind, device, context, _ = draft
            arrival_ms = time_ms + LATENCY_MS
            while pending and pending[0][0] <= arrival_ms:
                yield heapq.heappop(pending)[2]
            if kind is STARTED:
                # A lesson needs room to end and to close too; without it, it does not begin.
                if self._room - self._reserved < 3:
                    continue
                self._note(context, (draft, 0))
            elif kind is ENDED and context in self._open_lessons:
                self._note(context, (self._open_lessons[context][0], time_ms))
            elif kind is LEFT and self._is_last(context, time_ms):
                self._note(context, None)
            elif self._room <= self._reserved:
                return
            self._room -= 1
            offline = device.offline_from_ms <= time_ms < device.offline_until_ms
            event = identify(draft, offline=offline)
            roll = draw()
            if roll >= disturbed_share and not offline:
                yield encode(event, event.device_time_ms, arrival_ms, "stored")
                continue
            if offline:
                arrival_ms = _flushed_ms(draft)
            self._disturb(event, arrival_ms, roll)
            while len(pending) > self._pending_limit:
                yield heapq.heappop(pending)[2]._replace(timestamp_ms=time_ms + LATENCY_MS)

    def _disturb(self, event: Event, arrival_ms: int, roll: float) -> None:
        """Hold the event back, disturbed by that share into which ``roll``, 0 to 1, falls; by none beyond them all."""
        shares, time_ms, uniform = self._disturbance, event.device_time_ms, self._rng.uniform
        if (roll := roll - shares.malformed_share) < 0:
            kind = self._kinds[int(self._rng.random() * len(self._kinds))]
            self._hold(spoiled(event, arrival_ms, kind))
            return
        if (roll := roll - shares.wild_clock_share) < 0:
            self._hold(self._with_wild_clock(event, arrival_ms))
            return
        if (roll := roll - shares.duplicate_share) < 0:
            self._send_again(event, arrival_ms)
        elif (roll := roll - shares.late_share) < 0:
            late_ms = int(shares.late_seconds * 1000)
            arrival_ms += int(uniform(min(_LATE_FROM_MS, late_ms), late_ms))
        elif roll < shares.disorder_share:
            arrival_ms += int(uniform(0, shares.disorder_seconds * 1000))
        self._hold(encode(event, time_ms, arrival_ms, "stored"))

    def _with_wild_clock(self, event: Event, arrival_ms: int) -> Produced:
        if self._rng.random() < 0.5:
            return encode(event, event.device_time_ms + _AHEAD_MS, arrival_ms, "dead_letter", "clock_ahead")
        dead_clock_ms = _DEAD_CLOCK_MS + event.device_time_ms % _DAY_MS
        return encode(event, dead_clock_ms, arrival_ms, "dead_letter", "clock_behind")

    def _send_again(self, event: Event, arrival_ms: int) -> None:
        if self._room <= self._reserved:
            return
        self._room -= 1
        again_ms = arrival_ms + 200 + int(self._rng.random() * self._disturbance.duplicate_seconds * 1000)
        time_ms = event.device_time_ms
        if self._rng.random() < self._disturbance.retimed_share:
            time_ms += int(self._rng.uniform(-_RETIMED_MS, _RETIMED_MS))
        self._hold(encode(event, time_ms, again_ms, "duplicate"))

    def _hold(self, record: Produced) -> None:
        self._held_back += 1
        heapq.heappush(self._pending, (record.timestamp_ms, self._held_back, record))
        self.peak_pending = max(self.peak_pending, len(self._pending))

    def _note(self, context: Context, lesson: tuple[Draft, int] | None) -> None:
        """Take note of how far a room's lesson is, and of the room that its remaining events need; None: it is closed."""
        if (before := self._open_lessons.pop(context, None)) is not None:
            self._reserved -= 1 if before[1] else 2
        if lesson is not None:
            self._open_lessons[context] = lesson
            self._reserved += 1 if lesson[1] else 2

    def _is_last(self, context: Context, time_ms: int) -> bool:
        _, ended_ms = self._open_lessons.get(context, (None, 0))
        return bool(ended_ms) and time_ms - ended_ms >= LAST_LEFT_MS

    def _close_open_lessons(self, now_ms: int) -> None:
        """End the lessons that the limit cuts short, and let a student of each leave afterwards, which closes it."""
        for started, ended_ms in self._open_lessons.values():
            end_ms = ended_ms or max(now_ms, started.time_ms + 1000)
            student = json.dumps({"student_id": json.loads(started.data)["roster"][0]}, separators=(",", ":"))
            if not ended_ms:
                self._send(started, end_ms, ENDED, '{"reason":"interrupted"}')
            self._send(started, end_ms + LAST_LEFT_MS, LEFT, student)
        self._open_lessons.clear()

    def _send(self, started: Draft, time_ms: int, kind: Kind, data: str) -> None:
        event = self._encoder.identify(Draft(time_ms, kind, started.device, started.context, data), offline=False)
        self._hold(encode(event, event.device_time_ms, time_ms + LATENCY_MS, "stored"))


def _flushed_ms(draft: Draft) -> int:
    """When a tablet that was offline sends the event: all in one burst, in the order they happened."""
    device = draft.device
    outage_ms = device.offline_until_ms - device.offline_from_ms
    return device.offline_until_ms + (draft.time_ms - device.offline_from_ms) * _BURST_MS // outage_ms
