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
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ._core import RunManager, Subscription, UnknownRunError
from ._server import ChunkedBody, chunked_body, on_server_stop, transport_behind

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

# Seconds that a client may take for the end of its stream when the server drains.
DRAIN_GRACE = 0.2


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
            resume. A client that stalls with nothing to be sent is noticed at the next heartbeat.
        must_exist: refuse a run that nobody knows instead of waiting for it to start.
        headers: more headers, or others for those that are set here.

    Raises:
        UnknownRunError: with `must_exist`, or for a number that no run can have; best answered by 404.
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
        self.raw_headers = _headers(headers).raw
        self._subscription = subscription
        self._frames = subscription.frames(heartbeat)
        self._retry = b"retry: %d\n\n" % retry
        self._send_timeout = send_timeout
        # When the send that is under way began; None while there is none.
        self._sending_since: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._dropped = False
        self._drained = False
        self._transport: Any = None
        # For `_push`: what it writes to; what its task waits for, which says whether there is more to come.
        self._body: ChunkedBody
        self._parked: asyncio.Future[bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the run ends, the client goes away, or the server drains."""
        if scope["method"] == "HEAD":
            # Then there is nothing to wait for.
            self._subscription.close()
        streams = _streams()
        transport = self._transport = transport_behind(send, receive)
        if transport is not None and not transport.is_closing():
            # A send now waits until the client has taken all that was sent before: little is held for a client that
            # stops reading, and it is noticed. By default 64 KiB may lie there, and keep a server from stopping.
            # Not 0, at which a TLS transport pauses even with nothing in it.
            transport.set_write_buffer_limits(high=1)
        self._task = asyncio.current_task()
        watcher = asyncio.create_task(self._watch(receive))
        streams.add(self)
        self._drained = streams.draining
        forget = on_server_stop(send, receive, self.drain)
        try:
            await self._pump(send)
        except asyncio.CancelledError:
            if not self._dropped or (self._task is not None and self._task.uncancel() > 0):
                if transport is not None and self._sending_since is not None:
                    # A server that closes it would wait for its client to take what was sent.
                    transport.abort()
                raise
            if transport is not None:
                # ASGI has no word for it, and a server that closes a connection first waits for its client.
                transport.abort()
                # The server is to notice that the connection is gone before it sees an unfinished response.
                await asyncio.wait([watcher], timeout=DRAIN_GRACE)
        finally:
            forget()
            streams.discard(self)
            self._subscription.close()
            watcher.cancel()
            self._task = None
            if transport is not None and not transport.is_closing():
                transport.set_write_buffer_limits()
        if self.background is not None:
            await self.background()

    async def _pump(self, send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # The headers arrive with this; a client that connects to an idle run would wait for them otherwise.
        await self._send(send, {"type": "http.response.body", "body": self._retry, "more_body": True})
        if not self._drained:
            body = chunked_body(send)
            if body is None:
                await self._pull(send)
            else:
                await self._push(body, send)
        # Said again, for a client that is sent away by a drain has no other hint.
        last = self._retry if self._drained else b""
        await self._send(send, {"type": "http.response.body", "body": last, "more_body": False})

    async def _pull(self, send: Send) -> None:
        while await self._send_next(send):
            pass

    async def _push(self, body: ChunkedBody, send: Send) -> None:
        """As `_pull`, but chunks are written from the loop's callback, and this task wakes only for a slow client."""
        loop = asyncio.get_running_loop()
        self._body = body
        while True:
            self._parked = loop.create_future()
            self._deliver()
            # The server's `send` waits until the client has taken what was written.
            if not await self._parked or not await self._send_next(send):
                return

    def _deliver(self) -> None:
        """Write what there is. At the end, or when the client has yet to take what was written, wake the task."""
        if self._parked.done():  # the task was cancelled
            return
        try:
            while not self._body.flow.write_paused:
                chunk = self._frames.poll(self._deliver, chunked=True)
                if chunk is None:
                    return
                if not chunk or self._is_lost():
                    self._parked.set_result(False)
                    return
                self._body.write(chunk)
            self._parked.set_result(True)
        except Exception as error:
            self._parked.set_exception(error)

    async def _send_next(self, send: Send) -> bool:
        """Send the next chunk as soon as there is one and the client takes it; whether there is more to come."""
        chunk = await anext(self._frames, b"")
        if not chunk or self._is_lost():
            return False
        await self._send(send, {"type": "http.response.body", "body": chunk, "more_body": True})
        return True

    def _is_lost(self) -> bool:
        """Whether the connection is, of which the server has yet to tell. All that waits would be written to nobody."""
        return self._transport is not None and self._transport.is_closing()

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        self._sending_since = time.monotonic()
        await send(message)
        self._sending_since = None

    async def _watch(self, receive: Receive) -> None:
        read = False
        while (message := await receive())["type"] != "http.disconnect":
            if read:  # a middleware gives the request again and again, and never tells
                return
            read = not message.get("more_body", False)
        # Ends the iteration of the frames.
        self._subscription.close()

    def drain(self) -> None:
        """End the stream with a hint, as soon as its client has taken what was sent; drop a client that does not.

        To be called on the stream's loop.
        """
        self._drained = True
        self._subscription.close()
        asyncio.get_running_loop().call_later(DRAIN_GRACE, self.drop_if_stuck, 0.0)

    def drop_if_stuck(self, timeout: float | None = None) -> None:
        """Drop the client if a send has taken longer than `timeout`, or the stream's own. To be called on its loop."""
        timeout = self._send_timeout if timeout is None else timeout
        stuck = self._sending_since is not None and time.monotonic() - self._sending_since > timeout
        if stuck and self._task is not None and not self._dropped:
            logger.info("A client of run %s has not read for %g s and is dropped", self._subscription.run_id, timeout)
            self._dropped = True
            self._task.cancel()


class _Streams:
    """The open streams of one event loop, with one timer that looks after those that are stuck."""

    def __init__(self) -> None:
        self.draining = False
        self.lifespans = 0
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
            stream.drain()

    def _sweep(self) -> None:
        for stream in list(self._open):
            stream.drop_if_stuck()
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
    streams.lifespans += 1
    # An application that this loop served before may have been drained.
    streams.draining = False
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
        streams.lifespans -= 1
        if streams.lifespans == 0:
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


def _headers(more: Mapping[str, str] | None) -> MutableHeaders:
    headers = MutableHeaders(HEADERS)
    headers.update(more or {})
    return headers
