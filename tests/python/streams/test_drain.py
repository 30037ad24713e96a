"""Streams when their server stops: they end at once with a hint, and go on where they were at the next server."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from types import FrameType
from typing import Any

import pytest
from core.support import DEADLINE, wait_until
from fastapi import FastAPI
from genglossary_runs import RunManager
from genglossary_runs.sse import drain, drain_on_shutdown, run_stream

from .conftest import Run, Serve
from .servers import LOOPS, PROTOCOLS, SMALL, Process, make_app
from .support import Frame, Stream, events, is_hint, log, parse


def connect(port: int, count: int, stack: ExitStack) -> list[Stream]:
    """Clients of run 1, of which the server knows."""
    streams = [stack.enter_context(Stream(port)) for _ in range(count)]
    for stream in streams:
        stream.receive_until(lambda stream: stream.frames)
    return streams


# A process that is told to stop


@pytest.mark.parametrize("way", ["handed over", "handed over, without a lifespan", "asgi"])
@pytest.mark.parametrize(
    ("loop", "http", "signum"),
    [
        ("asyncio", "h11", signal.SIGTERM),
        ("uvloop", "httptools", signal.SIGTERM),
        ("asyncio", "httptools", signal.SIGINT),
    ],
)
def test_a_signal_ends_a_hundred_streams_and_the_process(
    loop: str, http: str, signum: int, way: str, record_property: Callable[[str, object], None]
) -> None:
    """One of their clients has stopped reading. The process has no other timeout of its own."""
    with ExitStack() as stack:
        options = {"handoff": way != "asgi", "lifespan": "without" not in way}
        server = stack.enter_context(Process(loop, http, send_buffer=SMALL, **options))
        streams = connect(server.port, 99, stack)
        stalled = stack.enter_context(Stream(server.port, "/runs/2/events", receive_buffer=SMALL))
        stalled.receive_until(lambda stream: stream.frames)
        # Each is larger than everything that buffers it on its way.
        server.publish(5, size=400_000, run_id=2)
        wait_until(lambda: any(server.unsent))
        server.publish(3)
        for stream in streams:
            stream.receive_event(n=2)
        server.client.close()

        told = time.monotonic()
        server.send_signal(signum)
        code, complaints = server.wait()
        seconds = time.monotonic() - told

        # uvicorn ends as the signal would have ended it.
        assert (code, complaints) == (-signum if signum == signal.SIGTERM else 0, "")
        # It is less than one on a machine that does nothing else, and without an end if a stream holds it up.
        record_property("seconds", round(seconds, 3))
        assert seconds < 10
        for stream in streams:
            stream.receive_all()
            assert stream.is_whole
            assert [event.json["n"] for event in stream.events] == [0, 1, 2]
            assert is_hint(stream.frames[-1])
        stalled.receive_all()
        assert not stalled.is_whole


@pytest.mark.parametrize("lifespan", [True, False])
def test_a_thousand_streams_do_not_hold_up_the_process(
    lifespan: bool, record_property: Callable[[str, object], None]
) -> None:
    """Each is told when to come back, also where the application has no lifespan that says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    try:
        with ExitStack() as stack:
            server = stack.enter_context(Process(lifespan=lifespan))
            streams = connect(server.port, 1000, stack)
            server.client.close()
            told = time.monotonic()
            server.send_signal(signal.SIGTERM)
            assert server.wait() == (-signal.SIGTERM, "")
            seconds = time.monotonic() - told
            # It is less than half of one on a machine that does nothing else.
            record_property("seconds", round(seconds, 3))
            assert seconds < 10
            for stream in streams:
                assert stream.receive_all().is_whole
                assert is_hint(stream.frames[-1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


ENDS = {
    "the interpreter's end": ("", 0),
    "os._exit": ("os._exit(3)", 3),
    "sys.exit": ("sys.exit(4)", 4),
    "an exception": ("raise SystemError", 1),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "SIGINT": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_at_once_in_the_midst_of_its_streams(end: str) -> None:
    """While a thread publishes. Nothing crashes, and no connection outlives it."""
    statement, expected = ENDS[end]
    program = f"""
import os, signal, socket, sys, threading
from genglossary_runs import RunManager
from genglossary_runs._core import StreamGroup
manager, group = RunManager(), StreamGroup()
manager.open_run(1)
pairs = [socket.socketpair() for _ in range(100)]
for ours, _ in pairs:
    group.add(ours.fileno(), manager.subscribe(1), heartbeat=0.001, send_timeout=30.0, retry=0)
def publish():
    while True:
        manager.publish(1, {{"n": 1}})
threading.Thread(target=publish, daemon=True).start()
for _, theirs in pairs:
    theirs.recv(100)
{statement}
"""
    command = [sys.executable, "-c", program]
    for _ in range(5):
        assert subprocess.run(command, timeout=DEADLINE, stderr=subprocess.DEVNULL, check=False).returncode == expected


def test_a_client_resumes_at_the_next_process() -> None:
    """Its id is of a life that nobody remembers: it gets what there is, from the start."""
    with Process() as server, Stream(server.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        server.publish(3)
        stream.receive_event(n=2)
        server.send_signal(signal.SIGTERM)
        server.wait()
        last = stream.receive_all().events[-1].id
    with Process() as server:
        server.publish(2)
        with Stream(server.port, last_event_id=last) as stream:
            stream.receive_event(n=1)
            assert [event.seq for event in stream.events] == [1, 2]


# Another server of the same runs


@pytest.mark.parametrize("loop", LOOPS)
def test_clients_resume_at_the_next_server_where_they_were(manager: RunManager, serve: Serve, loop: str) -> None:
    first, second = serve(loop=loop), serve(loop=loop)
    with ExitStack() as stack:
        streams = connect(first.port, 10, stack)
        for n in range(5):
            manager.publish(1, log(n))
        first.stop()
        manager.publish(1, log(5))
        manager.finish_run(1, {"complete": True})
        for stream in streams:
            stream.receive_all()
            assert stream.is_whole
            assert is_hint(stream.frames[-1])
            last = stream.events[-1].id if stream.events else "0"
            with Stream(second.port, last_event_id=last) as resumed:
                resumed.receive_event("complete")
                assert [event.seq for event in (*stream.events, *resumed.events)] == list(range(1, 8))
    wait_until(lambda: manager.stats()["subscribers"] == 0)


@pytest.mark.parametrize(("loop", "http"), list(zip(LOOPS, PROTOCOLS, strict=True)))
def test_a_client_for_which_little_waits_does_not_hold_up_the_server(
    manager: RunManager, serve: Serve, loop: str, http: str
) -> None:
    """So little that a server would take it for sent, and wait for the client when it closes the connection."""
    site = serve(loop=loop, http=http, send_buffer=SMALL)
    with Stream(site.port, receive_buffer=SMALL) as stream:
        stream.receive_until(lambda stream: stream.frames)
        while not any(site.unsent):
            manager.publish(1, log(0, 1000))
            site.settle()
        site.stop()
        assert site.connections == 0


def test_a_stream_that_comes_while_draining_ends_at_once(manager: RunManager, serve: Serve) -> None:
    site = serve()
    site.call(drain)
    manager.publish(1, log(0))
    with Stream(site.port, last_event_id="0") as stream:
        stream.receive_until(lambda stream: stream.is_whole)
        assert all(map(is_hint, stream.frames))
    wait_until(lambda: manager.stats()["subscribers"] == 0)


def test_the_end_of_the_application_drains_where_no_signal_arrives(manager: RunManager, serve: Serve) -> None:
    """In a thread that is not the main one, `drain_on_shutdown` leaves signals alone."""
    app = make_app(manager)
    before = signal.getsignal(signal.SIGTERM)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_shutdown():
            yield

    app.router.lifespan_context = lifespan
    site = serve(app)
    assert signal.getsignal(signal.SIGTERM) is before
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        site.stop()
        assert stream.receive_all().is_whole


# Signal handlers


@pytest.fixture
def signals() -> list[int]:
    """The signals that a handler which was there before has got."""
    return []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_handler_that_was_there_before_is_called(run: Run, signals: list[int], signum: int) -> None:
    def note(signum: int, frame: FrameType | None) -> None:
        signals.append(signum)

    async def main() -> None:
        with drain_on_shutdown():
            assert signal.getsignal(signum) is not note
            os.kill(os.getpid(), signum)
            await asyncio.sleep(0)
        assert signal.getsignal(signum) is note

    before = signal.signal(signum, note)
    try:
        run(main())
    finally:
        signal.signal(signum, before)
    assert signals == [signum]


def test_several_applications_may_drain(run: Run, signals: list[int]) -> None:
    """As when one is mounted in another; they may end in any order."""

    def note(signum: int, frame: FrameType | None) -> None:
        signals.append(signum)

    async def main() -> None:
        first, second = drain_on_shutdown(), drain_on_shutdown()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        second.__exit__(None, None, None)

    before = signal.signal(signal.SIGTERM, note)
    try:
        run(main())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signals == [signal.SIGTERM]


def test_a_handler_that_came_later_stays(run: Run) -> None:
    def later(signum: int, frame: FrameType | None) -> None:
        pass

    async def main() -> None:
        with drain_on_shutdown():
            signal.signal(signal.SIGTERM, later)
        assert signal.getsignal(signal.SIGTERM) is later

    before = signal.getsignal(signal.SIGTERM)
    try:
        run(main())
    finally:
        signal.signal(signal.SIGTERM, before)


# A server that stops for another reason


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("http", PROTOCOLS)
def test_a_server_that_stops_without_a_signal_ends_its_streams(
    manager: RunManager, serve: Serve, loop: str, http: str
) -> None:
    """As one does that has had its number of requests; the other server of the process goes on."""
    site, other = serve(loop=loop, http=http), serve(loop=loop, http=http)
    with ExitStack() as stack:
        streams = connect(site.port, 5, stack)
        stays = connect(other.port, 1, stack)[0]
        site.stop()
        for stream in streams:
            stream.receive_all()
            assert stream.is_whole
            assert is_hint(stream.frames[-1])
        manager.publish(1, log(0))
        stays.receive_event(n=0)


def test_an_application_that_begins_anew_on_the_same_loop_streams_again(run: Run, manager: RunManager) -> None:
    """As under a test client for each test, or with two servers on one loop, of which one ends."""

    async def frames() -> list[Frame]:
        response = run_stream(manager, 1, replay=True)
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if b"data: " in sent[-1]:
                left.set()

        async def receive() -> dict[str, str]:
            await left.wait()
            return {"type": "http.disconnect"}

        left = asyncio.Event()
        await response({"type": "http", "method": "GET"}, receive, send)
        return events(parse(b"".join(sent)))

    async def main() -> None:
        manager.publish(1, log(0))
        with drain_on_shutdown():
            assert len(await frames()) == 1
            with drain_on_shutdown():
                assert len(await frames()) == 1
            assert len(await frames()) == 1  # that of the other goes on
        with drain_on_shutdown():
            assert len(await frames()) == 1

    run(main())
