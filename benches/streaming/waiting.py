"""What publishing costs while the readers wait in an event loop, the wake-up included. No HTTP, only two threads."""

import asyncio
import json
import queue
import statistics
import threading
import time
from abc import ABC, abstractmethod
from typing import Any

from baseline import BaselineManager
from genglossary_runs import RunManager, Subscription
from measure import RUN_ID, log_message

PUBLISHES = 30
PARKING_TIME = 0.002
"""Seconds after which a loop with nothing to do waits in the kernel."""
DELIVERY_TIMEOUT = 30.0


class Waiting(ABC):
    """Readers that wait on a loop in a thread of its own, and a publisher in the caller's."""

    def __init__(self, readers: int) -> None:
        self._message = log_message()
        self._readers = readers
        self._delivered = 0
        self._all_have_it = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(DELIVERY_TIMEOUT)

    async def _start(self) -> None:
        self._tasks = [asyncio.create_task(self.read()) for _ in range(self._readers)]

    @abstractmethod
    async def read(self) -> None:
        """Read for ever, and say `self.received()` for each event."""

    @abstractmethod
    def publish(self, message: dict[str, Any]) -> None:
        """Publish to all readers."""

    def received(self) -> None:
        """Count an event of one reader."""
        self._delivered += 1
        if self._delivered == self._readers:
            self._all_have_it.set()

    def seconds(self) -> float:
        """What one call of `publish` takes, each made when every reader has had the last event and waits again."""
        times = []
        for _ in range(PUBLISHES):
            time.sleep(PARKING_TIME)
            self._delivered = 0
            self._all_have_it.clear()
            start = time.perf_counter()
            self.publish(self._message)
            times.append(time.perf_counter() - start)
            if not self._all_have_it.wait(DELIVERY_TIMEOUT):
                raise TimeoutError(f"{self._delivered} of {self._readers} readers got the event")
        return statistics.median(times)


class OurWaiting(Waiting):
    """Tasks that iterate over subscriptions."""

    def __init__(self, readers: int) -> None:
        manager = RunManager()
        manager.open_run(RUN_ID)
        self._manager = manager
        self._subscriptions = iter([manager.subscribe(RUN_ID) for _ in range(readers)])
        super().__init__(readers)

    async def read(self) -> None:
        subscription: Subscription = next(self._subscriptions)
        async for _ in subscription:
            self.received()

    def publish(self, message: dict[str, Any]) -> None:
        self._manager.publish(RUN_ID, message)


class BusyWaiting(OurWaiting):
    """One task, whose loop has as much to do with each event as a thousand readers have.

    What a publisher keeps in the processor's caches is gone by the next event, as it is after a thousand readers.
    """

    def __init__(self) -> None:
        self._json = json.dumps(log_message())
        super().__init__(1)

    def received(self) -> None:
        for _ in range(1000):
            json.loads(self._json)
        super().received()


class BaselineWaiting(Waiting):
    """Tasks that wait in a blocking `get`, as the original's routes do: one holds the loop, the rest wait for it."""

    def __init__(self, readers: int) -> None:
        self._manager = BaselineManager()
        self._queues = iter([self._manager.subscribe(RUN_ID) for _ in range(readers)])
        super().__init__(readers)

    async def read(self) -> None:
        subscriber: queue.Queue[dict[str, Any]] = next(self._queues)
        while True:
            # `_start` is to end before the first of them holds the loop up.
            await asyncio.sleep(0)
            try:
                subscriber.get(timeout=1)
            except queue.Empty:
                continue
            self.received()

    def publish(self, message: dict[str, Any]) -> None:
        self._manager.publish(RUN_ID, message)
