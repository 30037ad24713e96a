"""Clients that vanish or stop reading, at each point: nothing is left of them, and they can resume."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from core.support import Background, wait_until
from fastapi import FastAPI, Request, Response
from genglossary_runs import RunManager
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware

from .conftest import Serve
from .servers import LOOPS, PROTOCOLS, SMALL, Site, make_app
from .support import EVENTS, Stream, log

LARGE = 10_000
"""Characters in a message of which a few hundred are more than the system buffers for a client."""

Leave = Callable[[Stream], None]


@pytest.fixture(params=list(zip(LOOPS, PROTOCOLS, strict=True)), ids="-".join)
def site(request: pytest.FixtureRequest, manager: RunManager, serve: Serve) -> Iterator[Site]:
    """A server of which nothing may be left but the server."""
    loop, http = request.param
    site = serve(loop=loop, http=http, send_buffer=SMALL)
    tasks = site.tasks
    yield site
    wait_until(lambda: site.connections == 0)
    wait_until(lambda: site.tasks == tasks)
    assert manager.stats()["subscribers"] == 0


@pytest.fixture(params=["closes", "resets"])
def leave(request: pytest.FixtureRequest) -> Leave:
    """How a client goes."""
    return (lambda stream: stream.socket.close()) if request.param == "closes" else Stream.reset


def wait_for_subscribers(manager: RunManager, count: int) -> None:
    wait_until(lambda: manager.stats()["subscribers"] == count)


def stall(manager: RunManager, site: Site) -> Stream:
    """A client that has read the first event and no more, for which more waits than all buffers take."""
    stream = Stream(site.port, receive_buffer=SMALL)
    stream.receive_until(lambda stream: stream.frames)
    manager.publish(1, log(0))
    stream.receive_event(n=0)
    for n in range(1, 301):
        manager.publish(1, log(n, LARGE))
    # On a busy machine it may have been dropped by the time of the first look.
    wait_until(lambda: any(site.unsent) or manager.stats()["subscribers"] == 0)
    return stream


# Leaving


def test_leaving_before_the_first_byte(manager: RunManager, site: Site, leave: Leave) -> None:
    for _ in range(20):
        leave(Stream(site.port))
    # Connections are accepted in their order, so the server now knows of all of them.
    with Stream(site.port, "/health") as stream:
        stream.receive_until(lambda stream: stream.has_head)


def test_leaving_with_half_a_request(manager: RunManager, site: Site, leave: Leave) -> None:
    for _ in range(5):
        stream = Stream(site.port, "/health")
        stream.receive_until(lambda stream: stream.has_head)
        stream.socket.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: ".encode())
        leave(stream)


def test_leaving_after_the_head(manager: RunManager, site: Site, leave: Leave) -> None:
    stream = Stream(site.port)
    stream.receive_until(lambda stream: stream.has_head)
    assert manager.stats()["subscribers"] == 1
    leave(stream)
    wait_for_subscribers(manager, 0)


def test_leaving_while_idle_while_others_stay(manager: RunManager, site: Site, leave: Leave) -> None:
    with Stream(site.port) as other:
        other.receive_until(lambda stream: stream.frames)
        for n in range(10):
            stream = Stream(site.port)
            stream.receive_until(lambda stream: stream.frames)
            manager.publish(1, log(n))
            stream.receive_event(n=n)
            leave(stream)
        wait_for_subscribers(manager, 1)
        other.receive_event(n=9)
        assert [event.json["n"] for event in other.events] == list(range(10))


def test_leaving_in_the_middle_of_a_chunk(manager: RunManager, site: Site, leave: Leave) -> None:
    for _ in range(5):
        stream = Stream(site.port, last_event_id="0", receive_buffer=SMALL)
        manager.publish(1, log(0, 1_000_000))
        stream.receive_until(lambda stream: len(stream.raw) > 10_000)
        assert not stream.events
        leave(stream)
    wait_for_subscribers(manager, 0)


def test_leaving_while_the_server_waits_to_send(manager: RunManager, site: Site, leave: Leave) -> None:
    stream = stall(manager, site)
    leave(stream)
    wait_for_subscribers(manager, 0)


def test_leaving_with_much_to_come(manager: RunManager, site: Site) -> None:
    """Nothing more is written once the connection is known to be lost, or asyncio would complain of each chunk."""
    stream = Stream(site.port)
    stream.receive_until(lambda stream: stream.frames)

    def leave_and_publish() -> None:
        stream.reset()
        for n in range(20):
            manager.publish(1, log(n, 64 << 10))

    # On the server's own loop, so that it learns of both at once.
    site.call(leave_and_publish)
    wait_for_subscribers(manager, 0)


def test_leaving_while_a_thread_publishes(manager: RunManager, site: Site, leave: Leave) -> None:
    left = False

    def publish() -> None:
        n = 0
        while not left:
            manager.publish(1, log(n, 100))
            n += 1

    publisher = Background(publish)
    try:
        for count in range(20):
            stream = Stream(site.port)
            stream.receive_until(lambda stream, count=count: len(stream.raw) > 5000 * count)
            leave(stream)
        wait_for_subscribers(manager, 0)
    finally:
        left = True
        publisher.result()


def test_leaving_as_the_run_ends(manager: RunManager, site: Site, leave: Leave) -> None:
    for run_id in range(2, 12):
        manager.open_run(run_id)
        stream = Stream(site.port, f"/runs/{run_id}/events")
        stream.receive_until(lambda stream: stream.frames)
        finisher = Background(manager.finish_run, run_id, {"complete": True})
        leave(stream)
        assert finisher.result()
    wait_for_subscribers(manager, 0)


def test_closing_the_sending_side_only_is_no_leaving(manager: RunManager, site: Site) -> None:
    """uvicorn, as most servers, takes it for one, too; either way nothing is left."""
    stream = Stream(site.port)
    stream.receive_until(lambda stream: stream.frames)
    stream.socket.shutdown(socket.SHUT_WR)
    manager.publish(1, log(0))
    manager.finish_run(1, {"complete": True})
    stream.receive_all()
    wait_for_subscribers(manager, 0)
    stream.socket.close()


# Not reading


@pytest.fixture
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have servers look for clients that do not read more often than is good for production."""
    monkeypatch.setattr("genglossary_runs.sse.shutdown.SWEEP_INTERVAL", 0.05)


