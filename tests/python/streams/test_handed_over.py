"""What becomes of a stream that has been handed over to the threads without Python, also when its process forks."""

import ctypes
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from core.support import DEADLINE, wait_until
from fastapi import FastAPI, Response
from genglossary_runs import RunManager
from genglossary_runs._core import StreamGroup
from genglossary_runs.sse import RunStream, stats

from .conftest import Serve
from .servers import SMALL
from .support import EVENTS, Stream, is_hint, log

THREAD = "genglossary-str"
"""As Linux shows the thread's name."""


@pytest.fixture(autouse=True)
def handoff() -> None:
    """In place of the fixture by which other tests run both ways: here it is as in production."""


def threads() -> int:
    """How many threads of this process write streams."""
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as file:
                names.append(file.read().strip())
        except OSError:
            continue
    return names.count(THREAD)


# What becomes of it


def test_the_thread_starts_with_the_first_stream_and_ends_with_the_last(manager: RunManager, serve: Serve) -> None:
    site = serve()
    wait_until(lambda: threads() == 0)
    for _ in range(3):
        with Stream(site.port) as first, Stream(site.port) as second:
            for stream in (first, second):
                stream.receive_until(lambda stream: stream.frames)
            wait_until(lambda: stats()["handed_over"] == 2)
            wait_until(lambda: threads() == 1)
        wait_until(lambda: threads() == 0)


def test_thousands_of_streams_are_shared_among_threads(manager: RunManager) -> None:
    """There are as many as cores at most. Each stream gets what is published, and is drained; no thread stays."""
    streams = 2 * 2048 + 1
    cores = len(os.sched_getaffinity(0))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 10_000), limits[1]))
    group, clients = StreamGroup(), []
    try:
        for _ in range(streams):
            ours, theirs = socket.socketpair()
            clients.append(theirs)
            with ours:
                group.add(ours.fileno(), manager.subscribe(1), heartbeat=None, send_timeout=DEADLINE, retry=0)
        wait_until(lambda: min(2, cores) <= threads() <= min(3, cores))
        manager.publish(1, log(0))
        for client in clients:
            client.settimeout(DEADLINE)
            assert b'"n":0' in client.recv(4096)
        group.drain(DEADLINE)
        for client in clients:
            assert client.recv(4096).endswith(b"0\r\n\r\n")
        wait_until(lambda: group.open == 0)
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: threads() == 0)


def test_a_descriptor_that_is_used_again_is_another_connection(manager: RunManager, serve: Serve) -> None:
    """The server closes its own, whose number the next connection gets."""
    site = serve()
    with ExitStack() as stack:
        streams = []
        for _ in range(50):
            stream = stack.enter_context(Stream(site.port))
            stream.receive_until(lambda stream: stream.frames)
            streams.append(stream)
            assert site.client.get("/health").json() == {"status": "ok"}
        wait_until(lambda: stats()["handed_over"] == 50)
        for gone in streams[::2]:
            gone.socket.close()
        wait_until(lambda: stats()["handed_over"] == 25)
        late = [stack.enter_context(Stream(site.port)) for _ in range(25)]
        wait_until(lambda: stats()["handed_over"] == 50)
        manager.publish(1, log(0))
        for stream in [*streams[1::2], *late]:
            stream.receive_event(n=0)
            assert len(stream.events) == 1


def test_what_a_client_sends_is_ignored_and_does_not_cut_off_the_end(manager: RunManager, serve: Serve) -> None:
    """A pipelined request is the client's to repeat: the connection closes after the end of the stream."""
    site = serve()
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        wait_until(lambda: stats()["handed_over"] == 1)
        stream.socket.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        for n in range(100):
            manager.publish(1, log(n, 5000))
        manager.finish_run(1, {"complete": True})
        stream.receive_all()
        assert stream.is_whole
        assert [event.seq for event in stream.events] == list(range(1, 102))
        assert b"ok" not in stream.raw.rpartition(b"\r\n0\r\n\r\n")[2]


