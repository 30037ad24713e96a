"""Who may do what: the application's `allow`."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from genglossary_runs.runner import Run

Action: TypeAlias = Literal["list", "read", "cancel", "start"]
"""What a request would do."""

Allow: TypeAlias = Callable[[Request, Action, str | None], bool | Awaitable[bool]]
"""Says whether a request may do it, to the run of this id; the id is None to list and to start."""


class Access:
    """Asks the application."""

    def __init__(self, allow: Allow | None) -> None:
        """Make it of the application's `allow`; None allows everything."""
        self._allow = allow

    @property
    def is_open(self) -> bool:
        """Whether everything is allowed."""
        return self._allow is None

    async def check(self, request: Request, action: Action, run_id: str | None = None) -> None:
        """Refuse with 403 what is not allowed."""
        if not await self.allows(request, action, run_id):
            what = f"{action} runs" if run_id is None else f"{action} run {run_id}"
            raise HTTPException(403, f"You may not {what}")

    async def allows(self, request: Request, action: Action, run_id: str | None = None) -> bool:
        """Say whether the request may do it."""
        return self._allow is None or bool(await call(self._allow, request, action, run_id))

    async def readable(self, request: Request, run_ids: Sequence[str]) -> list[bool]:
        """Say which of these runs the request may read, for a list that shows no others."""
        allow = self._allow
        if allow is None:
            return [True] * len(run_ids)
        if is_async(allow):
            return [bool(await call(allow, request, "read", run_id)) for run_id in run_ids]
        answers = await run_in_threadpool(lambda: [allow(request, "read", run_id) for run_id in run_ids])
        return [bool(await _result(answer)) for answer in answers]


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the application: a coroutine function here, any other in a thread, since it may wait."""
    return await _result(function(*args) if is_async(function) else await run_in_threadpool(function, *args))


async def _result(answer: Any) -> Any:
    # A run can be awaited, too, and that would wait for its end.
    return await answer if inspect.isawaitable(answer) and not isinstance(answer, Run) else answer


def is_async(function: Callable[..., Any]) -> bool:
    """Whether it is a coroutine function, or an object that is called like one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
