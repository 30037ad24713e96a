"""Streams that begin after their server has begun to stop."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import hypercorn.asyncio
import pytest
from core.support import DEADLINE, wait_until
from fastapi import FastAPI, Request, Response
from genglossary_runs import RunManager
from genglossary_runs.sse import run_stream, stats

from .servers import PROTOCOLS, Site, listen
from .support import EVENTS, Stream, is_hint

LATE = "/late"
"""The path of a stream whose route answers when it may."""


class Routes:
    """An application with a stream at once and a late one."""

    def __init__(self, manager: RunManager, handoff: bool) -> None:
        self.app = FastAPI()
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

        @self.app.get(EVENTS)
        async def stream_run(request: Request) -> Response:
            return run_stream(manager, 1, request, handoff=handoff)

        @self.app.get(LATE)
        async def stream_late(request: Request) -> Response:
            self.is_asked.set()
            await asyncio.to_thread(self.may_answer.wait)
            return run_stream(manager, 1, request, handoff=handoff)

    def ask(self, stream: Stream) -> None:
        """Wait until the late route is busy for this client."""
        assert self.is_asked.wait(DEADLINE)
        assert not stream.raw


@pytest.fixture(params=[True, False], ids=["handed-over", "asgi"])
def routes(request: pytest.FixtureRequest, manager: RunManager) -> Iterator[Routes]:
    """The application; nobody of its clients is left when it ends."""
    routes = Routes(manager, request.param)
    yield routes
    wait_until(lambda: manager.stats()["subscribers"] == 0 and stats()["handed_over"] == 0)


def receive_hint(stream: Stream) -> None:
    """Read to the end, which says when to come back."""
    stream.receive_all()
    assert stream.is_whole
    assert is_hint(stream.frames[-1])


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"], ids=["keep-alive", "close"])
@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize("earlier", [0, 1])
def test_uvicorn_never_stopped_for_a_stream_that_began_late(
    routes: Routes, earlier: int, http: str, headers: str
) -> None:
    """Whether or not others have told it that the server can hand streams over."""
    with Site(routes.app, http=http) as site:
        streams = [Stream(site.port) for _ in range(earlier)]
        for stream in streams:
            stream.receive_until(lambda stream: stream.frames)
        with Stream(site.port, LATE, headers=headers) as late:
            routes.ask(late)
            site.begin_to_stop()
            routes.may_answer.set()
            receive_hint(late)
        for stream in streams:
            with stream:
                receive_hint(stream)


def test_hypercorn_kept_a_stream_that_began_late(routes: Routes) -> None:
    config = hypercorn.Config()
    listener = listen(None)
    port = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(hypercorn.asyncio.serve(routes.app, config, shutdown_trigger=stop.wait))
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with Stream(port) as early, Stream(port, LATE) as late:
        early.receive_until(lambda stream: stream.frames)
        routes.ask(late)
        loop.call_soon_threadsafe(stop.set)
        receive_hint(early)
        routes.may_answer.set()
        receive_hint(late)
    thread.join(DEADLINE)
    assert not thread.is_alive()
