"""What ASGI does not show of the server: the connection behind `send` and `receive`.

All of it is looked for in what is there at run time. Where it is not found, streams work all the same: each chunk then
costs a task switch and the wrappers of `send`, and a client that stops reading is closed by the server's own means.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Send

# Wrappers of `send` that only note that the response has started, by module and name.
TRANSPARENT = {("starlette.middleware.errors", "_send"), ("starlette._exception_handler", "sender")}


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
    """What `send` would write to, once it has started a response and if nothing but noting stands before the server.

    Only uvicorn's is known: in the midst of a body its `send` waits for the client, codes the chunk and writes it.
    """
    candidate: Any = send
    while (module := getattr(candidate, "__module__", None), getattr(candidate, "__name__", None)) in TRANSPARENT:
        wrapped = dict(zip(candidate.__code__.co_freevars, candidate.__closure__ or (), strict=False)).get("send")
        if wrapped is None:
            return None
        candidate = wrapped.cell_contents
    if not str(module).startswith("uvicorn.protocols.http."):
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
