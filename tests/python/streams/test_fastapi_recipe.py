"""FastAPI's own server-sent events over the same subscriptions: the recipe of the guide, for those who prefer it."""

import pytest
from core.support import Background, wait_until
from fastapi import FastAPI, Request, Response
from genglossary_runs import RunManager
from genglossary_runs.sse import run_stream
from httpx_sse import connect_sse

from .conftest import Serve
from .servers import LOOPS, Site
from .support import EVENTS, Frame, Stream, documented, log


@pytest.fixture
def manager() -> RunManager:
    """A manager with run "1" open: the ids of the recipe are texts, as a runner's are."""
    manager = RunManager()
    manager.open_run("1")
    return manager


def make_recipe(manager: RunManager) -> FastAPI:
    """An application with the route of the recipe."""
    app = FastAPI()
    exec(documented("guides/streams.md", "EventSourceResponse"), {"app": app, "manager": manager})
    return app


@pytest.fixture(params=LOOPS)
def site(request: pytest.FixtureRequest, manager: RunManager, serve: Serve) -> Site:
    """A server of the recipe."""
    return serve(make_recipe(manager), loop=request.param)


def follow(port: int, last_event_id: str | None = None) -> list[Frame]:
    """The events of the whole stream."""
    with Stream(port, last_event_id=last_event_id) as stream:
        return stream.receive_until(lambda stream: stream.is_whole).events


def test_it_sends_what_run_stream_sends(manager: RunManager, serve: Serve, site: Site) -> None:
    for n in range(5):
        manager.publish("1", {**log(n), "message": "用語\n"})
    manager.finish_run("1", {"complete": True, "db_status": "completed"})
    app = FastAPI()

    @app.get(EVENTS)
    async def stream_run(request: Request) -> Response:
        return run_stream(manager, "1", request)

    recipe, ours = follow(site.port, "0"), follow(serve(app).port, "0")
    assert [(frame.event, frame.id, frame.json) for frame in recipe] == [
        (frame.event, frame.id, frame.json) for frame in ours
    ]
    assert [frame.event for frame in recipe] == [None] * 5 + ["complete"]


def test_a_client_gets_what_is_published_meanwhile(manager: RunManager, site: Site) -> None:
    def publish() -> None:
        wait_until(lambda: manager.stats()["subscribers"] == 1)
        for n in range(100):
            manager.publish("1", log(n))
        manager.finish_run("1", {"complete": True})

    publisher = Background(publish)
    with connect_sse(site.client, "GET", EVENTS) as stream:
        *messages, terminal = list(stream.iter_sse())
    publisher.result()
    assert [message.json()["n"] for message in messages] == list(range(100))
    assert terminal.event == "complete"


def test_a_client_resumes(manager: RunManager, site: Site) -> None:
    ids = [manager.publish("1", log(n)) for n in range(5)]
    manager.finish_run("1", {"complete": True})
    *rest, terminal = follow(site.port, ids[2])
    assert [event.id for event in rest] == ids[3:]
    assert site.client.get(EVENTS, headers={"Last-Event-ID": terminal.id or ""}).status_code == 204


def test_a_client_is_told_of_a_gap(serve: Serve) -> None:
    manager = RunManager(history=3)
    manager.open_run("1")
    for n in range(10):
        manager.publish("1", log(n))
    manager.finish_run("1", {"complete": True})
    gap, *rest = follow(serve(make_recipe(manager)).port, "0")
    assert (gap.event, gap.id, gap.json["gap"]["missed"]) == ("gap", None, 8)
    assert [event.seq for event in rest] == [9, 10, 11]


def test_a_client_that_leaves_leaves_nothing(manager: RunManager, site: Site) -> None:
    """While nothing is sent: FastAPI logs an error of its own where a client leaves while something is."""
    for n in range(5):
        with Stream(site.port, last_event_id="0") as stream:
            manager.publish("1", log(n))
            stream.receive_event(n=n)
            assert manager.stats()["subscribers"] == 1
        wait_until(lambda: manager.stats()["subscribers"] == 0)
