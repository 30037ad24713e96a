"""Subscriptions and cancel events on event loops, asyncio's and uvloop's."""

import asyncio
import gc
import math
import os
import queue
import random
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from core.support import Background, drain, numbers, run_python, wait_until, wait_until_collected
from genglossary_runs import CancelEvent, RunManager, Subscription

from .conftest import Run
from .servers import LOOPS
from .support import events, log, parse

Read = Callable[[Subscription], Any]

WAYS: dict[str, Read] = {
    "aget": lambda reader: reader.aget(),
    "async for": lambda reader: anext(aiter(reader)),
    "frames": lambda reader: anext(aiter(reader.frames(None))),
}


@pytest.fixture(params=WAYS)
def read(request: pytest.FixtureRequest) -> Read:
    """One of the ways to await what comes next."""
    return WAYS[request.param]


async def park(read: Read, reader: Subscription) -> "asyncio.Task[Any]":
    """A task that waits for what comes next."""

    async def wait() -> Any:
        return await read(reader)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def read_to_end(reader: Subscription) -> list[dict[str, Any]]:
    return [event async for event in reader]


async def all_frames(reader: Subscription) -> bytes:
    return b"".join([chunk async for chunk in reader.frames()])


# aget


def test_aget_returns_what_waits_in_its_order(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        for n in range(3):
            manager.publish(1, log(n))
        assert [await reader.aget() for _ in range(3)] == [log(n) for n in range(3)]

    run(main())


def test_aget_waits_for_what_a_thread_publishes(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        for n in range(100):
            task = await park(WAYS["aget"], reader)
            publisher = Background(manager.publish, 1, log(n))
            assert await task == log(n)
            publisher.result()

    run(main())


def test_aget_waits_for_what_its_own_loop_publishes(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        task = await park(WAYS["aget"], reader)
        manager.publish(1, log(0))
        assert await task == log(0)

    run(main())


def test_aget_returns_what_was_put_to_its_reader(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        task = await park(WAYS["aget"], reader)
        Background(reader.put_nowait, log(0)).result()
        assert await task == log(0)

    run(main())


def test_aget_gives_up_after_its_timeout_and_not_before(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        began = time.monotonic()
        with pytest.raises(queue.Empty):
            await reader.aget(timeout=0.05)
        assert time.monotonic() - began >= 0.05

    run(main())


def test_the_timeout_of_one_await_leaves_the_others_alone(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        slow, endless = asyncio.ensure_future(reader.aget(60)), asyncio.ensure_future(reader.aget())
        with pytest.raises(queue.Empty):
            await reader.aget(0.01)
        assert not slow.done()
        assert not endless.done()
        manager.publish(1, log(0))
        manager.publish(1, log(1))
        assert sorted(numbers(await asyncio.gather(slow, endless))) == [0, 1]

    run(main())


def test_many_timeouts_go_off_each_in_its_time(run: Run, manager: RunManager) -> None:
    """The loop has one timer for all of them."""

    async def main() -> None:
        reader = manager.subscribe(1)

        async def wait(timeout: float) -> None:
            began = time.monotonic()
            with pytest.raises(queue.Empty):
                await reader.aget(timeout)
            assert time.monotonic() - began >= timeout

        timeouts = [n / 100 for n in range(10)]
        random.Random(1).shuffle(timeouts)
        await asyncio.gather(*map(wait, timeouts))

    run(main())


def test_a_timeout_of_zero_only_looks(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        with pytest.raises(queue.Empty):
            await reader.aget(0)
        manager.publish(1, log(0))
        assert await reader.aget(0) == log(0)

    run(main())


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan])
def test_a_timeout_that_is_none_is_refused(run: Run, manager: RunManager, timeout: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="timeout"):
            await manager.subscribe(1).aget(timeout)

    run(main())


def test_a_timeout_longer_than_the_clock_reaches_has_no_end(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        tasks = [asyncio.ensure_future(reader.aget(timeout)) for timeout in (1e300, math.inf)]
        await asyncio.sleep(0)
        manager.publish(1, log(0))
        manager.publish(1, log(1))
        assert sorted(numbers(await asyncio.gather(*tasks))) == [0, 1]

    run(main())


def test_after_the_terminal_event_aget_ends_at_once(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        manager.finish_run(1, {"complete": True})
        assert await reader.aget() == {"complete": True}
        with pytest.raises(queue.Empty):
            await reader.aget()

    run(main())


# async for


def test_async_for_reads_to_the_terminal_event(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        task = asyncio.create_task(read_to_end(manager.subscribe(1)))
        await asyncio.sleep(0)

        def publish() -> None:
            for n in range(500):
                manager.publish(1, log(n))
            manager.finish_run(1, log(500))

        Background(publish).result()
        assert numbers(await task) == list(range(501))

    run(main())


def test_one_who_fell_behind_gets_one_gap(run: Run) -> None:
    async def main() -> None:
        manager = RunManager(history=3)
        manager.open_run(1)
        reader = manager.subscribe(1)
        for n in range(10):
            manager.publish(1, log(n))
        manager.finish_run(1, log(10))
        first, *rest = await read_to_end(reader)
        # The terminal event is one of the three that are held.
        assert first["gap"] == {"from": 1, "to": 8, "missed": 8}
        assert numbers(rest) == [8, 9, 10]

    run(main())


def test_a_reader_may_change_between_threads_and_its_loop(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        for n in range(20):
            task = await park(WAYS["aget"], reader) if n % 2 else Background(reader.get)
            manager.publish(1, log(n))
            event = await task if isinstance(task, asyncio.Task) else await asyncio.to_thread(task.result)
            assert event == log(n)

    run(main())


# frames


def test_frames_are_ready_server_sent_events(run: Run) -> None:
    async def main() -> None:
        manager = RunManager(history=4)
        manager.open_run(1)
        reader = manager.subscribe(1)
        ids = [manager.publish(1, log(n)) for n in range(6)]
        manager.finish_run(1, {"complete": True, "db_status": "completed"})
        gap, *messages, terminal = parse(await all_frames(reader))
        assert (gap.event, gap.id, gap.json["gap"]) == ("gap", None, {"from": 1, "to": 3, "missed": 3})
        assert (gap.json["level"], gap.json["message"]) == ("warning", "3 log messages were dropped")
        assert [(frame.event, frame.id) for frame in messages] == [(None, id) for id in ids[3:]]
        assert numbers([frame.json for frame in messages]) == [3, 4, 5]
        assert (terminal.event, terminal.seq) == ("complete", 7)
        assert terminal.json == {"complete": True, "db_status": "completed"}

    run(main())


def test_a_frame_survives_any_text(run: Run, manager: RunManager) -> None:
    text = "用語\n\r\n\r\x00\u2028\u2029 data: x\n\nid: 1 😀 \ud800"

    async def main() -> None:
        reader = manager.subscribe(1)
        manager.publish(1, {"message": text})
        manager.finish_run(1, {"complete": True})
        message, _ = parse(await all_frames(reader))
        assert message.json["message"] == text.replace("\ud800", "\ufffd")

    run(main())


def test_all_that_waits_comes_as_one_chunk(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        chunks = aiter(manager.subscribe(1).frames())
        for n in range(100):
            manager.publish(1, log(n))
        assert numbers([frame.json for frame in parse(await anext(chunks))]) == list(range(100))

    run(main())


def test_a_chunk_has_at_most_64_kib(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        sizes = [random.Random(1).randrange(12_000) for _ in range(100)]
        for n, size in enumerate(sizes):
            manager.publish(1, log(n, size))
        manager.finish_run(1, {"complete": True})
        chunks = [chunk async for chunk in reader.frames()]
        assert max(map(len, chunks)) <= 64 << 10
        # Nor is it cut short without need.
        assert all(len(first) + len(second) > 64 << 10 for first, second in pairwise(chunks))
        assert all(chunk.endswith(b"\n\n") for chunk in chunks)
        assert numbers([frame.json for frame in parse(b"".join(chunks))[:-1]]) == list(range(100))

    run(main())


def test_an_event_larger_than_that_is_a_chunk_of_its_own(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        for n, size in enumerate([10, 100_000, 10]):
            manager.publish(1, log(n, size))
        chunks = aiter(reader.frames())
        for n in range(3):
            (frame,) = parse(await anext(chunks))
            assert frame.json["n"] == n

    run(main())


def test_a_heartbeat_is_a_comment(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        chunks = aiter(reader.frames(heartbeat=0.02))
        began = time.monotonic()
        for _ in range(3):
            (frame,) = parse(await anext(chunks))
            assert frame.comment is not None
        assert time.monotonic() - began >= 0.06
        manager.publish(1, log(0))
        (frame,) = parse(await anext(chunks))
        assert frame.json == log(0)

    run(main())


def test_a_heartbeat_comes_only_where_nothing_else_did(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        chunks = aiter(reader.frames(heartbeat=60))
        began = time.monotonic()
        for n in range(10):
            manager.publish(1, log(n))
            assert len(events(parse(await anext(chunks)))) == 1
        assert time.monotonic() - began < 60

    run(main())


def test_there_may_be_no_heartbeat(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        silent = await park(WAYS["frames"], manager.subscribe(1))
        chunks = aiter(manager.subscribe(1).frames(heartbeat=0.01))
        for _ in range(3):
            await anext(chunks)
        assert not silent.done()
        silent.cancel()

    run(main())


@pytest.mark.parametrize("heartbeat", [0, -1, math.nan, math.inf])
def test_a_heartbeat_that_is_none_is_refused(manager: RunManager, heartbeat: float) -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        manager.subscribe(1).frames(heartbeat)


def test_frames_and_events_of_one_reader_take_turns(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        chunks = aiter(reader.frames())
        manager.publish(1, log(0))
        assert parse(await anext(chunks))[0].json == log(0)
        manager.publish(1, log(1))
        assert await reader.aget() == log(1)
        manager.publish(1, log(2))
        assert parse(await anext(chunks))[0].json == log(2)

    run(main())


# Ending


def test_closing_ends_every_wait(run: Run, manager: RunManager, read: Read) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        tasks = [await park(read, reader) for _ in range(3)]
        Background(reader.close).result()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, queue.Empty | StopAsyncIteration)
        assert manager.stats()["subscribers"] == 0

    run(main())


def test_the_terminal_event_goes_to_one_of_those_who_wait_and_ends_the_others(
    run: Run, manager: RunManager, read: Read
) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        tasks = [await park(read, reader) for _ in range(3)]
        Background(manager.finish_run, 1, {"complete": True}).result()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(outcome, queue.Empty | StopAsyncIteration) for outcome in outcomes) == 2

    run(main())


# Cancelling an await


def test_a_cancelled_await_loses_no_event(run: Run, manager: RunManager) -> None:
    """Awaits are cancelled before, while and after their event comes."""

    async def main() -> None:
        reader = manager.subscribe(1)
        chance = random.Random(1)
        got: list[dict[str, Any]] = []
        for n in range(500):
            task = asyncio.ensure_future(reader.aget())
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            manager.publish(1, log(n))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                got.append(await task)
        assert 0 < len(got) < 500
        assert numbers(got + drain(reader)) == list(range(500))

    run(main())


def test_awaits_cancelled_while_a_thread_publishes_lose_no_event(run: Run, manager: RunManager) -> None:
    count = 2000

    def publish() -> None:
        for n in range(count):
            manager.publish(1, log(n))
            if n % 50 == 0:
                time.sleep(0.001)
        manager.finish_run(1, log(count))

    async def main() -> None:
        reader = manager.subscribe(1, "0")
        publisher = Background(publish)
        chance = random.Random(1)
        got: list[dict[str, Any]] = []
        while not reader.ended:
            with suppress(TimeoutError, queue.Empty):
                async with asyncio.timeout(chance.choice([0, 0.0001, 0.001])):
                    got.append(await reader.aget())
        await asyncio.to_thread(publisher.result)
        gaps = sum(event["gap"]["missed"] for event in got if "gap" in event)
        received = numbers([event for event in got if "gap" not in event])
        assert received == sorted(set(received))
        assert len(received) + gaps == count + 1

    run(main())


def test_a_timeout_races_with_its_event_and_loses_none(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        got: list[dict[str, Any]] = []
        for n in range(100):
            asyncio.get_running_loop().call_later(0.001, manager.publish, 1, log(n))
            with suppress(queue.Empty):
                got.append(await reader.aget(0.001))
            if len(got) + reader.qsize() <= n:
                # The timeout was first.
                got.append(await reader.aget())
        assert numbers(got + drain(reader)) == list(range(100))

    run(main())


def test_cancelled_awaits_leave_nothing(run: Run, manager: RunManager, read: Read) -> None:
    async def park_and_cancel() -> None:
        reader = manager.subscribe(1)
        tasks = [await park(read, reader) for _ in range(100)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    async def main() -> None:
        await asyncio.create_task(park_and_cancel())
        wait_until_collected(lambda: manager.stats()["subscribers"] == 0)

    run(main())


def test_an_await_that_never_began_takes_nothing(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        manager.publish(1, log(0))
        reader.aget()
        anext(aiter(reader.frames()))
        assert await reader.aget() == log(0)

    run(main())


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


# CancelEvent


def test_a_cancel_event_is_awaited(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        event = manager.cancel_event(1)
        assert event is not None

        async def wait() -> bool:
            return await event

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        Background(manager.cancel_run, 1).result()
        assert await asyncio.gather(*tasks) == [True, True, True]
        assert await event is True

    run(main())


def test_a_cancel_event_is_awaited_by_several_loops(manager: RunManager) -> None:
    event = CancelEvent()
    waiting = threading.Semaphore(0)

    async def wait() -> bool:
        asyncio.get_running_loop().call_soon(waiting.release)
        return await event

    threads = [Background(asyncio.run, wait()) for _ in range(4)]
    for _ in threads:
        assert waiting.acquire(timeout=60)
    event.set()
    assert all(thread.result() for thread in threads)


def test_a_cancelled_await_of_a_cancel_event_leaves_it_alone(run: Run) -> None:
    async def main() -> None:
        event = CancelEvent()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await event
        assert not event.is_set()
        event.set()
        assert await event

    run(main())


# Odd moments


def test_the_interpreter_ends_with_parked_readers() -> None:
    """In a loop of the main thread, in loops of daemon threads, and in threads, while another publishes."""
    run_python("""
import asyncio, threading, uvloop
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)
manager.open_run(2)
parked = threading.Semaphore(0)

async def read():
    asyncio.get_running_loop().call_soon(parked.release)
    await manager.subscribe(2).aget()

def run(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(read())

def publish():
    while True:
        manager.publish(1, {"n": 0})

def follow():
    reader = manager.subscribe(1)
    parked.release()
    for _ in reader:
        pass

def get():
    reader = manager.subscribe(2)
    parked.release()
    reader.get()

async def follow_on_loop():
    async for _ in manager.subscribe(1):
        parked.release()

for target, *args in [
    (run, asyncio.new_event_loop), (run, uvloop.new_event_loop), (get,), (follow,),
    (asyncio.run, follow_on_loop()), (publish,),
]:
    threading.Thread(target=target, args=args, daemon=True).start()
for _ in range(5):
    parked.acquire()

async def main():
    # Kept by a global, so that it is there when the interpreter takes things down.
    global task
    task = asyncio.ensure_future(manager.subscribe(2).aget())
    await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
task._log_destroy_pending = False
""")


def test_the_process_ends_at_once_with_parked_readers() -> None:
    run_python("""
import asyncio, os
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)

async def main():
    task = asyncio.ensure_future(manager.subscribe(1).aget())
    await asyncio.sleep(0)
    os._exit(0)

asyncio.run(main())
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system knows no fork")
def test_parent_and_child_work_on_after_a_fork() -> None:
    output = run_python("""
import asyncio, os
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)

async def read(manager, n):
    reader = manager.subscribe(1)
    task = asyncio.ensure_future(reader.aget())
    await asyncio.sleep(0)
    await asyncio.to_thread(manager.publish, 1, {"n": n})
    return (await task)["n"]

async def main():
    reader = manager.subscribe(1)
    task = asyncio.ensure_future(reader.aget())
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        # A loop runs in this thread, as Python sees it; the child makes one of its own.
        asyncio.events._set_running_loop(None)
        assert reader.closed
        manager.open_run(1)
        for n in range(3):
            assert asyncio.run(read(manager, n)) == n
        print("child", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not task.done()
    manager.publish(1, {"n": 7})
    assert (await task)["n"] == 7
    assert await read(manager, 8) == 8
    print("parent")

asyncio.run(main())
""")
    assert output.split() == ["child", "parent"]


BLOCKING = """
import asyncio, logging, queue
from genglossary_runs import RunManager

records = []
class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)
logging.getLogger().addHandler(Handler())

manager = RunManager()
manager.open_run(1)
reader = manager.subscribe(1)

def look():
    try:
        reader.get(timeout=0.001)
    except queue.Empty:
        pass

async def stay_clear():
    await asyncio.to_thread(look)
    manager.publish(1, {"n": 0})
    reader.get()
    try:
        reader.get_nowait()
    except queue.Empty:
        pass

async def block():
    look()
    look()

look()
asyncio.run(stay_clear())
assert not records, "no loop was blocked"
asyncio.run(block())
asyncio.run(block())
for record in records:
    print(record.name, record.levelname, record.getMessage())
"""


def test_a_blocking_get_on_a_loops_thread_is_warned_of_once() -> None:
    output = run_python(BLOCKING)
    (line,) = output.splitlines()
    assert line.startswith("genglossary_runs WARNING ")
    assert "aget()" in line
    assert "run_stream" in line


@pytest.mark.parametrize("loop", LOOPS)
def test_a_turn_that_is_left_in_its_midst_does_not_freeze_the_loop(loop: str) -> None:
    """`SystemExit` leaves a turn whose other callbacks stay queued; the loop's clean-up looks at the bell again."""
    run_python(f"""
import asyncio, sys, uvloop
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)

async def read():
    async for _ in manager.subscribe(1):
        pass

async def main():
    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()

    def leave():
        manager.publish(1, {{}})
        loop.call_soon(sys.exit, 3)

    loop.call_soon(leave)
    await reader

factory = {{"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}}["{loop}"]
try:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
except SystemExit as left:
    assert left.code == 3
else:
    raise AssertionError("it was not left")
""")


def test_what_a_wait_drops_may_step_it_again(manager: RunManager) -> None:
    """A finalizer of the future that a wait lets go of finds no lock held."""

    async def main() -> None:
        steps = manager.subscribe(1).aget().__await__()
        first = next(steps)
        stepped: list[Any] = []
        watch = weakref.ref(first, lambda _: stepped.append(next(steps)))
        del first
        next(steps)
        assert watch() is None
        assert len(stepped) == 1

    asyncio.run(main())


def test_a_task_that_awaits_an_event_which_cancels_it_is_collected() -> None:
    async def main() -> "weakref.ref[asyncio.Task[None]]":
        event = CancelEvent()

        async def job() -> None:
            task = asyncio.current_task()
            assert task is not None
            event.add_callback(task.cancel)
            await event

        task = asyncio.create_task(job())
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return weakref.ref(task)

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(main())
    loop.close()
    del loop
    wait_until_collected(lambda: task() is None)
