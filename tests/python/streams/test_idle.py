"""Idle streams, which once made every other request wait for seconds."""

import statistics
import sys
import time
from contextlib import ExitStack
from types import FrameType

import pytest
from genglossary_runs import RunManager

from .conftest import Serve
from .servers import LOOPS, Site
from .support import Stream, log

STREAMS = 100
ROUNDS = 7
REQUESTS = 30
TURNS = 500


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
        assert statistics.median(ratios) < 20, ratios
        # All the while they were there to be told something.
        manager.publish(1, log(0))
        for stream in streams:
            stream.receive_event(n=0)


@pytest.mark.parametrize("loop", LOOPS)
def test_idle_streams_give_the_loop_nothing_to_do(manager: RunManager, serve: Serve, loop: str) -> None:
    """Nobody looks after each of them again and again: what the loop calls is what it calls without them, nearly."""
    site = serve(loop=loop)

    def calls_of_a_turn() -> int:
        calls = 0

        def count(frame: FrameType, event: str, arg: object) -> None:
            nonlocal calls
            calls += 1

        site.call(lambda: sys.setprofile(count))
        for _ in range(TURNS):
            site.settle()
        site.call(lambda: sys.setprofile(None))
        return calls // TURNS

    without = calls_of_a_turn()
    with ExitStack() as stack:
        for stream in [stack.enter_context(Stream(site.port)) for _ in range(STREAMS)]:
            stream.receive_until(lambda stream: stream.frames)
        # Now and then one timer looks for clients that have stopped reading.
        assert calls_of_a_turn() < without + STREAMS / 2
