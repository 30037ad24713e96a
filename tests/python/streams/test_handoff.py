"""Handing a stream over to the thread without Python: where it happens, and where it does not."""

import asyncio
import errno
import logging
import os
import resource
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from core.support import DEADLINE, wait_until
from fastapi import BackgroundTasks, FastAPI, Request, Response
from genglossary_runs import RunManager
from genglossary_runs.sse import run_stream, stats
from genglossary_runs.sse.handoff import HandOff
from genglossary_runs.sse.servers.uvicorn import UvicornConnection
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from .conftest import Serve
from .servers import LOOPS, PROTOCOLS, ASGIApp, make_app
from .support import EVENTS, Stream, log


@pytest.fixture(autouse=True)
def handoff() -> None:
    """In place of the fixture by which other tests run both ways: here it is as in production."""


class Decisions(logging.Handler):
    """Notes why streams have stayed with their server."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.obstacles: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (text := record.getMessage()).startswith("A stream of run 1 stays with the server: "):
            self.obstacles.append(text.partition(": ")[2])

    def is_handed_over(self) -> bool:
        """Whether the one stream that has begun is no longer its server's."""
        wait_until(lambda: stats()["handed_over"] or self.obstacles)
        # For a moment it is counted as both.
        wait_until(lambda: stats()["handed_over"] + stats()["asgi"] == 1)
        return not self.obstacles

    def obstacle(self) -> str:
        """Why it has stayed."""
        assert not self.is_handed_over()
        (obstacle,) = self.obstacles
        return obstacle


@pytest.fixture(autouse=True)
def decisions() -> Iterator[Decisions]:
    """Whether streams are handed over, and why not."""
    handler = Decisions()
    logger = logging.getLogger("genglossary_runs.sse")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


# Where it happens: nothing that is in between changes the body


class RequestId:
    """As pure ASGI middleware adds a header."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_id(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", b"7")]
            await send(message)

        await self.app(scope, receive, send_with_id)


class AccessLog:
    """As pure ASGI middleware notes what passes, both ways."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        passed: list[str] = []

        async def receive_noting() -> Any:
            message = await receive()
            passed.append(message["type"])
            return message

        async def send_noting(message: Any) -> None:
            passed.append(message["type"])
            await send(message)

        await self.app(scope, receive_noting, send_noting)


class Relay(BaseHTTPMiddleware):
    """As most applications write a middleware."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["X-Relayed"] = "yes"
        return response


class OtherRelay(Relay):
    """A second one, for it is added once."""


TRANSPARENT: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "nothing": [],
    "CORS": [(CORSMiddleware, {"allow_origins": ["*"]})],
    "request id": [(RequestId, {})],
    "access log": [(AccessLog, {})],
    "BaseHTTPMiddleware": [(Relay, {})],
    "the application's three": [(Relay, {}), (OtherRelay, {}), (CORSMiddleware, {"allow_origins": ["*"]})],
    # It leaves `text/event-stream` alone.
    "GZip": [(GZipMiddleware, {})],
}


def wrapped(manager: RunManager, middleware: list[tuple[Any, dict[str, Any]]], **options: Any) -> FastAPI:
    """The application of the tests in some middleware."""
    app = make_app(manager, replay=True, **options)
    for kind, arguments in middleware:
        app.add_middleware(kind, **arguments)
    return app


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("between", TRANSPARENT)
def test_a_stream_leaves_the_server(
    manager: RunManager, serve: Serve, decisions: Decisions, between: str, loop: str, http: str
) -> None:
    site = serve(wrapped(manager, TRANSPARENT[between]), loop=loop, http=http)
    tasks = site.tasks
    with Stream(site.port, headers="Origin: http://elsewhere\r\nAccept-Encoding: gzip\r\n") as stream:
        assert decisions.is_handed_over()
        # The server has forgotten the connection, and the response its task.
        wait_until(lambda: site.connections == 1)
        wait_until(lambda: site.tasks == tasks)
        for n in range(5):
            manager.publish(1, log(n))
            stream.receive_event(n=n)
        manager.finish_run(1, {"complete": True})
        stream.receive_until(lambda stream: stream.is_whole)
        assert [event.seq for event in stream.events] == list(range(1, 7))
        assert not stream.receive()
    wait_until(lambda: stats()["handed_over"] == 0)
    assert manager.stats()["subscribers"] == 0


@pytest.mark.parametrize("http", PROTOCOLS)
def test_a_request_with_a_body_leaves_the_server_too(
    manager: RunManager, serve: Serve, decisions: Decisions, http: str
) -> None:
    app = FastAPI()

    @app.post(EVENTS)
    async def stream_run(request: Request) -> Response:
        await request.body()
        return run_stream(manager, 1, request)

    site = serve(app, http=http)
    body = "x" * 1000
    with Stream(site.port, method="POST", headers=f"Content-Length: {len(body)}\r\n") as stream:
        stream.socket.sendall(body.encode())
        assert decisions.is_handed_over()


def test_a_stream_that_had_left_was_ended_by_a_cancel_of_the_task_that_began_it(
    manager: RunManager, serve: Serve, decisions: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a middleware that takes its client for gone before the server does."""

    async def forget(connection: UvicornConnection) -> None:
        connection._cycle.disconnected = True
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    monkeypatch.setattr(UvicornConnection, "forget", forget)
    inner = make_app(manager)
    cancelled = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await inner(scope, receive, send)
        except asyncio.CancelledError:
            cancelled.set()

    site = serve(app)
    with Stream(site.port) as stream:
        assert decisions.is_handed_over()
        assert cancelled.wait(DEADLINE)
        manager.publish(1, log(0))
        stream.receive_event(n=0)


