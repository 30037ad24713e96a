"""An `asyncio.Queue` a client, as those who know asyncio write it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from streaming.server import UvicornTransport

QUEUE_SIZE = 1000

Item = tuple[str, dict[str, Any]]
"""An event's id, and its message."""


class HubTransport(UvicornTransport):
    """Queues that the publisher fills through the loop. A full queue drops the newest."""

    def __init__(self, **route_options: Any) -> None:
        super().__init__(**route_options)
        self._queues: set[asyncio.Queue[Item]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published = 0

    async def items(self) -> AsyncIterator[Item]:
        """What is published from now on."""
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Item] = asyncio.Queue(QUEUE_SIZE)
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)

    def publish(self, message: dict[str, Any]) -> None:
        self._published += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._put, (f"1-{self._published}", message))

    def _put(self, item: Item) -> None:
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(item)

    def subscribers(self) -> int:
        return len(self._queues)
