"""Stream a run to browsers as server-sent events, from Starlette and FastAPI.

    @app.get("/runs/{run_id}/events")
    async def events(run_id: int, request: Request) -> Response:
        return run_stream(manager, run_id, request)

What a client gets: `retry:` first; each event as `data:` with its `id:`; `event: gap` where it fell behind;
`event: complete` with the terminal event, then the end of the stream. A client that reconnects sends `Last-Event-ID`
and goes on where it was; once it has had everything the answer is 204, which stops an `EventSource`.

Differences from sse-starlette and FastAPI's `EventSourceResponse`: nothing is encoded or queued for a client; all that
waits goes out as one chunk; a client that stops reading is dropped; with `drain_on_shutdown` open streams do not keep
the server from stopping. Only asyncio and loops made for it (uvloop) are supported.
"""

import asyncio
import contextlib
import functools
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._core import RunManager, Subscription, UnknownRunError

__all__ = ["RunStream", "UnknownRunError", "drain", "drain_on_shutdown", "run_stream"]

logger = logging.getLogger(__name__)

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # `no-transform` and the nginx header keep proxies from buffering or compressing what must arrive at once.
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

# Seconds between two looks for clients that have stopped reading.
SWEEP_INTERVAL = 1.0


def run_stream(
    manager: RunManager,
    run_id: int,
    request: Request | None = None,
    *,
    last_event_id: str | None = None,
    replay: bool = False,
    heartbeat: float | None = 15.0,
    retry: int = 2000,
    send_timeout: float = 30.0,
    must_exist: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a request with the events of a run.

    Args:
        manager: the manager of the run.
        run_id: the run.
        request: where `Last-Event-ID` is looked for: the header, which a browser sends when it reconnects, else the
            query parameter `last_event_id`, which a page can send with its first connection.
        last_event_id: what to use instead of the request's.
        replay: without any of these, begin with the oldest event held instead of with new ones.
        heartbeat: seconds without an event after which a comment is sent, more than 0; None for never.
        retry: milliseconds a client is to wait before it reconnects, 0 or more.
        send_timeout: seconds a client may take no data that waits for it, more than 0; then it is dropped, and can
            resume.
        must_exist: refuse a run that nobody knows instead of waiting for it to start.
        headers: more headers, or others for those that are set here.

    Raises:
        UnknownRunError: only with `must_exist`; best answered by 404.
        ValueError: heartbeat, retry or send_timeout is out of its bounds.
    """
    if retry < 0 or send_timeout <= 0:
        raise ValueError("'retry' must not be negative, and 'send_timeout' must be positive")
    after = last_event_id
    if after is None and request is not None:
        after = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    if after is None and replay:
        after = "0"
    subscription = manager.subscribe(run_id, after, must_exist=must_exist)
    if after is not None and subscription.ended:
        return Response(status_code=204)
    return RunStream(subscription, heartbeat=heartbeat, retry=retry, send_timeout=send_timeout, headers=headers)


class RunStream(Response):
    """The response that `run_stream` gives. It speaks ASGI itself, to keep few objects for each connection.

    Args:
        subscription: what is sent; it is closed when the response ends or its client goes away.
        heartbeat, retry, send_timeout, headers: as for `run_stream`.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        heartbeat: float | None = 15.0,
        retry: int = 2000,
        send_timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({**HEADERS, **(headers or {})})
        # `init_headers` has counted the empty body.
        del self.headers["content-length"]
        self._subscription = subscription
        self._frames = subscription.frames(heartbeat)
        self._retry = b"retry: %d\n\n" % retry
        self._send_timeout = send_timeout
        # When the send that is under way began; None while there is none.
        self._sending_since: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._dropped = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the run ends, the client goes away, or the server drains."""
        streams = _streams()
        self._task = asyncio.current_task()
        watcher = asyncio.create_task(self._watch(receive))
        streams.add(self)
        try:
            await self._pump(streams, send)
        except asyncio.CancelledError:
            if not self._dropped:
                raise
            if self._task is not None:
                self._task.uncancel()
            _abort(send)
            # The server notices that the connection is gone before it sees an unfinished response.
            await asyncio.sleep(0)
        finally:
            streams.discard(self)
            self._subscription.close()
            watcher.cancel()
            self._task = None
        if self.background is not None:
            await self.background()

    async def _pump(self, streams: "_Streams", send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # The headers arrive with this; a client that connects to an idle run would wait for them otherwise.
        await self._send(send, {"type": "http.response.body", "body": self._retry, "more_body": True})
        if not streams.draining:
            async for chunk in self._frames:
                # `_send` in place: this is done for every chunk of every client.
                self._sending_since = time.monotonic()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._sending_since = None
        # Said again, for a client that is sent away by a drain has no other hint.
        last = self._retry if streams.draining else b""
        await self._send(send, {"type": "http.response.body", "body": last, "more_body": False})

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        self._sending_since = time.monotonic()
        await send(message)
        self._sending_since = None

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # Ends the iteration of the frames.
        self._subscription.close()

    def end(self) -> None:
        """End the stream: at once if the client reads, else by dropping it. To be called on the stream's loop."""
        self._subscription.close()
        if self._sending_since is not None:
            self._drop()

    def drop_if_stuck(self, now: float) -> None:
        """Drop the client if a send has taken longer than its timeout. To be called on the stream's loop."""
        if self._sending_since is not None and now - self._sending_since > self._send_timeout:
            logger.info(
                "A client of run %s has not read for %g s and is dropped", self._subscription.run_id, self._send_timeout
            )
            self._drop()

    def _drop(self) -> None:
        if self._task is not None and not self._dropped:
            self._dropped = True
            self._task.cancel()


class _Streams:
    """The open streams of one event loop, with one timer that looks after those that are stuck."""

    def __init__(self) -> None:
        self.draining = False
        self._open: set[RunStream] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: RunStream) -> None:
        self._open.add(stream)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep)

    def discard(self, stream: RunStream) -> None:
        self._open.discard(stream)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def drain(self) -> None:
        self.draining = True
        for stream in list(self._open):
            stream.end()

    def _sweep(self) -> None:
        now = time.monotonic()
        for stream in list(self._open):
            stream.drop_if_stuck(now)
        self._timer = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep)


