"""Work that is no plain function: what can be run is run, the rest is refused."""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from genglossary_runs._core import CancelEvent

from .run import Run


def check_work(work: Any) -> None:
    """Refuse what cannot be run.

    Raises:
        TypeError: `work` is no callable, or a generator function, whose body would never run.
    """
    if not callable(work):
        call = (
            " Give the function itself, without calling it." if inspect.isawaitable(work) or _is_generator(work) else ""
        )
        raise TypeError(f"The work must be a callable that takes the run's context, not {type(work).__name__}.{call}")
    inner = work
    while isinstance(inner, functools.partial):
        inner = inner.func
    for function in (inner, inspect.getattr_static(type(inner), "__call__", None)):
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"The work {name_of(work)!r} is a generator function: calling it runs nothing of it. "
                "Give a function that iterates over it"
            )


def name_of(work: Any) -> str:
    """What people may call a run of this work."""
    while isinstance(work, functools.partial):
        work = work.func
    name = getattr(work, "__name__", None)
    return name if isinstance(name, str) else type(work).__name__


def run_work(work: Callable[[Any], Any], context: Any, cancel_event: CancelEvent) -> Any:
    """Call the work; run the coroutine that it returns, if it does, on an event loop of its own in this thread.

    A cancel cancels the coroutine's task.

    Raises:
        TypeError: the work returned a generator, of which nothing has run.
    """
    result = work(context)
    if _is_runnable(result):
        result = _run(result, cancel_event)
    if _is_generator(result):
        raise TypeError(
            f"The work {name_of(work)!r} returned a generator, of which nothing has run. "
            "Give a function that iterates over it"
        )
    return result


def _run(awaitable: Awaitable[Any], cancel_event: CancelEvent) -> Any:
    ended: list[SystemExit | KeyboardInterrupt] = []

    async def main() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(task.cancel)

        cancel_event.add_callback(cancel)
        try:
            result = await awaitable
            # A decorator that forgets to await gives a coroutine again.
            while _is_runnable(result):
                result = await result
        except (SystemExit, KeyboardInterrupt) as error:
            # Raised out of a task they would end the loop, and be reported by the task as well.
            ended.append(error)
            return None
        return result

    with asyncio.Runner() as runner:
        result = runner.run(main())
    if ended:
        raise ended[0]
    return result


def _is_runnable(value: Any) -> bool:
    """Whether this is a coroutine, or like one: something that runs only when it is awaited."""
    # Handles and events can be awaited, too, but whoever returns one does not mean that.
    return inspect.isawaitable(value) and not isinstance(value, Run | CancelEvent | asyncio.Future)


def _is_generator(value: Any) -> bool:
    return inspect.isgenerator(value) or inspect.isasyncgen(value)
