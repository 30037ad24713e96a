"""Hypercorn on asyncio: connections over HTTP/1.1; over HTTP/2, only the notice that the server stops."""

import asyncio
import sys
from typing import Any

from .connection import Connection, Tap
from .stop import Stop

# Turns of the loop after which the server has learned that its transport was aborted; two are usual.
TURNS = 50


def connect(coroutine: Any) -> Connection | None:
    """The connection of a request, if this is the coroutine of the task in which Hypercorn answers it."""
    module = sys.modules.get("hypercorn.asyncio.task_group")
    handle = getattr(module, "_handle", None)
    if handle is None or coroutine.cr_code is not handle.__code__:
        return None
    stream = getattr(coroutine.cr_frame.f_locals.get("send"), "__self__", None)
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    if type(stream).__module__ != "hypercorn.protocol.http_stream" or not hasattr(protocol, "send"):
        return None
    return HypercornConnection(stream, protocol)


class HypercornConnection(Connection):
    """The connection of a request that Hypercorn answers.

    Args:
        stream: its request and response.
        protocol: that of the connection.
    """

    def __init__(self, stream: Any, protocol: Any) -> None:
        self._stream = stream
        self._protocol = protocol
        self._is_http1 = type(protocol).__module__ == "hypercorn.protocol.h11"
        # That of HTTP/2 carries other responses, too.
        self._tcp: Any = None
        self._writer: Any = None
        self.transport = None
        if self._is_http1:
            self._tcp = protocol.send.__self__
            self._writer = self._tcp.writer
            self.transport = self._writer.transport
        self.server = stream.context

    def obstacle(self) -> str | None:
        version = self._stream.scope["http_version"]
        if not self._is_http1 or version != "1.1":
            return f"its client speaks HTTP/{version}"
        if str(self._protocol.connection.their_state) not in ("DONE", "MUST_CLOSE"):
            return "its request has not been read to the end"
        return self.socket_obstacle()

    def tap(self, expected: bytes) -> Tap:
        tcp, writer = self._tcp, self._writer

        def close() -> None:
            tcp.writer = writer

        tap = Tap(writer, expected, close)
        tcp.writer = tap
        return tap

    async def forget(self) -> None:
        for _ in range(TURNS):
            if self._stream.closed:
                return
            await asyncio.sleep(0)

    def announce(self, stop: Stop) -> bool:
        terminated = self._stream.context.terminated
        if terminated.is_set():
            stop.begin()
        else:
            task = asyncio.create_task(_begin_after(terminated, stop))
            _waiting.add(task)
            task.add_done_callback(_waiting.discard)
        return True


async def _begin_after(terminated: Any, stop: Stop) -> None:
    await terminated.wait()
    stop.begin()


# The loop holds its tasks weakly.
_waiting: set[asyncio.Task[None]] = set()
