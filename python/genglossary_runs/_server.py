"""What ASGI does not show of the server: the connection behind `send` and `receive`, and the server's own `send`.

All of it is looked for in what is there at run time. Where it is not found, streams work all the same: each chunk then
costs a task switch and the wrappers of `send`, and a client that stops reading is closed by the server's own means.
"""

import contextlib
import functools
import types
from collections.abc import Coroutine, Generator, Iterator
from typing import Any

from starlette.types import Receive, Send

# Wrappers of `send` that only note that the response has started, by module and name.
TRANSPARENT = {("starlette.middleware.errors", "_send"), ("starlette._exception_handler", "sender")}


def direct_send(send: Send) -> Send | None:
    """The server's own `send`, if it can be called outside of a task and nothing but noting stands before it.

    Only uvicorn's is known to be so: it writes at once, or waits for nothing but its client.
    """
    candidate: Any = send
    while (module := getattr(candidate, "__module__", None), getattr(candidate, "__name__", None)) in TRANSPARENT:
        wrapped = dict(zip(candidate.__code__.co_freevars, candidate.__closure__ or (), strict=False)).get("send")
        if wrapped is None:
            return None
        candidate = wrapped.cell_contents
    owner = getattr(candidate, "__self__", None)
    return candidate if owner is not None and str(module).startswith("uvicorn.protocols.http.") else None


@types.coroutine
def go_on(coroutine: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Finish, in this task, a coroutine whose first step was done outside of one and gave what it waits for."""
    with contextlib.suppress(StopIteration):
        while True:
            try:
                sent = yield waits_for
            except BaseException as raised:
                waits_for = coroutine.throw(raised)
            else:
                waits_for = coroutine.send(sent)


def transport_behind(send: Send, receive: Receive) -> Any:
    """The transport of the connection that these write to and read from, if it can be found.

    ASGI does not show it. It is looked for behind the closures of whatever middleware has wrapped them.
    """
    seen: set[int] = set()
    candidates: list[Any] = [receive, send]
    while candidates and len(seen) < 100:
        candidate = candidates.pop()
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        transport = getattr(candidate, "transport", None)
        # uvloop's are not of asyncio's class.
        if hasattr(transport, "abort") and hasattr(transport, "set_write_buffer_limits"):
            return transport
        candidates.extend(_behind(candidate))
    return None


def _behind(function: Any) -> Iterator[Any]:
    """What a wrapper may call: its object and that one's functions, what it is partial of, its closure's."""
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield owner
        yield from filter(callable, getattr(owner, "__dict__", {}).values())
    if isinstance(function, functools.partial):
        yield from (function.func, *function.args)
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty cell
            if callable(cell.cell_contents):
                yield cell.cell_contents
