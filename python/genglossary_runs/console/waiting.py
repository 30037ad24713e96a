"""Waiting for the end of a run."""

import asyncio
import contextlib

from genglossary_runs import Subscription
from genglossary_runs.sse.servers import find
from genglossary_runs.sse.shutdown import streams_of_loop


class Wait:
    """A request that waits for the end of a run; it ends early when the server drains or stops, as a stream does."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def until_end(self, timeout: float) -> None:
        """Wait, for `timeout` seconds at most."""
        streams = streams_of_loop()
        if streams.draining:
            return
        # Not one of its streams, which are counted, and limited by `max_streams`.
        streams.waiting.add(self)
        connection = find()
        stop = None if connection is None else streams.stop_of(connection)
        if stop is not None:
            stop.add(self)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    # Frames, since nobody looks at the events.
                    async for _ in self._subscription.frames(heartbeat=None):
                        pass
        finally:
            streams.waiting.discard(self)
            if stop is not None:
                stop.discard(self)
            self._subscription.close()

    def drain(self) -> None:
        """Wait no longer."""
        self._subscription.close()
