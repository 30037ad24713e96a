"""What ASGI does not show of the server: the connection behind `send` and `receive`.

All of it is looked for in what is there at run time. Where it is not found, streams work all the same: each chunk then
costs a task switch and the wrappers of `send`, and a client that stops reading is closed by the server's own means.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Send

# Wrappers of `send` that only note that the response has started, by module and name.
TRANSPARENT = {("starlette.middleware.errors", "_send"), ("starlette._exception_handler", "sender")}

# The modules of uvicorn whose `send`, in the midst of a body, waits for the client, codes the chunk and writes it.
CHUNKED = {"uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.http.h11_impl"}


@dataclass(slots=True)
class ChunkedBody:
    """The connection of a response whose body is being sent in the chunked transfer coding.

    Attributes:
        write: takes chunks that are coded.
        flow: its `write_paused` says whether the client has yet to take what was written.
    """

    write: Callable[[bytes], object]
    flow: Any


def chunked_body(send: Send) -> ChunkedBody | None:
    """What `send` would write to, once it has started a response and if nothing but noting stands before the server."""
    candidate: Any = send
    while (module := getattr(candidate, "__module__", None), getattr(candidate, "__name__", None)) in TRANSPARENT:
        wrapped = dict(zip(candidate.__code__.co_freevars, candidate.__closure__ or (), strict=False)).get("send")
        if wrapped is None:
            return None
        candidate = wrapped.cell_contents
    if module not in CHUNKED:
        return None
    response = getattr(candidate, "__self__", None)
    # That of httptools, or else of h11, which knows it by the class of its writer.
    chunked = getattr(response, "chunked_encoding", None) is True or (
        type(getattr(getattr(response, "conn", None), "_writer", None)).__name__ == "ChunkedWriter"
    )
    started = getattr(response, "response_started", False) and not getattr(response, "response_complete", True)
    write = getattr(getattr(response, "transport", None), "write", None)
    flow = getattr(response, "flow", None)
    if chunked and started and write is not None and hasattr(flow, "write_paused"):
        return ChunkedBody(write, flow)
    return None


def transport_behind(send: Send, receive: Receive) -> Any:
    """The transport of the connection that these write to and read from, if it can be found."""
    for candidate in _reachable(send, receive):
        # That of Hypercorn is its writer's.
        for owner in (candidate, getattr(candidate, "writer", None)):
            transport = getattr(owner, "transport", None)
            # uvloop's are not of asyncio's class.
            if hasattr(transport, "abort") and hasattr(transport, "set_write_buffer_limits"):
                return transport
    return None


def on_server_stop(send: Send, receive: Receive, call: Callable[[], None]) -> Callable[[], None]:
    """Have `call` called on this loop when the server asks the connection to end, for whatever reason it stops.

    Known are uvicorn, which calls the protocol's `shutdown`, and Hypercorn, which sets an event.

    Returns:
        What undoes it; to be called once the response has ended.
    """
    for candidate in _reachable(send, receive):
        protocol: Any = getattr(getattr(candidate, "on_response", None), "__self__", None)
        # That of HTTP/2 has several responses at a time.
        if hasattr(protocol, "shutdown") and not hasattr(protocol, "cycles"):
            return _call_too(protocol, call)
        terminated: Any = getattr(getattr(candidate, "context", None), "terminated", None)
        if type(candidate).__module__.startswith("hypercorn.") and hasattr(terminated, "wait"):
            return _call_after(terminated, call)
    return lambda: None


def _call_too(protocol: Any, call: Callable[[], None]) -> Callable[[], None]:
    def shutdown() -> None:
        type(protocol).shutdown(protocol)
        call()

    def undo() -> None:
        del protocol.shutdown

    protocol.shutdown = shutdown
    return undo


def _call_after(terminated: Any, call: Callable[[], None]) -> Callable[[], None]:
    async def wait() -> None:
        await terminated.wait()
        call()

    task = asyncio.create_task(wait())

    def undo() -> None:
        task.cancel()

    return undo


def _reachable(send: Send, receive: Receive) -> Iterator[Any]:
    """What can be found behind the closures of whatever middleware has wrapped these, nearest first.

    Hypercorn's HTTP/2 is left out: what is behind it belongs to other streams, too.
    """
    seen: set[int] = set()
    candidates: list[Any] = [receive, send]
    while candidates and len(seen) < 100:
        candidate = candidates.pop()
        if id(candidate) in seen or type(candidate).__module__ == "hypercorn.protocol.h2":
            continue
        seen.add(id(candidate))
        yield candidate
        candidates.extend(_behind(candidate))


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
            # A protocol is no function, and gunicorn's own worker has its there.
            if callable(cell.cell_contents) or hasattr(cell.cell_contents, "transport"):
                yield cell.cell_contents
