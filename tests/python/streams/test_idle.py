"""Idle streams, which once made every other request wait for seconds."""

import statistics
import time
from contextlib import ExitStack

import pytest
from genglossary_runs import RunManager

from .conftest import Serve
from .servers import LOOPS, Site
from .support import Stream, log

STREAMS = 100
ROUNDS = 7
REQUESTS = 30


def seconds_of_a_request(site: Site) -> float:
    """The median of some requests."""
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        assert site.client.get("/health").json() == {"status": "ok"}
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_streams_do_not_delay_other_requests(manager: RunManager, serve: Serve, loop: str) -> None:
    """Measured in turns with a server that has none, on the same machine at the same time."""
    busy, free = serve(loop=loop), serve(loop=loop)
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(busy.port)) for _ in range(STREAMS)]
        for stream in streams:
            stream.receive_until(lambda stream: stream.frames)
        assert manager.stats()["subscribers"] == STREAMS
        ratios = [seconds_of_a_request(busy) / seconds_of_a_request(free) for _ in range(ROUNDS)]
        # It is about 1, and was more than 1,000 with one stream that held up its loop for a second.
        assert statistics.median(ratios) < 5, ratios
        # All the while they were there to be told something.
        manager.publish(1, log(0))
        for stream in streams:
            stream.receive_event(n=0)


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_streams_use_no_time(manager: RunManager, serve: Serve, loop: str) -> None:
    """Nobody looks after each of them again and again: a hundred cost a server what none would."""
    site = serve(loop=loop)

    def seconds_at_work() -> float:
        times: list[float] = []
        for _ in range(ROUNDS):
            began = site.call(time.thread_time)
            for _ in range(REQUESTS):
                site.settle()
            times.append(site.call(time.thread_time) - began)
        return statistics.median(times)

    without = seconds_at_work()
    with ExitStack() as stack:
        for stream in [stack.enter_context(Stream(site.port)) for _ in range(STREAMS)]:
            stream.receive_until(lambda stream: stream.frames)
        assert seconds_at_work() < 5 * without