def wrap_nothing(app: FastAPI) -> None:
    pass


def wrap_in_gzip(app: FastAPI) -> None:
    app.add_middleware(GZipMiddleware)


def wrap_in_a_relay(app: FastAPI) -> None:
    async def relay(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=relay)


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize(
    ("loop", "http", "wrap"),
    [
        ("asyncio", "h11", wrap_nothing),
        ("asyncio", "httptools", wrap_in_gzip),
        ("uvloop", "h11", wrap_in_a_relay),
        ("uvloop", "httptools", wrap_nothing),
        ("asyncio", "httptools", wrap_in_a_relay),
    ],
)
def test_one_who_stops_reading_is_dropped_and_can_resume(
    manager: RunManager, serve: Serve, loop: str, http: str, wrap: Callable[[FastAPI], None]
) -> None:
    app = make_app(manager, send_timeout=0.2)
    wrap(app)
    site = serve(app, loop=loop, http=http, send_buffer=SMALL)
    with stall(manager, site) as stream:
        wait_for_subscribers(manager, 0)
        wait_until(lambda: site.connections == 0)
        stream.receive_all()
        assert not stream.is_whole
        last = stream.events[-1]
        missing = manager.publish(1, log(-1))
        manager.finish_run(1, {"complete": True})
    with Stream(serve().port, last_event_id=last.id) as resumed:
        resumed.receive_event("complete")
        seqs = [event.seq for event in (*stream.events, *resumed.events)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert resumed.events[-2].id == missing


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("handoff", [False], indirect=True)
def test_one_who_stops_reading_at_the_end_is_dropped_too(manager: RunManager, serve: Serve) -> None:
    """The last of it lies in the server's buffer, and the run has no more for the stream to send."""
    site = serve(send_timeout=0.2, send_buffer=SMALL)
    with Stream(site.port, receive_buffer=SMALL) as stream:
        stream.receive_until(lambda stream: stream.frames)
        n = 0
        while not holds_on(site):
            manager.publish(1, log(n, 1000))
            site.settle()
            n += 1
        assert manager.stats()["subscribers"] == 1
        manager.finish_run(1, {"complete": True})
        wait_until(lambda: site.connections == 0)
    with Stream(serve().port, last_event_id="0") as resumed:
        resumed.receive_event("complete")
        assert [event.seq for event in resumed.events] == list(range(1, n + 2))


def holds_on(site: Site) -> bool:
    """Whether the server holds something for a client, longer than TCP takes to look for room at its end."""
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if not any(site.unsent):
            return False
        time.sleep(0.005)
    return True


@pytest.mark.parametrize("handoff", [False], indirect=True)
def test_one_who_stops_reading_leaves_nothing_when_the_response_is_cancelled(manager: RunManager, serve: Serve) -> None:
    """By a middleware with a timeout: the server closes the connection, and would wait for what was not taken."""
    tasks: list[asyncio.Task[Any]] = []
    app = make_app(manager)

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        if scope["type"] == "http" and task is not None:
            tasks.append(task)
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    site = serve(noting, send_buffer=SMALL)
    with stall(manager, site):
        site.call(tasks[-1].cancel)
        wait_until(lambda: site.connections == 0)
        wait_for_subscribers(manager, 0)
    # The server sees that the response has no end.
    site.complaints.clear()


def test_a_middleware_that_gives_the_request_again_and_again_holds_up_nobody(manager: RunManager, serve: Serve) -> None:
    """It tells of nobody who leaves: then the next event does."""
    app = make_app(manager)

    async def replaying(scope: Any, receive: Any, send: Any) -> None:
        async def again() -> Any:
            return request

        if scope["type"] == "http":
            request, receive = await receive(), again
        await app(scope, receive, send)

    site = serve(replaying)
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        manager.publish(1, log(0))
        stream.receive_event(n=0)
        assert site.client.get("/health").json() == {"status": "ok"}
        site.client.close()
    wait_until(lambda: site.connections == 0)
    manager.publish(1, log(1))
    wait_for_subscribers(manager, 0)


def test_one_who_reads_slowly_is_not_dropped(manager: RunManager, serve: Serve) -> None:
    """As long as each chunk is taken within the timeout, however long all of them take."""
    site = serve(send_timeout=1.5, send_buffer=SMALL)
    with Stream(site.port, receive_buffer=SMALL) as stream:
        stream.receive_until(lambda stream: stream.frames)
        for n in range(50):
            manager.publish(1, log(n, LARGE))
        manager.finish_run(1, {"complete": True})
        while not stream.is_whole:
            assert stream.receive(20_000)
        assert [event.seq for event in stream.events] == list(range(1, 52))


@pytest.mark.parametrize("loop", LOOPS)
def test_little_is_held_for_one_who_does_not_read(manager: RunManager, serve: Serve, loop: str) -> None:
    """A chunk of 64 KiB and its frame in HTTP, however much is published."""
    site = serve(loop=loop, send_buffer=SMALL)
    with stall(manager, site):
        for n in range(500):
            manager.publish(1, log(n, LARGE))
            # Nothing is held for a moment when the system has taken a chunk after all.
            assert max(site.unsent, default=0) <= (64 << 10) + 100
        # The streams wait to send. Nothing else waits for them, least of all the publisher.
        assert site.client.get("/health").json() == {"status": "ok"}


def test_one_who_does_not_read_gets_a_gap_when_it_reads_again(serve: Serve) -> None:
    manager = RunManager(history=10)
    manager.open_run(1)
    site = serve(make_app(manager), send_buffer=SMALL)
    with Stream(site.port, receive_buffer=SMALL) as stream:
        stream.receive_until(lambda stream: stream.frames)
        while not any(site.unsent):
            manager.publish(1, log(0, LARGE))
        # On the server's own loop, so that it can send nothing meanwhile.
        site.call(lambda: [manager.publish(1, log(n, LARGE)) for n in range(20)])
        manager.finish_run(1, {"complete": True})
        stream.receive_event("complete")
        covered = [seq for event in stream.events for seq in event.seqs]
        assert covered == list(range(1, len(covered) + 1))
        assert any(event.event == "gap" for event in stream.events)