def test_a_descriptor_that_is_no_socket_was_taken_and_stopped_blocking(manager: RunManager) -> None:
    before = stats()
    reading, writing = os.pipe()
    with pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)):
        StreamGroup().add(writing, manager.subscribe(1), heartbeat=None, send_timeout=DEADLINE, retry=0)
    assert os.get_blocking(writing)
    assert stats() == before
    os.close(reading)
    os.close(writing)


def test_one_who_closes_the_subscription_ends_the_stream(manager: RunManager, serve: Serve) -> None:
    app = FastAPI()
    subscription = manager.subscribe(1)

    @app.get(EVENTS)
    async def stream_run() -> Response:
        return RunStream(subscription)

    site = serve(app)
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        wait_until(lambda: stats()["handed_over"] == 1)
        subscription.put_nowait({"n": 0})
        stream.receive_event(n=0)
        subscription.close()
        assert stream.receive_all().is_whole


def test_one_who_stops_reading_is_counted_and_dropped(manager: RunManager, serve: Serve) -> None:
    site = serve(send_timeout=0.3, send_buffer=SMALL)
    before = stats()
    with Stream(site.port, receive_buffer=SMALL) as stream:
        stream.receive_until(lambda stream: stream.frames)
        manager.publish(1, log(0, 1_000_000))
        # On a busy machine it may have been dropped by the time of the first look.
        wait_until(lambda: 1 in (stats()["stalled"], stats()["dropped"] - before["dropped"]))
        wait_until(lambda: stats()["handed_over"] == 0)
    after = stats()
    assert after["stalled"] == 0
    assert after["dropped"] == before["dropped"] + 1
    assert after["handed_over_total"] == before["handed_over_total"] + 1


def test_heartbeats_come_beside_events_and_without(manager: RunManager, serve: Serve) -> None:
    site = serve(heartbeat=0.05)
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: sum(frame.comment == " keepalive" for frame in stream.frames) > 3)
        manager.publish(1, log(0))
        stream.receive_event(n=0)
        count = len(stream.frames)
        stream.receive_until(lambda stream: len(stream.frames) > count + 3)


def test_more_streams_than_allowed_are_refused(manager: RunManager, serve: Serve) -> None:
    site = serve(max_streams=2, retry=5000)
    with Stream(site.port) as first, Stream(site.port) as second:
        for stream in (first, second):
            stream.receive_until(lambda stream: stream.frames)
        response = site.client.get(EVENTS)
        assert response.status_code == 503
        assert 5 <= int(response.headers["retry-after"]) <= 10
        assert manager.stats()["subscribers"] == 2
    wait_until(lambda: stats()["handed_over"] == 0)
    with Stream(site.port) as third:
        third.receive_until(lambda stream: stream.frames)
        assert third.status == 200


def test_streams_counted_in_the_limit_of_their_server(manager: RunManager, serve: Serve) -> None:
    """uvicorn refuses a request when as many connections are open, that of the request included."""
    site = serve(limit_concurrency=2)
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        # The server has forgotten it.
        wait_until(lambda: stats()["handed_over"] == site.connections == 1)
        assert site.client.get("/health").status_code == 200


def test_clients_are_told_different_times_to_come_back(manager: RunManager, serve: Serve) -> None:
    site = serve(retry=1000)
    told = set()
    with ExitStack() as stack:
        for _ in range(20):
            stream = stack.enter_context(Stream(site.port)).receive_until(lambda stream: stream.frames)
            assert is_hint(stream.frames[0], 1000)
            told.add(stream.frames[0].retry)
    assert len(told) > 5


# Processes


