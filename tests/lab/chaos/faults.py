"""What a proxy can do to the bytes that pass it, when, and how often."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote_plus

Way = Literal["server", "client"]

#: So much of a request's body is shown to a predicate; a statement stands at its beginning.
SHOWN_BODY_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Delay:
    """Every message waits ``ms``, and up to ``jitter_ms`` more."""

    ms: float
    jitter_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Drip:
    """No more than so many bytes a second pass, each way."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Connections are taken and kept, and nothing passes ``towards`` that side. What was held passes after healing."""

    towards: Literal["server", "client", "both"] = "both"


@dataclass(frozen=True, slots=True)
class Cut:
    """Every connection is reset, and new ones are refused."""


@dataclass(frozen=True, slots=True)
class ResetAfterRequest:
    """The server executes the request; the client gets a reset instead of the answer. HTTP only."""


@dataclass(frozen=True, slots=True)
class DropUpload:
    """Both sides are reset when this share of the request's body has passed. HTTP only."""

    share: float = 0.5


@dataclass(frozen=True, slots=True)
class TruncateResponse:
    """The connection ends after so many bytes of the answer's body. HTTP only."""

    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Freeze:
    """``callback`` runs, in a thread, while the request stands still. HTTP only.

    ``moment``: "before" the server sees any of the request, or "after" it has executed it and the client knows nothing.
    Then the connection is reset, or goes on as if nothing had been if ``go_on``.
    """

    callback: Callable[[], object]
    moment: Literal["before", "after"] = "before"
    go_on: bool = False


Fault = Delay | Drip | HalfOpen | Cut | ResetAfterRequest | DropUpload | TruncateResponse | Freeze
HTTP_ONLY: Final = (ResetAfterRequest, DropUpload, TruncateResponse, Freeze)
SHAPING: Final = (Delay, Drip, HalfOpen)


@dataclass(frozen=True, slots=True)
class RequestStart:
    """What a predicate sees of an HTTP request: the decoded target of its first line, and the beginning of its body."""

    method: str
    target: str
    body: bytes

    @classmethod
    def read(cls, head: bytes, body: bytes) -> RequestStart:
        """Read it from the bytes of the head and of the body's beginning."""
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        return cls(method, unquote_plus(rest.rpartition(" ")[0]), body)


Predicate = Callable[[RequestStart], bool]


def contains(text: str) -> Predicate:
    """Match a request with ``text`` in its URL or at the beginning of its body."""
    return lambda request: text in request.target or text.encode() in request.body


def inserts_into(table: str) -> Predicate:
    """Match an insert into ``table``, named with or without its database, with or without quotes."""
    statement = re.compile(rf"INSERT\s+INTO\s+(?:TABLE\s+)?(?:[`\"]?\w+[`\"]?\.)?[`\"]?{re.escape(table)}\b", re.IGNORECASE)
    return lambda request: bool(statement.search(request.target) or statement.search(request.body.decode("latin-1")))


@dataclass(eq=False)
class Injection:
    """A fault in force. ``hits`` counts the requests, connections or messages that it met."""

    fault: Fault
    when: Predicate | None = None
    times: int | None = None
    hits: int = 0
    _met: threading.Event = field(default_factory=threading.Event)

    @property
    def live(self) -> bool:
        """It acts on every connection, also on those that are open already."""
        return self.when is None and self.times is None and isinstance(self.fault, SHAPING)

    @property
    def spent(self) -> bool:
        """It has acted as often as it should."""
        return self.times is not None and self.hits >= self.times

    def meet(self) -> None:
        """Count one hit."""
        self.hits += 1
        self._met.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the first hit; return whether there was one."""
        return self._met.wait(timeout_seconds)


class Board:
    """The faults in force at one proxy. The proxy's loop alone changes it."""

    def __init__(self) -> None:
        self._injections: list[Injection] = []
        self._changed = asyncio.Event()

    def add(self, injection: Injection) -> None:
        """Put a fault in force."""
        self._injections.append(injection)
        self._announce()

    def remove(self, injection: Injection | None) -> None:
        """Heal one fault, or all."""
        self._injections = [] if injection is None else [one for one in self._injections if one is not injection]
        self._announce()

    @property
    def cut(self) -> bool:
        """Whether connections are refused."""
        return any(isinstance(one.fault, Cut) for one in self._injections)

    def bind(self, request: RequestStart | None) -> list[Injection]:
        """Return what shall act on this request, or on this connection if it is None; counts the hits."""
        found = []
        for one in self._injections:
            if one.live or one.spent or isinstance(one.fault, Cut):
                continue
            if one.when is None or (request is not None and one.when(request)):
                one.meet()
                found.append(one)
        return found

    def shaping(self, bound: list[Injection]) -> list[Injection]:
        """Return what shapes the passing bytes now."""
        live = [one for one in self._injections if one.live]
        # A spent fault is still in force for those it met, until it is healed.
        return live + [one for one in bound if isinstance(one.fault, SHAPING) and one in self._injections]

    async def until_open(self, bound: list[Injection], way: Way) -> None:
        """Wait while a half-open fault stops this way."""
        met = False
        while True:
            stops = [one for one in self.shaping(bound) if isinstance(one.fault, HalfOpen)]
            held = [one for one in stops if getattr(one.fault, "towards", None) in {way, "both"}]
            if not held:
                return
            if not met and held[0].live:
                held[0].meet()
            met = True
            await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