# The values know nothing of their loop, so that it can go.
_streams_of: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Streams]" = WeakKeyDictionary()


def _streams() -> _Streams:
    return _streams_of.setdefault(asyncio.get_running_loop(), _Streams())


def drain() -> None:
    """End every open stream of the running event loop, and those still to come, with a `retry:` hint.

    Browsers reconnect with their `Last-Event-ID`. A client that does not read is dropped. For servers that
    `drain_on_shutdown` does not fit; there is no way back for this loop.
    """
    _streams().drain()


@contextlib.contextmanager
def drain_on_shutdown() -> Iterator[None]:
    """Drain when the process is told to stop by SIGTERM or SIGINT. For the application's lifespan:

        @asynccontextmanager
        async def lifespan(app):
            with drain_on_shutdown():
                yield

    uvicorn waits for open responses before it tells the lifespan to end, so the signal itself must start the drain. The
    server's own handler is called after. In a thread other than the main one no signal arrives: call `drain` there.
    """
    loop = asyncio.get_running_loop()
    streams = _streams()
    replaced: dict[int, Any] = {}

    def on_signal(signum: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(streams.drain)
        _call_handler(replaced.get(signum), signum, frame)

    try:
        for signum in (signal.SIGTERM, signal.SIGINT):
            replaced[signum] = signal.signal(signum, on_signal)
    except ValueError:
        logger.debug("Not in the main thread: streams are drained when the application ends, not by a signal")
    try:
        yield
    finally:
        streams.drain()
        for number, handler in replaced.items():
            if signal.getsignal(number) is on_signal and handler is not None:
                signal.signal(number, handler)


def _call_handler(handler: Any, signum: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(signum, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)


def _abort(send: Send) -> None:
    """Abort the connection that `send` writes to, if it can be found.

    ASGI has no word for it, and a server that closes a connection first waits for a client that reads no more. So the
    server's transport is looked for behind `send`, through the closures of whatever middleware has wrapped it.
    """
    seen: set[int] = set()
    candidates: list[Any] = [send]
    while candidates and len(seen) < 100:
        candidate = candidates.pop()
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        abort = getattr(getattr(candidate, "transport", None), "abort", None)
        if abort is not None:
            abort()
            return
        candidates.extend(_behind(candidate))


def _behind(function: Any) -> Iterator[Any]:
    """What a wrapper of `send` may call: its object and that one's functions, what it is partial of, its closure's."""
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