@pytest.fixture
def forked(manager: RunManager, serve: Serve) -> Iterator[tuple[Stream, int]]:
    """A stream, and a child that was forked while it was open and waits for a word."""
    site = serve()
    reading, writing = os.pipe()
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        wait_until(lambda: stats()["handed_over"] == 1)
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        yield stream, child
        os.close(writing)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_keeps_no_connection_open(manager: RunManager, forked: tuple[Stream, int]) -> None:
    stream, child = forked
    manager.publish(1, log(0))
    stream.receive_event(n=0)
    manager.finish_run(1, {"complete": True})
    stream.receive_all()
    # The client has seen the connection's end while the child lives.
    assert stream.is_whole
    assert os.waitpid(child, os.WNOHANG) == (0, 0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_starts_without_streams(manager: RunManager, serve: Serve) -> None:
    site = serve()
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        # For a moment it is counted as both.
        wait_until(lambda: (stats()["handed_over"], stats()["asgi"]) == (1, 0))
        child = os.fork()
        if child == 0:
            os._exit(any(stats().values()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        manager.publish(1, log(0))
        stream.receive_event(n=0)
        assert [event.seq for event in stream.events] == [1]


def io_uring_is_allowed() -> bool:
    """Whether this process may have a ring: containers often forbid it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(425, 1, ctypes.create_string_buffer(120))  # io_uring_setup
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


@pytest.mark.parametrize("io_uring", ["1", "0"])
def test_streams_are_the_same_with_io_uring_and_without(io_uring: str) -> None:
    """Also to a client that takes a little at a time, and beside one that has gone."""
    program = """
import os, socket
from pathlib import Path
from genglossary_runs import RunManager
from genglossary_runs._core import StreamGroup
from genglossary_runs._core import StreamGroup
manager, group = RunManager(history=1000), StreamGroup()
manager.open_run(1)
pairs = [socket.socketpair() for _ in range(200)]
pairs[7][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
for ours, _ in pairs:
    group.add(ours.fileno(), manager.subscribe(1), heartbeat=None, send_timeout=30.0, retry=0)
    ours.close()
manager.publish(1, {"n": 0})
first = [theirs.recv(100) for _, theirs in pairs]
pairs[9][1].close()
for n in range(1, 300):
    manager.publish(1, {"n": n, "text": "x" * 1000})
manager.finish_run(1, {"complete": True})
rings = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and "io_uring" in os.readlink(link)]
bodies = set()
for number, (_, theirs) in enumerate(pairs):
    if number != 9:
        body = first[number]
        while received := theirs.recv(1 << 16):
            body += received
        events = b""
        while body:
            size, _, rest = body.partition(b"\\r\\n")
            events, body = events + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        bodies.add(events)
assert len(bodies) == 1, len(bodies)
assert bodies.pop().count(b"data: ") == 301
print(len(rings))
"""
    environment = {"GENGLOSSARY_RUNS_IO_URING": io_uring}
    command = [sys.executable, "-c", program]
    rings = subprocess.run(command, env=environment, timeout=DEADLINE, check=True, stdout=subprocess.PIPE).stdout
    if sys.platform == "linux":
        assert int(rings) == (io_uring == "1" and io_uring_is_allowed())


def test_a_stream_that_wakes_a_loop_through_python_does_not_hang_a_fork() -> None:
    """The thread closes a reader for which a loop without `add_reader` waits, too, and another thread forks then."""
    program = """
import asyncio, os, socket, threading
from genglossary_runs import RunManager
from genglossary_runs._core import StreamGroup
from genglossary_runs._core import StreamGroup

class WithoutAddReader(asyncio.SelectorEventLoop):
    def add_reader(self, *args):
        raise NotImplementedError
    def call_soon_threadsafe(self, *args, **kwargs):
        if threading.current_thread() is not threading.main_thread():
            told.set()
            forked.wait()
        return super().call_soon_threadsafe(*args, **kwargs)

def fork():
    told.wait()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    forked.set()

async def main():
    reader = manager.subscribe(1)
    waiting = asyncio.ensure_future(anext(reader, None))
    await asyncio.sleep(0)
    group.add(ours.fileno(), reader, heartbeat=None, send_timeout=30.0, retry=0)
    theirs.close()
    await waiting

told, forked = threading.Event(), threading.Event()
manager, group = RunManager(), StreamGroup()
manager.open_run(1)
ours, theirs = socket.socketpair()
forking = threading.Thread(target=fork)
forking.start()
with asyncio.Runner(loop_factory=WithoutAddReader) as runner:
    runner.run(main())
forking.join()
# The streams' thread may still be on its way out of Python, and would be ended there with the interpreter.
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], timeout=DEADLINE, check=True)