# Where it does not


class Compressing:
    """As a middleware that compresses whatever it gets, at once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        compressor = zlib.compressobj(wbits=31)

        async def compress(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-encoding", b"gzip")]
            else:
                body = compressor.compress(message.get("body", b""))
                mode = zlib.Z_SYNC_FLUSH if message.get("more_body") else zlib.Z_FINISH
                message = {**message, "body": body + compressor.flush(mode)}
            await send(message)

        await self.app(scope, receive, compress)


class Appending:
    """As a middleware that adds something to each piece of the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def append(message: Any) -> None:
            if message.get("body"):
                message = {**message, "body": message["body"] + b": end\n"}
            await send(message)

        await self.app(scope, receive, append)


class HoldingBack:
    """As a middleware that waits until it has some bytes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        held = b""

        async def hold(message: Any) -> None:
            nonlocal held
            if message["type"] == "http.response.body":
                held += message.get("body", b"")
                if len(held) < 100 and message.get("more_body"):
                    return
                message, held = {**message, "body": held}, b""
            await send(message)

        await self.app(scope, receive, hold)


class Elsewhere:
    """As a middleware that asks the server from a task of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer() -> None:
            await self.app(scope, receive_elsewhere, send)

        async def receive_elsewhere() -> Any:
            return await asyncio.ensure_future(receive())

        await asyncio.create_task(answer())


OBSTACLES = {
    "compresses": (Compressing, "changed"),
    "appends": (Appending, "changed"),
    "holds back": (HoldingBack, "held back"),
    "hides the server": (Elsewhere, "not known"),
}


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize("between", OBSTACLES)
def test_a_stream_stays_where_something_changes_its_body(
    manager: RunManager, serve: Serve, decisions: Decisions, between: str, http: str
) -> None:
    kind, reason = OBSTACLES[between]
    site = serve(wrapped(manager, [(kind, {})]), http=http)
    with site.client.stream("GET", EVENTS) as response:
        assert reason in decisions.obstacle()
        manager.publish(1, log(0, 200))
        manager.finish_run(1, {"complete": True})
        text = response.read().decode()
    assert text.count("data: ") == 2
    wait_until(lambda: stats()["asgi"] == 0)


@pytest.mark.parametrize("http", PROTOCOLS)
def test_a_stream_stays_with_http_1_0(manager: RunManager, serve: Serve, decisions: Decisions, http: str) -> None:
    site = serve(http=http)
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(f"GET {EVENTS} HTTP/1.0\r\n\r\n".encode())
        assert "HTTP/1.0" in decisions.obstacle()


def test_a_stream_stays_while_another_request_waits(manager: RunManager, serve: Serve, decisions: Decisions) -> None:
    """The server would tell the other one that the connection is lost. With h11 it does not read that far."""
    site = serve(http="httptools")
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        request = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall((request + "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").encode())
        assert "another request" in decisions.obstacle()
        manager.finish_run(1, {"complete": True})
        wait_until(lambda: manager.stats()["subscribers"] == 0)


def test_a_stream_stays_with_its_background_task(manager: RunManager, serve: Serve, decisions: Decisions) -> None:
    app = FastAPI()
    done = threading.Event()

    @app.get(EVENTS)
    async def stream_run(request: Request, background: BackgroundTasks) -> Response:
        background.add_task(done.set)
        return run_stream(manager, 1, request)

    site = serve(app)
    with Stream(site.port) as stream:
        assert "background" in decisions.obstacle()
        manager.finish_run(1, {"complete": True})
        stream.receive_until(lambda stream: stream.is_whole)
        assert done.wait(60)


def test_a_stream_stays_that_is_told_to(manager: RunManager, serve: Serve, decisions: Decisions) -> None:
    site = serve(handoff=False)
    with Stream(site.port) as stream:
        assert "handoff is off" in decisions.obstacle()
        stream.receive_until(lambda stream: stream.frames)


def test_a_stream_stays_with_a_content_length(manager: RunManager, serve: Serve, decisions: Decisions) -> None:
    """Then its body is not in the chunked coding."""
    site = serve(headers={"Content-Length": "1000000"})
    with Stream(site.port) as stream:
        assert "changed" in decisions.obstacle()
        stream.receive_until(lambda stream: stream.has_head)
    wait_until(lambda: manager.stats()["subscribers"] == 0)


@pytest.mark.asyncio
async def test_a_stream_stays_with_an_unknown_server(manager: RunManager, decisions: Decisions) -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    manager.finish_run(1, {"complete": True})
    await run_stream(manager, 1, replay=True)({"type": "http", "method": "GET"}, receive, send)
    assert "its server is not known" in decisions.obstacles[0]
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_stream_stays_where_no_descriptor_is_left(
    manager: RunManager, serve: Serve, decisions: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has its most descriptors open when the socket is to be duplicated."""
    original = HandOff._give_away
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def give_away(*arguments: Any) -> Any:
        free = os.dup(0)
        os.close(free)
        # No number that is the limit or more is given out; those that are open stay so.
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            return original(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    monkeypatch.setattr(HandOff, "_give_away", staticmethod(give_away))
    site = serve()
    with Stream(site.port) as stream:
        assert os.strerror(errno.EMFILE) in decisions.obstacle()
        manager.publish(1, log(0))
        stream.receive_event(n=0)
