"""Streams under gunicorn, whose workers are uvicorn's."""

import os
import signal
from contextlib import AbstractContextManager, ExitStack, suppress

import pytest
from core.support import DEADLINE, wait_until

from .commands import Command, start_server
from .support import EVENTS, Stream, is_hint

WORKERS = {"httptools-uvloop": "uvicorn_worker.UvicornWorker", "h11-asyncio": "uvicorn_worker.UvicornH11Worker"}


def serving(worker: str, *options: str) -> AbstractContextManager[Command]:
    """A server with one worker."""
    return start_server("gunicorn", "--bind", "fd://{fd}", "--worker-class", worker, *options)


def connect(server: Command, count: int, stack: ExitStack) -> list[Stream]:
    """Clients whose streams have been handed over."""
    streams = [stack.enter_context(Stream(server.port)) for _ in range(count)]
    for stream in streams:
        stream.receive_until(lambda stream: stream.frames)
    wait_until(lambda: server.state()["handed_over"] == count)
    assert server.state()["asgi"] == 0
    return streams


def has_gone(process: int) -> bool:
    """Whether there is no such process, so that another worker answers."""
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return False
    return True


def receive_hint(stream: Stream) -> None:
    """Read to the end of a stream that was drained."""
    stream.receive_all()
    assert stream.is_whole
    assert is_hint(stream.frames[-1])


@pytest.mark.parametrize("worker", WORKERS.values(), ids=WORKERS)
def test_streams_leave_its_worker_and_end_with_a_hint_when_it_stops(worker: str) -> None:
    with serving(worker) as server, ExitStack() as stack:
        streams = connect(server, 20, stack)
        server.ask("POST", f"{EVENTS}?count=3")
        for stream in streams:
            stream.receive_event(n=2)
            assert [event.seq for event in stream.events] == [1, 2, 3]
        server.process.send_signal(signal.SIGTERM)
        for stream in streams:
            receive_hint(stream)
        assert server.process.wait(DEADLINE) == 0


def test_a_reload_sends_clients_to_the_next_worker() -> None:
    with serving(WORKERS["httptools-uvloop"]) as server, ExitStack() as stack:
        streams = connect(server, 5, stack)
        first = server.state()["process"]
        server.process.send_signal(signal.SIGHUP)
        for stream in streams:
            receive_hint(stream)
        wait_until(lambda: has_gone(first))
        (stream,) = connect(server, 1, stack)
        server.ask("POST", f"{EVENTS}?count=1")
        stream.receive_event(n=0)


def test_a_worker_that_has_had_its_number_of_requests_drains_its_streams() -> None:
    with serving(WORKERS["httptools-uvloop"], "--max-requests", "20") as server, ExitStack() as stack:
        streams = connect(server, 5, stack)
        first = server.state()["process"]
        wait_until(lambda: has_gone(first) or not server.answers())
        for stream in streams:
            receive_hint(stream)
        wait_until(lambda: has_gone(first))
        assert server.answers()
