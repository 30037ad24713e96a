"""Subscriptions and cancel events that are awaited on event loops, asyncio's and uvloop's."""

import asyncio
import math
import queue
import random
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from core.support import Background, drain, numbers, wait_until_collected
from genglossary_runs import CancelEvent, RunManager

from .conftest import Run
from .parked import WAYS, Read, park, read_to_end
from .support import log

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
