"""What asyncio takes: the awaitables here have all that a coroutine has."""

import asyncio
import collections.abc
import contextlib
import gc
import queue
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from genglossary_runs import CancelEvent, RunManager, Subscription, SubscriptionEnded

MAKE: list[Callable[[Subscription], Coroutine[Any, Any, Any]]] = [
    lambda reader: reader.aget(),
    lambda reader: anext(reader),  # type: ignore[arg-type,return-value]
    lambda reader: anext(reader.frames()),  # type: ignore[arg-type,return-value]
]
NAMES = ["aget", "anext", "frames"]


@pytest.fixture
def filled() -> Subscription:
    """A reader with three events to read."""
    manager = RunManager()
    manager.open_run(1)
    for number in range(3):
        manager.publish(1, {"n": number})
    return manager.subscribe(1, "0")


def has_first(value: Any) -> bool:
    return bool(value == {"n": 0} or (isinstance(value, bytes) and b'{"n":0}' in value))


@pytest.mark.parametrize("make", MAKE, ids=NAMES)
@pytest.mark.parametrize("debug", [False, True])
def test_create_task(filled: Subscription, make: Callable[..., Any], debug: bool) -> None:
    async def main() -> Any:
        return await asyncio.create_task(make(filled))

    assert has_first(asyncio.run(main(), debug=debug))


@pytest.mark.parametrize("make", MAKE, ids=NAMES)
def test_every_way_into_a_task(filled: Subscription, make: Callable[..., Any]) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(make(filled))
        assert has_first(task.result())
        for wrap in (asyncio.gather, asyncio.ensure_future, lambda one: asyncio.wait_for(one, 30)):
            fresh = manager.subscribe(1, "0")
            outcome = await wrap(make(fresh))
            assert has_first(outcome[0] if isinstance(outcome, list) else outcome)

    manager = RunManager()
    manager.open_run(1)
    manager.publish(1, {"n": 0})
    asyncio.run(main())


def test_run_coroutine_threadsafe(filled: Subscription) -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(filled.aget(), loop).result(30))

    assert asyncio.run(main()) == {"n": 0}


def test_asyncio_run_itself() -> None:
    manager = RunManager()
    manager.finish_run(1, {"n": 1})
    assert asyncio.run(manager.subscribe(1).aget()) == {"n": 1}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks(filled: Subscription) -> None:
    async def main() -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        return await asyncio.create_task(filled.aget())

    assert asyncio.run(main()) == {"n": 0}


def test_the_first_of_several_things(filled: Subscription) -> None:
    async def main() -> None:
        cancel = CancelEvent()

        async def cancelled() -> None:
            await cancel

        waiting = {asyncio.create_task(filled.aget(), name="event"), asyncio.create_task(cancelled(), name="cancel")}
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.get_name() for task in done] == ["event"]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("make", MAKE, ids=NAMES)
def test_it_is_a_coroutine_to_whoever_asks(filled: Subscription, make: Callable[..., Any]) -> None:
    coroutine = make(filled)
    assert isinstance(coroutine, collections.abc.Coroutine)
    assert asyncio.iscoroutine(coroutine)
    coroutine.close()


def test_a_task_shows_what_it_awaits() -> None:
    async def main() -> str:
        task = asyncio.create_task(RunManager().subscribe(1).aget())
        await asyncio.sleep(0)
        shown = repr(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return shown

    assert "coro=<Subscription.aget" in asyncio.run(main())


def test_a_cancelled_task_loses_no_event() -> None:
    async def main() -> None:
        manager = RunManager()
        reader = manager.subscribe(1)
        read = []
        for number in range(50):
            task = asyncio.create_task(reader.aget())
            await asyncio.sleep(0)
            task.cancel()
            manager.publish(1, {"n": number})
            with contextlib.suppress(asyncio.CancelledError):
                read.append((await task)["n"])
        read.extend([(await reader.aget())["n"] for _ in range(reader.qsize())])
        assert read == list(range(50))

    asyncio.run(main())


def test_an_await_is_for_once(filled: Subscription) -> None:
    async def main() -> None:
        coroutine = filled.aget()
        assert await coroutine == {"n": 0}
        with pytest.raises(RuntimeError, match="awaited already"):
            await coroutine
        assert await filled.aget() == {"n": 1}

    asyncio.run(main())


def test_close_and_throw_end_an_await(filled: Subscription) -> None:
    async def main() -> None:
        closed = filled.aget()
        closed.close()
        closed.close()
        with pytest.raises(RuntimeError):
            await closed
        for error in (ZeroDivisionError("why"), ZeroDivisionError):
            with pytest.raises(ZeroDivisionError):
                filled.aget().throw(error)
        with pytest.raises(ZeroDivisionError, match="why"):
            filled.aget().throw(ZeroDivisionError, "why")
        with pytest.raises(ZeroDivisionError, match="why"):
            filled.aget().throw(ZeroDivisionError, ZeroDivisionError("why"), None)
        with pytest.raises(StopIteration, match="0"):
            filled.aget().send(None)

    asyncio.run(main())


def test_aclosing_and_async_with_close(filled: Subscription) -> None:
    async def main() -> None:
        async with contextlib.aclosing(filled) as stream:
            assert await anext(stream) == {"n": 0}
        assert filled.closed
        async with RunManager().subscribe(1) as reader:
            assert not reader.closed
        assert reader.closed
        with pytest.raises(SubscriptionEnded, match="closed"):
            await reader.aget()
        frames = RunManager().subscribe(1).frames()
        async with contextlib.aclosing(frames):
            pass
        with pytest.raises(StopAsyncIteration):
            await anext(frames)

    asyncio.run(main())


def test_an_end_is_told_apart_from_nothing_yet() -> None:
    async def main() -> None:
        manager = RunManager()
        reader = manager.subscribe(1)
        with pytest.raises(queue.Empty) as nothing:
            await reader.aget(0)
        assert not isinstance(nothing.value, SubscriptionEnded)
        with pytest.raises(queue.Empty) as nothing:
            reader.get_nowait()
        assert not isinstance(nothing.value, SubscriptionEnded)
        manager.finish_run(1, {})
        assert await reader.aget() == {}
        with pytest.raises(SubscriptionEnded, match="finished"):
            await reader.aget()
        with pytest.raises(SubscriptionEnded, match="finished"):
            reader.get(timeout=30)
        with pytest.raises(SubscriptionEnded, match="finished"):
            reader.get_nowait()

    asyncio.run(main())


def test_tasks_that_wait_are_collected_with_their_loop() -> None:
    manager = RunManager()

    async def main() -> None:
        asyncio.create_task(manager.subscribe(1).aget())  # noqa: RUF006
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del loop, task
    gc.collect()
    assert manager.stats()["subscribers"] == 0
