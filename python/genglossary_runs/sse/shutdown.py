"""The open streams of each event loop, and their end when the server stops."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from .servers import DRAIN_GRACE, Connection, Drains, Stop

logger = logging.getLogger(__name__)

# Seconds between two looks for clients that have stopped reading.
SWEEP_INTERVAL = 1.0


class Stream(Drains, Protocol):
    """A stream that plain ASGI serves; drained, it ends with a hint."""

    def drop_if_stuck(self, timeout: float | None = None) -> None:
        """Drop its client if that has taken nothing for too long."""


class Streams:
    """The open streams of one event loop, with one timer that looks for clients that have stopped reading."""

    def __init__(self) -> None:
        self.draining = False
        self.lifespans = 0
        # Requests that wait without a stream.
        self.waiting: set[Drains] = set()
        self._open: set[Stream] = set()
        self._timer: asyncio.TimerHandle | None = None
        # By what stands for the server.
        self._stops: WeakKeyDictionary[object, Stop] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stream: Stream) -> None:
        """Note a stream that plain ASGI serves, for now."""
        self._open.add(stream)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep)

    def discard(self, stream: Stream) -> None:
        """Note that it has ended, or has been handed over."""
        self._open.discard(stream)

    def stop_of(self, connection: Connection) -> Stop:
        """The stop of the server of this connection."""
        stop = self._stops.get(connection.server)
        if stop is None:
            stop = self._stops[connection.server] = Stop()
            stop.is_announced = connection.announce(stop)
        return stop

    def drain(self) -> None:
        """End all of them with a hint."""
        self.draining = True
        for each in [*self._open, *self.waiting]:
            each.drain()
        for stop in list(self._stops.values()):
            stop.group.drain(DRAIN_GRACE)

    def wait_for_those_handed_over(self) -> None:
        """Block until they have been drained; the process may end after this."""
        end = time.monotonic() + DRAIN_GRACE
        while any(stop.group.open for stop in list(self._stops.values())) and time.monotonic() < end:
            time.sleep(0.002)

    def _sweep(self) -> None:
        for stream in list(self._open):
            stream.drop_if_stuck()
        # Not stopped by the last stream that goes: most are handed over at once, and each would start it anew.
        again = bool(self._open)
        self._timer = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep) if again else None


# The values know nothing of their loop, so that it can go.
_streams_of: "WeakKeyDictionary[asyncio.AbstractEventLoop, Streams]" = WeakKeyDictionary()


def streams_of_loop() -> Streams:
    """The streams of the running event loop."""
    loop = asyncio.get_running_loop()
    streams = _streams_of.get(loop)
    if streams is None:
        streams = _streams_of[loop] = Streams()
    return streams


def count_asgi() -> int:
    """How many streams plain ASGI serves in this process. Thread-safe."""
    # Another thread may add its loop meanwhile; of the dictionary's lists, only this one is made in one step.
    loops = [reference() for reference in _streams_of.keyrefs()]
    return sum(len(_streams_of.get(loop, ())) for loop in loops if loop is not None)


def drain() -> None:
    """End every open stream of the running event loop, and those still to come, with a `retry:` hint.

    Browsers reconnect with their `Last-Event-ID`. A client that does not read is dropped. For servers that
    `drain_on_shutdown` does not fit; there is no way back for this loop.
    """
    streams_of_loop().drain()


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
    streams = streams_of_loop()
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
            streams.wait_for_those_handed_over()
        for number, handler in replaced.items():
            if signal.getsignal(number) is on_signal and handler is not None:
                signal.signal(number, handler)


def _call_handler(handler: Any, signum: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(signum, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)
