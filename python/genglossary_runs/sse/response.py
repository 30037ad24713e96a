"""The response: begin it through ASGI, hand it over if possible, else send it chunk by chunk."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypedDict

from starlette.background import BackgroundTask
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from .._core import Subscription, stream_stats
from ..errors import StoreError, UnknownRunError
from ..types import RunId
from .handoff import HandOff, Settings, count_handed_over
from .servers import DRAIN_GRACE, Connection, Stop, find, find_through
from .shutdown import Streams, count_asgi, streams_of_loop

logger = logging.getLogger(__name__)

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # `no-transform` and the nginx header keep proxies from buffering or compressing what must arrive at once.
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class StreamStats(TypedDict):
    """What `stats` returns."""

    handed_over: int
    """Open streams that a thread without Python sends."""
    asgi: int
    """Open streams that their server sends."""
    stalled: int
    """Streams of the first kind with data that their client has not read yet."""
    handed_over_total: int
    """All streams that have been handed over."""
    dropped: int
    """Streams of the first kind whose client was dropped because it did not read in time."""


def stats() -> StreamStats:
    """Count the streams of this process."""
    handed_over = stream_stats()
    return {
        "handed_over": handed_over["open"],
        "asgi": count_asgi(),
        "stalled": handed_over["stalled"],
        "handed_over_total": handed_over["total"],
        "dropped": handed_over["dropped"],
    }


class Source(Protocol):
    """A `RunManager`, or what is like one to a stream."""

    @property
    def store(self) -> object: ...
    def is_active(self, run_id: RunId) -> bool: ...
    def subscribe(self, run_id: RunId, after: str | None = None, *, must_exist: bool = False) -> Subscription: ...
    def asubscribe(
        self, run_id: RunId, after: str | None = None, *, must_exist: bool = False
    ) -> Awaitable[Subscription]: ...


def run_stream(
    manager: Source,
    run_id: RunId,
    request: Request | None = None,
    *,
    last_event_id: str | None = None,
    replay: bool = False,
    heartbeat: float | None = 15.0,
    retry: int = 2000,
    send_timeout: float = 30.0,
    must_exist: bool = False,
    headers: Mapping[str, str] | None = None,
    handoff: bool = True,
    max_streams: int | None = None,
) -> Response:
    """Return a response that streams the events of a run.

    Args:
        manager: the manager of the run.
        run_id: the run.
        request: the source of the last event's id: the header `Last-Event-ID`, which a browser sends when it
            reconnects, or else the query parameter `last_event_id`, which a page can send with its first connection.
        last_event_id: used instead of the request's.
        replay: if there is no such id, start with the oldest event held instead of the next new one.
        heartbeat: seconds without an event after which a comment is sent, more than 0; None for never.
        retry: milliseconds that a client should wait at least before it reconnects, 0 to 2**31 - 1. Each client is told
            a random time of up to twice as long, so that they do not all come back at once.
        send_timeout: seconds, more than 0, after which a client that does not read pending data is dropped; it can
            resume. A client that stalls while nothing is pending is noticed at the next heartbeat.
        must_exist: refuse an unknown run instead of waiting for it to start.
        headers: additional headers, or other values for the headers set here.
        handoff: hand the stream over to a thread that writes without Python, if possible.
        max_streams: limit on the open streams of this process, of both kinds, 0 or more; further streams are refused
            with 503 and `Retry-After`. None for no limit.

    Raises:
        UnknownRunError: with `must_exist`, or for a number that no run can have; best answered with 404. If the
            manager's store has to be asked, the response does so when the server calls it, and is then itself 404, or
            503 if the store cannot be used.
        ValueError: an option is out of its bounds.
    """
    if not 0 <= retry < 2**31 or send_timeout <= 0 or (max_streams is not None and max_streams < 0):
        raise ValueError(
            "'retry' must be between 0 and 2**31 - 1, 'send_timeout' must be positive, and 'max_streams' not negative"
        )
    after = last_event_id
    if after is None and request is not None:
        after = request.headers.get("last-event-id")
        # Most have no query, and it takes long to parse none.
        if not after and request.scope.get("query_string"):
            after = request.query_params.get("last_event_id")
    if after is None and replay:
        after = "0"

    def answer(subscription: Subscription) -> Response:
        if after is not None and subscription.ended:
            return Response(status_code=204)
        return RunStream(
            subscription,
            heartbeat=heartbeat,
            retry=retry,
            send_timeout=send_timeout,
            headers=headers,
            handoff=handoff,
            max_streams=max_streams,
        )

    if manager.store is not None and not manager.is_active(run_id):
        return _StoredStream(lambda: manager.asubscribe(run_id, after, must_exist=must_exist), answer)
    return answer(manager.subscribe(run_id, after, must_exist=must_exist))


async def asked(response: Response) -> Response:
    """Ask the store now if a response of `run_stream` has to, for a caller that answers refusals itself.

    Raises:
        UnknownRunError: there is no such run.
        StoreError: the store cannot be used.
    """
    return await response.asked() if isinstance(response, _StoredStream) else response


class _StoredStream(Response):
    """The response for a run that a store has to be asked for: what `answer` makes of the reader, or 404, or 503."""

    def __init__(self, ask: Callable[[], Awaitable[Subscription]], answer: Callable[[Subscription], Response]) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self.raw_headers = []
        self._ask, self._answer = ask, answer

    async def asked(self) -> Response:
        """Wait for the store. Returns the response to be sent instead."""
        return self._answer(await self._ask())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the store, then answer."""
        try:
            response = await self.asked()
        except UnknownRunError as error:
            response = PlainTextResponse(str(error), status_code=404)
        except StoreError as error:
            logger.warning("A stream was refused: %s", error)
            response = PlainTextResponse("The run store cannot be used", status_code=503, headers={"Retry-After": "5"})
        response.background = self.background
        # Headers that were set on this response, such as cookies, or others in place of the stream's.
        names = {name for name, _ in self.raw_headers}
        response.raw_headers = [header for header in response.raw_headers if header[0] not in names] + self.raw_headers
        await response(scope, receive, send)


