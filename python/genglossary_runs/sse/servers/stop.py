"""The stop of a server, and the streams that end with it."""

import asyncio
from typing import Protocol

from ..._core import StreamGroup

# Seconds that a client may take for the end of its stream when the server drains.
DRAIN_GRACE = 0.2


class Drains(Protocol):
    """What keeps a server from stopping."""

    def drain(self) -> None:
        """End it."""


class Stop:
    """The stop of one server, before it begins and after.

    Attributes:
        group: the streams that the server has handed over.
        is_announced: the server calls `begin` when it stops; if it does not, its streams must not leave it.
    """

    def __init__(self) -> None:
        self.group = StreamGroup()
        self.is_announced = False
        self._has_begun = False
        self._streams: set[Drains] = set()

    def add(self, stream: Drains) -> None:
        """Drain a stream when the server stops: at once if it is stopping."""
        self._streams.add(stream)
        if self._has_begun:
            stream.drain()

    def discard(self, stream: Drains) -> None:
        """Note that a stream has ended, or has been handed over."""
        self._streams.discard(stream)

    def begin(self) -> None:
        """Drain all streams of the server, and those still to come. To be called on its loop."""
        self._has_begun = True
        self.group.drain(DRAIN_GRACE)
        for stream in list(self._streams):
            stream.drain()

    async def drained(self) -> None:
        """Wait until the streams that have been handed over have ended."""
        loop = asyncio.get_running_loop()
        # A client that takes nothing is dropped after half of this.
        latest = loop.time() + 2 * DRAIN_GRACE
        while self.group.open and loop.time() < latest:  # noqa: ASYNC110 - the threads have no way to tell this loop
            await asyncio.sleep(0.005)
