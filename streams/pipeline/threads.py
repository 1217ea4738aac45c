"""Threads that run one function at a time, for whom awaits it on the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from schemas.errors import Stopping

P = ParamSpec("P")
T = TypeVar("T")


class Failure:
    """The failure that ends the process; once there is one, nothing else is begun."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self.error: BaseException | None = None

    def note(self, error: BaseException) -> None:
        """End the process because of ``error``, unless it is ending already."""
        if self.error is None:
            self.error = error
            self._on_failure(error)


class OneThread:
    """A thread with a name. ``on_return`` is called on the event loop after every function that returned."""

    def __init__(self, name: str, failure: Failure, on_return: Callable[[], None] = lambda: None) -> None:
        self.executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._failure = failure
        self._on_return = on_return

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run a function in the thread and return its result.

        What it raises ends the process: then this never returns, so that whoever awaits it skips nothing.
        """
        if self._failure.error is None:
            try:
                result = await asyncio.wrap_future(self.executor.submit(function, *arguments, **options))
            except Stopping:
                pass
            except Exception as error:
                self._failure.note(error)
            else:
                self._on_return()
                return result
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    def shutdown(self) -> None:
        """Begin nothing that waits for its turn."""
        self.executor.shutdown(wait=False, cancel_futures=True)