class RunStream(Response):
    """The response that `run_stream` gives. It speaks ASGI itself, to keep few objects for each connection.

    Args:
        subscription: what is sent; it is closed when the response ends or its client goes away.
        heartbeat, retry, send_timeout, headers, handoff, max_streams: as for `run_stream`.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        heartbeat: float | None = 15.0,
        retry: int = 2000,
        send_timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
        handoff: bool = True,
        max_streams: int | None = None,
    ) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self.raw_headers = _headers(headers)
        self._subscription = subscription
        self._frames = subscription.frames(heartbeat)
        # Not for secrets: clients that come back are to be spread over time.
        self._settings = Settings(heartbeat, send_timeout, min(int(retry * (1 + random.random())), 2**31))
        self._retry = b"retry: %d\n" % self._settings.retry
        self._handoff = handoff
        self._max_streams = max_streams
        # When the send that is under way began; None while there is none.
        self._sending_since: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._dropped = False
        self._drained = False
        self._transport: Any = None
        self._stop: Stop | None = None
        # Its subscription is a thread's then.
        self._is_handed_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the run ends, the client goes away, or the server drains; or hand the stream over."""
        if self._max_streams is not None and count_handed_over() + count_asgi() >= self._max_streams:
            self._subscription.close()
            await self._refusal()(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # Then there is nothing to wait for.
            self._subscription.close()
        streams = streams_of_loop()
        streams.add(self)
        self._drained = streams.draining
        self._task = asyncio.current_task()
        watcher: asyncio.Task[None] | None = None
        connection = find()
        try:
            if connection is None:
                # A middleware answers in a task of its own; but it calls the server to learn who leaves.
                watcher = asyncio.create_task(self._watch(receive))
                connection = await find_through(watcher)
            if connection is not None:
                self._stop = streams.stop_of(connection)
                self._stop.add(self)
            await self._begin(connection, streams, scope, send)
            if not self._is_handed_over:
                watcher = watcher or asyncio.create_task(self._watch(receive))
                await self._serve(connection, send)
        except asyncio.CancelledError:
            transport = connection.transport if connection is not None else None
            if not self._dropped or (self._task is not None and self._task.uncancel() > 0):
                if transport is not None and self._sending_since is not None:
                    # A server that closes it would wait for its client to take what was sent.
                    transport.abort()
                raise
            if transport is not None and watcher is not None:
                # ASGI has no word for it, and a server that closes a connection first waits for its client.
                transport.abort()
                # The server is to notice that the connection is gone before it sees an unfinished response.
                await asyncio.wait([watcher], timeout=DRAIN_GRACE)
        finally:
            self._leave(streams)
            if not self._is_handed_over:
                self._subscription.close()
            if watcher is not None:
                watcher.cancel()
            self._task = None
        if self.background is not None:
            await self.background()

    async def _begin(self, connection: Connection | None, streams: Streams, scope: Scope, send: Send) -> None:
        """Send the head and the first bytes of the body, and hand the stream over if possible."""
        attempt = HandOff(connection, self._obstacle(scope))
        attempt.begin(self._retry)
        try:
            headers = self.raw_headers
            if attempt.obstacle is None:
                # Said before it is certain: a client that uses the connection again, when it ends, would get no answer.
                headers = [*headers, (b"connection", b"close")]
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": headers})
            # The headers arrive with this; a client that connects to an idle run would wait for them otherwise.
            await self._send(send, {"type": "http.response.body", "body": attempt.prelude, "more_body": True})
            if (
                connection is not None
                and self._stop is not None
                and await attempt.complete(self._stop.group, self._subscription, self._settings)
            ):
                self._is_handed_over = True
                self._leave(streams)
                await connection.forget()
                return
        finally:
            attempt.stop_watching()
        logger.debug("A stream of run %s stays with the server: %s", self._subscription.run_id, attempt.obstacle)

    def _leave(self, streams: Streams) -> None:
        streams.discard(self)
        if self._stop is not None:
            self._stop.discard(self)

    def _obstacle(self, scope: Scope) -> str | None:
        """What of the stream itself speaks against handing it over."""
        if not self._handoff:
            return "handoff is off"
        if self.background is not None:
            return "it has a background task"
        if scope["method"] == "HEAD":
            return "the response to HEAD has no body"
        if self._drained:
            return "the server drains"
        if self._stop is not None and not self._stop.is_announced:
            return "its server does not tell when it stops"
        return None

    async def _serve(self, connection: Connection | None, send: Send) -> None:
        """Send the stream through ASGI."""
        transport = connection.transport if connection is not None else None
        if transport is not None and not transport.is_closing():
            # A send now waits until the client has taken all that was sent before: little is held for a client that
            # stops reading, and it is noticed. By default 64 KiB may lie there, and keep a server from stopping.
            # Not 0, at which a TLS transport pauses even with nothing in it.
            transport.set_write_buffer_limits(high=1)
        self._transport = transport
        try:
            while not self._drained and await self._send_next(send):
                pass
            # Said again, for a client that is sent away by a drain has no other hint.
            last = self._retry if self._drained else b""
            await self._send(send, {"type": "http.response.body", "body": last, "more_body": False})
        finally:
            if transport is not None and not transport.is_closing():
                transport.set_write_buffer_limits()

    async def _send_next(self, send: Send) -> bool:
        """Send the next chunk, once there is one and the client takes it. Returns whether there is more to come."""
        chunk = await anext(self._frames, b"")
        if not chunk or self._is_lost():
            return False
        await self._send(send, {"type": "http.response.body", "body": chunk, "more_body": True})
        return True

    def _is_lost(self) -> bool:
        """True if the connection is closed although the server has not reported it; writing would be wasted."""
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

    def _refusal(self) -> Response:
        seconds = str(max(1, math.ceil(self._settings.retry / 1000)))
        return PlainTextResponse("Too many streams are open; retry later.", 503, {"Retry-After": seconds})

    def drain(self) -> None:
        """End the stream with a hint, as soon as its client has taken what was sent; drop a client that does not.

        To be called on the stream's loop.
        """
        self._drained = True
        self._subscription.close()
        asyncio.get_running_loop().call_later(DRAIN_GRACE, self.drop_if_stuck, 0.0)

    def drop_if_stuck(self, timeout: float | None = None) -> None:
        """Drop the client if a send has taken longer than `timeout`, or the stream's own. To be called on its loop."""
        timeout = self._settings.send_timeout if timeout is None else timeout
        stuck = self._sending_since is not None and time.monotonic() - self._sending_since > timeout
        if stuck and self._task is not None and not self._dropped:
            logger.info("A client of run %s has not read for %g s and is dropped", self._subscription.run_id, timeout)
            self._dropped = True
            self._task.cancel()


RAW_HEADERS = MutableHeaders(HEADERS).raw


def _headers(more: Mapping[str, str] | None) -> list[tuple[bytes, bytes]]:
    if not more:
        return RAW_HEADERS.copy()
    headers = MutableHeaders(HEADERS)
    headers.update(more)
    return headers.raw
