"""Work that is no plain function: coroutines run, generators are refused."""

import asyncio
import functools
import inspect
import logging
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Run, RunCancelledError, RunContext, Runner, current_run

from .support import DEADLINE, Gate, ended, events_of, messages_of, nothing, raising, until_cancelled


async def answer(context: RunContext) -> int:
    await asyncio.sleep(0)
    context.log("awaited")
    return 42


class Job:
    async def __call__(self, context: RunContext) -> int:
        return await answer(context)

    async def method(self, context: RunContext) -> int:
        return await answer(context)

    @classmethod
    async def of_the_class(cls, context: RunContext) -> int:
        return await answer(context)


def logged(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


async def forgets_to_await(context: RunContext) -> Any:
    return answer(context)


class Awaitable:
    def __init__(self, context: RunContext) -> None:
        self._context = context

    def __await__(self) -> Any:
        return answer(self._context).__await__()


@pytest.mark.parametrize(
    "work",
    [
        answer,
        functools.partial(answer),
        functools.partial(functools.partial(lambda number, context: answer(context), 1)),
        Job(),
        Job().method,
        Job.of_the_class,
        logged(answer),
        lambda context: answer(context),
        forgets_to_await,
        Awaitable,
    ],
)
def test_coroutines_run(runner: Runner, manager: RunManager, work: Any) -> None:
    """They never ran, and were reported completed."""
    run = ended(runner.start(work))
    assert (run.status, run.result) == ("completed", 42)
    assert messages_of(manager, run) == ["awaited"]


def generator(context: RunContext) -> Iterator[int]:
    yield 1


async def async_generator(context: RunContext) -> AsyncIterator[int]:
    yield 1


class GeneratorBase:
    def __call__(self, context: RunContext) -> Iterator[int]:
        yield 1

    def method(self, context: RunContext) -> Iterator[int]:
        yield 1


class GeneratorJob(GeneratorBase):
    pass


@pytest.mark.parametrize(
    "work",
    [
        generator,
        async_generator,
        functools.partial(generator),
        functools.partial(functools.partial(async_generator)),
        GeneratorJob(),
        GeneratorJob().method,
        functools.partial(GeneratorJob()),
    ],
)
def test_generator_functions_are_refused(runner: Runner, manager: RunManager, work: Any) -> None:
    with pytest.raises(TypeError, match="is a generator function: calling it runs nothing of it"):
        runner.start(work, key="key")
    assert (runner.runs(), manager.active_runs()) == ([], [])
    assert ended(runner.start(nothing, key="key")).status == "completed"


@pytest.mark.parametrize("work", [lambda context: generator(context), logged(async_generator)], ids=["sync", "async"])
def test_a_generator_that_work_returns_is_a_failure(runner: Runner, work: Any) -> None:
    run = ended(runner.start(work))
    assert run.status == "failed"
    assert run.error is not None
    assert "returned a generator, of which nothing has run" in run.error


@pytest.mark.parametrize("work", [None, 3, "work", [nothing]])
def test_what_cannot_be_called_is_refused(runner: Runner, work: Any) -> None:
    with pytest.raises(TypeError, match="must be a callable"):
        runner.start(work)
    assert runner.runs() == []


def test_a_coroutine_is_no_work(runner: Runner) -> None:
    coroutine = asyncio.sleep(0)
    with pytest.raises(TypeError, match="Give the function itself"):
        runner.start(coroutine)  # type: ignore[arg-type]
    coroutine.close()


@pytest.mark.parametrize("result", ["run", "event"])
def test_a_handle_that_work_returns_is_a_result(runner: Runner, gate: Gate, result: str) -> None:
    other = runner.start(gate)
    run = ended(runner.start(lambda context: other if result == "run" else context.cancel_event))
    assert run.status == "completed"
    assert inspect.isawaitable(run.result)


# Cancel


def test_a_cancel_cancels_the_task(runner: Runner) -> None:
    """An asyncio pipeline that slept noticed nothing until it woke."""
    begun = threading.Event()
    cleaned = threading.Event()

    async def work(context: RunContext) -> None:
        try:
            begun.set()
            await asyncio.sleep(DEADLINE)
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    run = runner.start(work)
    assert begun.wait(DEADLINE)
    run.cancel()
    assert ended(run).status == "cancelled"
    assert cleaned.is_set()


def test_a_cancel_before_the_first_step(runner: Runner) -> None:
    async def work(context: RunContext) -> None:
        await asyncio.sleep(DEADLINE)

    def start_late(context: RunContext) -> Any:
        context.cancel_event.set()
        return work(context)

    assert ended(runner.start(start_late)).status == "cancelled"


def test_a_coroutine_may_finish_all_the_same(runner: Runner) -> None:
    begun = threading.Event()

    async def work(context: RunContext) -> str:
        try:
            begun.set()
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            return "saved what there was"
        raise AssertionError

    run = runner.start(work)
    assert begun.wait(DEADLINE)
    run.cancel()
    assert (ended(run).status, run.result, run.cancel_requested) == ("completed", "saved what there was", True)


def test_raise_if_cancelled_inside_a_task_group(runner: Runner) -> None:
    async def part(context: RunContext) -> None:
        while True:
            await asyncio.sleep(0.001)
            context.raise_if_cancelled()

    begun = threading.Event()

    async def work(context: RunContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(part(context))
            group.create_task(part(context))
            begun.set()

    run = runner.start(work)
    assert begun.wait(DEADLINE)
    run.cancel()
    assert ended(run).status == "cancelled"


def test_work_that_cancels_itself_is_cancelled(runner: Runner) -> None:
    async def work(context: RunContext) -> None:
        raise RunCancelledError

    assert ended(runner.start(work)).status == "cancelled"


# Failures


def test_a_coroutine_that_raises_has_failed(runner: Runner) -> None:
    async def work(context: RunContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(raising(LookupError("no data set")), context))

    assert ended(runner.start(work)).error == "LookupError: no data set"


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (3, "failed")])
def test_an_exit_in_a_coroutine(runner: Runner, caplog: pytest.LogCaptureFixture, code: int, status: str) -> None:
    async def work(context: RunContext) -> None:
        await asyncio.sleep(0)
        raise SystemExit(code)

    assert ended(runner.start(work)).status == status
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_tasks_that_were_left_behind_are_cancelled(runner: Runner) -> None:
    ends: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def work(context: RunContext) -> None:
        task = asyncio.create_task(left())
        await asyncio.sleep(0)
        assert not task.done()

    assert ended(runner.start(work)).status == "completed"
    assert ends == ["cancelled"]


