"""A write that stops before every call to a store until it is told how the call ends: true interleavings, no chance.

The write runs in a thread of its own, and exactly one thread runs at any time, so a run can be repeated to the letter.
"""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Literal

from sinks.stores.dead_letters import DeadLetter
from tests.model.memory import Database, Row, Session

_LONGEST_STEP_SECONDS = 60.0


class Crash(BaseException):
    """The worker's process is gone."""


@dataclass(frozen=True)
class Request:
    """What a write is about to ask of a store; ``rows`` for an insert."""

    what: str
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Order:
    """How a call ends.

    ``share`` of the rows arrives (a random part for "some", chosen by ``seed``); ``then`` the call returns, is repeated
    by the client, or the worker dies. With ``echo`` the whole insert arrives once more at some later time: a request that
    was given up, or whose answer was lost, may still be on its way.
    """

    share: Literal["none", "some", "all"] = "all"
    then: Literal["return", "repeat", "crash"] = "return"
    echo: bool = False
    seed: int = 0


GO = Order()
DIE = Order("none", "crash")


class Steps:
    """A function in a thread of its own that waits at each request; ``at`` is the request, ``done`` when it is over."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.at: Request | None = None
        self.done = False
        self.crashed = False
        self.result: Any = None
        self._function = function
        self._order = GO
        self._error: BaseException | None = None
        self._turn, self._arrived = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Run to the first request."""
        self._thread.start()
        self._wait()

    def go(self, order: Order) -> None:
        """Answer the request, and run to the next; raises what the function raised, but for a crash."""
        self._order, self.at = order, None
        self._turn.release()
        self._wait()

    def ask(self, request: Request) -> Order:
        """Wait for the order; called by the function's own thread."""
        self.at = request
        self._arrived.release()
        self._turn.acquire()
        return self._order

    def is_current(self) -> bool:
        """Whether the caller runs in this function's thread."""
        return threading.current_thread() is self._thread

    def _wait(self) -> None:
        if not self._arrived.acquire(timeout=_LONGEST_STEP_SECONDS):
            raise TimeoutError("a write neither asked for anything nor ended")
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        try:
            self.result = self._function()
        except Crash:
            self.crashed = True
        except BaseException as error:  # handed to the thread that waits for this one
            self._error = error
        self.done = True
        self._arrived.release()


class AtOnce(Executor):
    """Runs a call where it is submitted, before anything else: one of the orders in which two threads may run."""

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Run it; what it raises, a crash above all, comes at once."""
        done: Future[Any] = Future()
        done.set_result(fn(*arguments, **options))
        return done


class SteppedSession(Session):
    """A worker's connection, whose every call within a write waits for an order."""

    def __init__(self, database: Database, echoes: list[Request]) -> None:
        super().__init__(database)
        self.steps: Steps | None = None
        self._echoes = echoes

    def ask(self, what: str, rows: Sequence[Row] = ()) -> Order:
        """Wait for the order if this is within a write."""
        if self.steps is None or not self.steps.is_current():
            return GO
        return self.steps.ask(Request(what, tuple(rows)))

    def insert(self, table: str, rows: list[Row]) -> None:
        """Store what arrives of the rows."""
        while True:
            order = self.ask(table, rows)
            if order.share == "all":
                self.database.insert(table, rows)
            elif order.share == "some":
                choose = random.Random(order.seed)
                self.database.insert(table, [row for row in rows if choose.random() < 0.5])
            if order.echo:
                self._echoes.append(Request(table, tuple(rows)))
            if order.then == "crash":
                raise Crash
            if order.then == "return" and order.share == "all":
                return

    def rows(self, table: str, *, final: bool) -> list[Row]:
        """Read, before which anything may happen."""
        if self.ask(f"read {table}").then == "crash":
            raise Crash
        return super().rows(table, final=final)


class SteppedTopic:
    """A dead-letter topic that takes dead letters and acknowledges them when it is told to."""

    def __init__(self, session: SteppedSession, published: list[DeadLetter]) -> None:
        self._session = session
        self._published = published

    def publish(self, letters: Sequence[DeadLetter]) -> Future[None]:
        """Take the dead letters once the acknowledgement is asked for: until then they may be lost with the worker."""
        return _Acknowledgement(self._session, self._published, list(letters))


class _Acknowledgement(Future[None]):
    def __init__(self, session: SteppedSession, published: list[DeadLetter], letters: list[DeadLetter]) -> None:
        super().__init__()
        self._session, self._published, self._letters = session, published, letters

    def result(self, timeout: float | None = None) -> None:  # noqa: ARG002 - the interface's
        order = self._session.ask("acknowledge dead letters") if self._letters else GO
        if order.share != "none":
            self._published.extend(self._letters)
        if order.then == "crash":
            raise Crash
        self._published.extend(self._letters if order.share == "none" else ())
