"""Streams under Hypercorn, whose worker is a process that gets no signal of its own."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from core.support import DEADLINE, wait_until

from .commands import Command, start_server
from .servers import SMALL
from .support import EVENTS, Stream, is_hint


@pytest.fixture
def server() -> Iterator[Command]:
    """A server with one worker."""
    with start_server("hypercorn", "--bind", "fd://{fd}") as server:
        yield server


def test_its_stop_ends_streams_with_a_hint(server: Command) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server.port)) for _ in range(5)]
        for stream in streams:
            stream.receive_until(lambda stream: stream.frames)
        server.ask("POST", f"{EVENTS}?count=3")
        for stream in streams:
            stream.receive_event(n=2)
        assert server.state()["handed_over"] == 5
        server.process.send_signal(signal.SIGTERM)
        for stream in streams:
            stream.receive_all()
            assert stream.is_whole
            assert is_hint(stream.frames[-1])
        assert server.process.wait(DEADLINE) == 0


def test_a_client_that_stops_reading_is_cut_off(server: Command) -> None:
    with Stream(server.port, f"{EVENTS}?send_timeout=0.1", receive_buffer=SMALL) as stalled:
        stalled.receive_until(lambda stream: stream.frames)
        server.ask("POST", f"{EVENTS}?count=900&size=8000")
        wait_until(lambda: server.state()["subscribers"] == 0)
        stalled.receive_all()
        assert not stalled.is_whole