def test_the_context_is_there_in_tasks_and_threads(runner: Runner, manager: RunManager) -> None:
    def in_thread() -> None:
        context = current_run()
        assert context is not None
        context.log("thread")

    async def in_task() -> None:
        context = current_run()
        assert context is not None
        context.log("task")
        await asyncio.to_thread(in_thread)

    async def work(context: RunContext) -> None:
        assert current_run() is context
        await asyncio.create_task(in_task())

    run = ended(runner.start(work))
    assert run.error is None
    assert messages_of(manager, run) == ["task", "thread"]
    assert current_run() is None


# await


async def test_await_gives_what_the_work_returned(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate)
    waiting = [asyncio.ensure_future(run) for _ in range(3)]
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.wait_for(asyncio.gather(*waiting), DEADLINE) == ["through"] * 3
    assert await run == "through"


async def test_await_raises_what_the_work_raised(runner: Runner) -> None:
    run = runner.start(raising(LookupError("no such book")))
    with pytest.raises(LookupError, match="no such book"):
        await run
    with pytest.raises(LookupError, match="no such book"):
        run.value()


async def test_await_of_a_cancelled_run(runner: Runner) -> None:
    run = runner.start(until_cancelled)
    run.cancel()
    with pytest.raises(RunCancelledError, match="was cancelled") as caught:
        await run
    assert caught.value.run_id == run.run_id


async def test_an_await_that_is_cancelled_leaves_nothing(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run, 0.01)
    assert run._callbacks == []
    gate.opened.set()
    assert await run == "through"


def test_a_loop_that_has_closed_does_not_matter(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate)

    async def leave() -> None:
        task = asyncio.ensure_future(run)
        await asyncio.sleep(0)
        # As a loop that is closed with a task in it: the run still has the callback.
        run._callbacks.extend(run._callbacks)
        task.cancel()

    asyncio.run(leave())
    assert len(run._callbacks) == 1
    gate.opened.set()
    assert ended(run).status == "completed"


def test_a_run_may_await_another(runner: Runner, manager: RunManager) -> None:
    async def work(context: RunContext) -> Any:
        inner = runner.start(answer)
        messages = [event["message"] async for event in inner.events() if "message" in event]
        return messages, await inner

    assert ended(runner.start(work)).result == (["awaited"], 42)


async def test_events_are_read_on_a_loop(runner: Runner) -> None:
    run = runner.start(answer)
    assert [event.get("message", event.get("status")) async for event in run.events()] == ["awaited", "completed"]


def test_a_run_cannot_await_itself(runner: Runner) -> None:
    handed: queue.Queue[Run] = queue.Queue()

    async def work(context: RunContext) -> None:
        await handed.get(timeout=DEADLINE)

    run = runner.start(work)
    handed.put(run)
    assert ended(run).error == f"RuntimeError: Run {run.run_id} cannot wait for its own end"


def test_debug_on_the_root_logger_changes_nothing(
    runner: Runner, manager: RunManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert len(events_of(manager, ended(runner.start(answer)))) == 2
