"""Several event loops, those that close or cannot watch descriptors, and what reading on them costs others."""

import asyncio
import gc
import os
import queue
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from core.support import Background, drain, numbers, wait_until, wait_until_collected
from genglossary_runs import RunManager, Subscription

from .conftest import Run
from .parked import WAYS, Read, park, read_to_end
from .servers import LOOPS
from .support import log

# Several loops


def test_a_loop_that_comes_second_is_told(run: Run, manager: RunManager, read: Read) -> None:
    """Whether or not something waits there to be read."""

    async def main() -> None:
        reader = manager.subscribe(1)

        async def second() -> Any:
            return await read(reader)

        task = await park(read, reader)
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, second())
        manager.publish(1, log(0))
        await task
        manager.publish(1, log(1))
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, second())
        assert await reader.aget() == log(1)

    run(main())


def test_a_loop_that_found_something_has_awaited_it(run: Run, manager: RunManager, read: Read) -> None:
    reader = manager.subscribe(1)

    async def once() -> Any:
        return await read(reader)

    manager.publish(1, log(0))
    run(once())
    manager.publish(1, log(1))
    with pytest.raises(RuntimeError, match="another event loop"):
        run(once())
    assert reader.get_nowait() == log(1)


def test_loops_in_many_threads_read_one_run(manager: RunManager) -> None:
    def read(n: int) -> list[int]:
        with asyncio.Runner(loop_factory=list(LOOPS.values())[n % 2]) as runner:
            return numbers(runner.run(read_to_end(manager.subscribe(1, "0"))))

    readers = [Background(read, n) for n in range(8)]
    wait_until(lambda: manager.stats()["subscribers"] == 8)
    for n in range(500):
        manager.publish(1, log(n))
    manager.finish_run(1, log(500))
    for reader in readers:
        assert reader.result() == list(range(501))


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_that_closed_under_a_parked_reader_is_dropped_quietly(
    manager: RunManager, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop = LOOPS[kind]()
    reader = manager.subscribe(1)
    task = loop.create_task(read_to_end(reader))
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.close()
    other = manager.subscribe(1)
    for n in range(3):
        manager.publish(1, log(n))
    assert numbers(drain(other)) == [0, 1, 2]
    assert caplog.records == []
    # Threads may read on.
    assert reader.get() == log(0)
    del reader, task, loop
    wait_until_collected(lambda: manager.stats()["subscribers"] == 1)
    caplog.clear()  # asyncio complains of the task that was left


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_close_while_a_thread_publishes(manager: RunManager, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also between the look at whom to wake and the waking."""
    stop = threading.Event()

    def publish() -> int:
        n = 0
        while not stop.is_set():
            manager.publish(1, log(n))
            n += 1
        return n

    publisher = Background(publish)

    async def read(reader: Subscription) -> None:
        tasks = [asyncio.ensure_future(reader.aget()) for _ in range(5)]
        await tasks[0]

    for _ in range(100):
        with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
            runner.run(read(manager.subscribe(1)))
    stop.set()
    assert publisher.result() > 0
    assert caplog.records == []
    wait_until_collected(lambda: manager.stats()["subscribers"] == 0)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not show descriptors")
@pytest.mark.parametrize("kind", LOOPS)
def test_many_loops_leave_no_descriptor(manager: RunManager, kind: str) -> None:
    async def read() -> None:
        reader = manager.subscribe(1)
        task = asyncio.ensure_future(reader.aget())
        await asyncio.sleep(0)
        manager.publish(1, log(0))
        await task
        with suppress(queue.Empty):
            await reader.aget(0.0001)

    def use(loops: int) -> None:
        for _ in range(loops):
            with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
                runner.run(read())

    use(3)
    gc.collect()
    before = descriptors()
    use(100)
    wait_until_collected(lambda: descriptors() <= before)
    assert manager.stats()["subscribers"] == 0


def test_many_timeouts_leave_no_timer(manager: RunManager) -> None:
    def timers() -> int:
        gc.collect()
        return sum(isinstance(thing, asyncio.TimerHandle) for thing in gc.get_objects())

    async def main() -> None:
        reader = manager.subscribe(1)
        before = timers()
        for n in range(500):
            task = asyncio.ensure_future(reader.aget(60 + n))
            await asyncio.sleep(0)
            if n % 2:
                manager.publish(1, log(n))
                await task
            else:
                task.cancel()
        for _ in range(200):
            with suppress(queue.Empty):
                await reader.aget(0.00001)
        # One is the next that will go off; it may have been replaced.
        assert timers() - before <= 2

    with asyncio.Runner() as runner:
        runner.run(main())


class WithoutAddReader(asyncio.SelectorEventLoop):
    """A loop that cannot watch descriptors, as the proactor loop of Windows."""

    def add_reader(self, *args: Any) -> None:
        raise NotImplementedError


def test_a_loop_without_add_reader(manager: RunManager, read: Read) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        for n in range(50):
            task = await park(read, reader)
            Background(manager.publish, 1, log(n)).result()
            await task
        assert reader.empty()
        with pytest.raises(queue.Empty):
            await reader.aget(0.01)
        Background(manager.finish_run, 1, {"complete": True}).result()
        assert len(await read_to_end(reader)) == 1

    with asyncio.Runner(loop_factory=WithoutAddReader) as runner:
        runner.run(asyncio.wait_for(main(), 60))


def test_a_loop_without_add_reader_that_closed_is_dropped_quietly(
    manager: RunManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave_parked() -> None:
        await park(WAYS["aget"], manager.subscribe(1))

    loop = WithoutAddReader()
    task = loop.create_task(leave_parked())
    loop.run_until_complete(task)
    loop.close()
    manager.publish(1, log(0))
    assert caplog.records == []
    del task, loop
    wait_until_collected(lambda: manager.stats()["subscribers"] == 0)
    caplog.clear()  # asyncio complains of the task that was left


def test_a_loop_that_was_dropped_without_a_close_leaves_nothing(manager: RunManager) -> None:
    async def leave_parked() -> None:
        await park(WAYS["aget"], manager.subscribe(1))

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(leave_parked())
    with warnings.catch_warnings():
        # Of the loop, which is not closed.
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        wait_until_collected(lambda: manager.stats()["subscribers"] == 0)


# What it costs others


def test_no_thread_is_started(run: Run, manager: RunManager, read: Read) -> None:
    def threads() -> int:
        task = Path("/proc/self/task")
        return len(list(task.iterdir())) if task.exists() else threading.active_count()

    async def main() -> None:
        reader = manager.subscribe(1)
        before = threads()
        tasks = [await park(read, reader) for _ in range(10)]
        cancelled = manager.cancel_event(1)
        assert cancelled is not None
        tasks.append(asyncio.ensure_future(cancelled))
        with pytest.raises(queue.Empty):
            await reader.aget(0.001)
        assert threads() <= before
        manager.cancel_run(1)
        for n in range(10):
            manager.publish(1, log(n))
            await asyncio.sleep(0)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert threads() <= before
        reader.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main())


def test_a_publisher_never_runs_another_loops_python_code(run: Run, manager: RunManager, read: Read) -> None:
    """Neither what the loop is made of nor what waits on it. Only the core's own log may be written."""

    def publish() -> list[str]:
        calls: list[str] = []

        def profile(frame: Any, event: str, arg: Any) -> None:
            if frame.f_globals["__name__"] == "logging":
                return
            if event == "call":
                calls.append(frame.f_code.co_qualname)
            elif event == "c_call":
                calls.append(arg.__qualname__)

        sys.setprofile(profile)
        manager.publish(1, {"n": 0})
        manager.cancel_run(1)
        manager.finish_run(1, {"n": 1})
        sys.setprofile(None)
        return calls

    async def main() -> None:
        tasks = [await park(read, manager.subscribe(1)) for _ in range(3)]
        cancelled = manager.cancel_event(1)
        assert cancelled is not None
        tasks.append(asyncio.ensure_future(cancelled))
        await asyncio.sleep(0)
        calls = Background(publish).result()
        assert calls == ["RunManager.publish", "RunManager.cancel_run", "RunManager.finish_run", "setprofile"]
        await asyncio.gather(*tasks)

    run(main())
