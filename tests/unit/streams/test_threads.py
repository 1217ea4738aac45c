"""Threads of the pipeline: results come back, a failure ends everything once, and whoever waits for it skips nothing."""

import asyncio
import threading

from schemas.errors import Stopping
from streams.pipeline.threads import Failure, OneThread


def test_a_function_runs_in_the_named_thread() -> None:
    """Its result comes back to the loop, after which the loop is told."""
    returned: list[str] = []

    async def scenario() -> str:
        thread = OneThread("decode", Failure(lambda _error: None), lambda: returned.append("returned"))
        name = await thread.run(lambda: threading.current_thread().name)
        thread.shutdown()
        return name

    assert asyncio.run(scenario()).startswith("decode")
    assert returned == ["returned"]


def test_a_failure_is_told_once_and_nothing_goes_on() -> None:
    """The first failure ends the process; whoever awaits a failed function, or begins another one, waits for ever."""
    told: list[BaseException] = []

    async def scenario() -> list[bool]:
        failed = asyncio.Event()

        def note(error: BaseException) -> None:
            told.append(error)
            failed.set()

        failure = Failure(note)
        threads = [OneThread(name, failure) for name in ("decode", "write")]

        def fail() -> None:
            raise ValueError("planted")

        waiting = [asyncio.create_task(thread.run(fail)) for thread in threads]
        await failed.wait()
        waiting.append(asyncio.create_task(threads[0].run(lambda: None)))
        await asyncio.wait(waiting, timeout=0.1)
        ended = [task.done() for task in waiting]
        for task in waiting:
            task.cancel()
        return ended

    assert asyncio.run(scenario()) == [False, False, False]
    assert [str(error) for error in told] == ["planted"]


def test_a_call_given_up_at_a_stop_is_no_failure() -> None:
    """``Stopping`` says that the process ends anyway."""
    told: list[BaseException] = []

    async def scenario() -> bool:
        def give_up() -> None:
            raise Stopping

        task = asyncio.create_task(OneThread("write", Failure(told.append)).run(give_up))
        await asyncio.wait([task], timeout=0.1)
        done = task.done()
        task.cancel()
        return done

    assert not asyncio.run(scenario())
    assert told == []
