"""`run_stream` over HTTP: what its docstring promises."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import httpx
import pytest
from core.support import Background, wait_until
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from genglossary_runs import RunManager, UnknownRunError
from genglossary_runs.sse import RunStream, run_stream
from httpx_sse import ServerSentEvent, connect_sse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from .conftest import Serve
from .servers import LOOPS, PROTOCOLS, Site, make_app
from .support import EVENTS, Frame, Stream, is_hint, log


@pytest.fixture
def site(serve: Serve) -> Site:
    """A server of the manager's runs, with the defaults of `run_stream`."""
    return serve()


def follow(site: Site, last_event_id: str | None = None, path: str = EVENTS) -> list[ServerSentEvent]:
    """What a client gets from connecting to the end of the stream, without `retry:`."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id.encode()}
    with connect_sse(site.client, "GET", path, headers=headers) as stream:
        stream.response.raise_for_status()
        return [event for event in stream.iter_sse() if event.data]


def ids(manager: RunManager, count: int) -> list[str]:
    """Publish `count` numbered messages in run 1; their ids."""
    found = [manager.publish(1, log(n)) for n in range(count)]
    assert all(found)
    return [id for id in found if id is not None]


# What is sent


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_gets_all_of_a_run(manager: RunManager, serve: Serve, loop: str, http: str) -> None:
    site = serve(loop=loop, http=http)

    def publish() -> list[str]:
        wait_until(lambda: manager.stats()["subscribers"] == 1)
        published = ids(manager, 500)
        manager.finish_run(1, {"run_id": 1, "complete": True, "db_status": "completed"})
        return published

    publisher = Background(publish)
    *messages, terminal = follow(site)
    assert [message.id for message in messages] == publisher.result()
    assert [message.event for message in messages] == ["message"] * 500
    assert [message.json() for message in messages] == [log(n) for n in range(500)]
    assert terminal.event == "complete"
    assert terminal.json() == {"run_id": 1, "complete": True, "db_status": "completed"}
    assert terminal.id == messages[-1].id.replace("-500", "-501")


def test_the_head_and_retry_arrive_before_any_event(site: Site) -> None:
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        assert stream.status == 200
        (hint,) = stream.frames
        assert is_hint(hint)


def test_retry_may_be_another(serve: Serve) -> None:
    with Stream(serve(retry=0).port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        assert stream.frames == [Frame(retry="0")]


def test_the_headers_keep_proxies_from_buffering_and_caching(manager: RunManager, site: Site) -> None:
    manager.finish_run(1, {"complete": True})
    headers = site.client.get(EVENTS).headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers


@pytest.mark.parametrize("name", ["Cache-Control", "cache-control"])
def test_there_may_be_more_headers_and_others(manager: RunManager, serve: Serve, name: str) -> None:
    manager.finish_run(1, {"complete": True})
    headers = serve(headers={name: "no-store", "X-Run": "1"}).client.get(EVENTS).headers
    assert headers.get_list("cache-control") == ["no-store"]
    assert (headers["x-run"], headers["x-accel-buffering"]) == ("1", "no")


def test_a_heartbeat_shows_that_the_stream_is_alive(serve: Serve) -> None:
    with Stream(serve(heartbeat=0.02).port) as stream:
        stream.receive_until(lambda stream: len(stream.frames) > 3)
        assert all(frame.comment is not None for frame in stream.frames[1:])


def test_texts_arrive_as_they_were(manager: RunManager, site: Site) -> None:
    text = "用語「ログ」\r\n\n\x00\u2028 data: x\n\nid: 9-9 😀"
    manager.publish(1, {"message": text})
    manager.finish_run(1, {"complete": True})
    assert follow(site, "0")[0].json() == {"message": text}


def test_one_who_falls_behind_is_told_of_the_gap(serve: Serve) -> None:
    manager = RunManager(history=3)
    manager.open_run(1)
    site = serve(make_app(manager))
    published = ids(manager, 10)
    manager.finish_run(1, {"complete": True})
    gap, *rest = follow(site, published[1])
    assert (gap.event, gap.json()["gap"]) == ("gap", {"from": 3, "to": 8, "missed": 6})
    assert gap.json()["level"] == "warning"
    assert [event.id for event in rest[:2]] == published[8:]
    # It has no id of its own, so that what a browser sends back is that of the last event before it.
    with Stream(site.port, last_event_id=published[1]) as stream:
        assert stream.receive_event("gap").id is None


# Where a stream begins


def test_without_a_word_it_begins_with_what_is_new(manager: RunManager, site: Site) -> None:
    ids(manager, 3)
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        manager.publish(1, log(3))
        assert stream.receive_event() == stream.events[0]
        assert stream.events[0].json["n"] == 3


def test_replay_begins_with_the_oldest(manager: RunManager, serve: Serve) -> None:
    published = ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    assert [event.id for event in follow(serve(replay=True))[:-1]] == published


def test_replay_gives_way_to_an_id(manager: RunManager, serve: Serve) -> None:
    published = ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    assert [event.id for event in follow(serve(replay=True), published[1])[:-1]] == published[2:]


def test_a_client_goes_on_behind_the_id_in_its_header(manager: RunManager, site: Site) -> None:
    published = ids(manager, 4)
    manager.finish_run(1, {"complete": True})
    for count, last in enumerate(published, start=1):
        assert [event.id for event in follow(site, last)[:-1]] == published[count:]


def test_a_page_sends_the_id_in_the_query_with_its_first_connection(manager: RunManager, site: Site) -> None:
    published = ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    path = f"{EVENTS}?last_event_id={published[0]}"
    assert [event.id for event in follow(site, path=path)[:-1]] == published[1:]
    # When it reconnects, its query is still there, but the header is newer.
    assert [event.id for event in follow(site, published[1], path=path)[:-1]] == published[2:]


def test_an_id_of_another_life_begins_with_the_oldest(manager: RunManager, site: Site) -> None:
    published = ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    for last in ("0", "123-1", "nonsense", "-", "99999999999999999999-1", "用語"):
        assert [event.id for event in follow(site, last)[:-1]] == published


def test_an_argument_wins_over_the_request(manager: RunManager, serve: Serve) -> None:
    published = ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    assert [event.id for event in follow(serve(last_event_id=published[1]), published[0])[:-1]] == published[2:]


def test_it_does_without_a_request(manager: RunManager, serve: Serve) -> None:
    published = ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    app = FastAPI()
    app.get(EVENTS)(lambda: run_stream(manager, 1, last_event_id="0"))
    assert [event.id for event in follow(serve(app), published[1])[:-1]] == published


# Where it ends


def test_one_who_comes_after_the_end_gets_the_outcome(manager: RunManager, site: Site) -> None:
    ids(manager, 3)
    manager.finish_run(1, {"complete": True, "db_status": "failed"})
    (terminal,) = follow(site)
    assert (terminal.event, terminal.json()) == ("complete", {"complete": True, "db_status": "failed"})


def test_one_who_had_everything_is_told_to_stop(manager: RunManager, site: Site) -> None:
    ids(manager, 3)
    manager.finish_run(1, {"complete": True})
    terminal = follow(site, "0")[-1]
    response = site.client.get(EVENTS, headers={"Last-Event-ID": terminal.id})
    assert (response.status_code, response.content) == (204, b"")
    # Nor is there anything to add for a client that names it by its query.
    assert site.client.get(EVENTS, params={"last_event_id": terminal.id}).status_code == 204


def test_a_connection_lives_on_after_a_stream(manager: RunManager, site: Site) -> None:
    manager.finish_run(1, {"complete": True})
    for _ in range(3):
        assert len(follow(site)) == 1
        assert site.client.get("/health").json() == {"status": "ok"}
    assert site.connections == 1


def test_a_run_that_nobody_knows_is_waited_for(site: Site, manager: RunManager) -> None:
    with Stream(site.port, "/runs/2/events") as stream:
        stream.receive_until(lambda stream: stream.frames)
        manager.open_run(2)
        manager.publish(2, log(0))
        manager.finish_run(2, {"complete": True})
        stream.receive_event("complete")
        assert [event.seq for event in stream.events] == [1, 2]


@pytest.mark.parametrize("must_exist", [False, True])
def test_a_page_that_comes_back_to_a_forgotten_run_does_not_wait(serve: Serve, must_exist: bool) -> None:
    """Its id shows that the run has been, though retention has evicted it."""
    manager = RunManager(retained_runs=0)
    manager.open_run(1)
    last = manager.publish(1, log(0))
    manager.finish_run(1, {"complete": True})
    site = serve(make_app(manager, must_exist=must_exist))
    assert last is not None
    for last_event_id in (last, f" {last} "):
        (terminal,) = follow(site, path=f"{EVENTS}?last_event_id={last_event_id}")
        assert terminal.event == "complete"
        assert terminal.json() == {"run_id": 1, "complete": True, "status": "unknown"}
    assert manager.stats()["subscribers"] == 0


def test_no_common_client_gets_an_empty_event(manager: RunManager, serve: Serve) -> None:
    """An empty line after a comment or `retry:` is one to httpx-sse, and parsing its data as JSON fails."""
    site = serve(replay=True, heartbeat=0.05)
    ids(manager, 2)
    with connect_sse(site.client, "GET", EVENTS) as stream:
        data = []
        for event in stream.iter_sse():
            data.append(event.json())
            if len(data) == 2:
                with Stream(site.port) as other:
                    # Until both have had some heartbeats.
                    other.receive_until(
                        lambda stream: sum(frame.comment == " keepalive" for frame in stream.frames) > 3
                    )
                manager.finish_run(1, {"complete": True})
    assert data == [log(0), log(1), {"complete": True}]


def test_a_run_may_have_to_exist(manager: RunManager, serve: Serve) -> None:
    app = FastAPI()

    @app.get("/runs/{run_id}/events")
    async def stream_run(run_id: int, request: Request) -> Response:
        try:
            return run_stream(manager, run_id, request, must_exist=True)
        except UnknownRunError as error:
            raise HTTPException(404, str(error)) from error

    site = serve(app)
    response = site.client.get("/runs/2/events")
    assert response.status_code == 404
    assert "run 2" in response.json()["detail"]
    assert manager.stats()["subscribers"] == 0
    manager.finish_run(1, {"complete": True})
    assert len(follow(site)) == 1


def test_a_number_that_no_run_can_have_is_unknown(manager: RunManager) -> None:
    for run_id in (2**63, -(2**63) - 1, 10**30):
        with pytest.raises(UnknownRunError, match=f"run {run_id} is unknown"):
            run_stream(manager, run_id)


@pytest.mark.parametrize(
    "options", [{"retry": -1}, {"send_timeout": 0}, {"send_timeout": -1}, {"heartbeat": 0}, {"heartbeat": -1}]
)
def test_options_out_of_their_bounds_are_refused(manager: RunManager, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        run_stream(manager, 1, **options)
    assert manager.stats()["subscribers"] == 0


# In the house of others


def test_a_head_request_gets_the_headers_and_leaves_nothing(manager: RunManager, serve: Serve) -> None:
    async def stream_run(request: Request) -> Response:
        return run_stream(manager, 1, request)

    site = serve(Starlette(routes=[Route(EVENTS, stream_run)]))
    response = site.client.head(EVENTS)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    wait_until(lambda: manager.stats()["subscribers"] == 0)


@pytest.mark.parametrize("http", PROTOCOLS)
def test_gzip_does_not_swallow_the_stream(manager: RunManager, serve: Serve, http: str) -> None:
    app = make_app(manager)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    with Stream(serve(app, http=http).port, headers="Accept-Encoding: gzip\r\n") as stream:
        stream.receive_until(lambda stream: stream.frames)
        for n in range(5):
            manager.publish(1, log(n, 1000))
            stream.receive_event(n=n)
        assert b"gzip" not in stream.raw


def test_middleware_that_relays_the_response_passes_each_event_on(manager: RunManager, serve: Serve) -> None:
    app = make_app(manager)

    async def relay(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["X-Relayed"] = "yes"
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=relay)
    with Stream(serve(app).port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        assert b"x-relayed: yes" in stream.raw.lower()
        for n in range(5):
            manager.publish(1, log(n))
            stream.receive_event(n=n)
    wait_until(lambda: manager.stats()["subscribers"] == 0)


def test_a_route_that_is_no_coroutine_may_answer_with_it(manager: RunManager, serve: Serve) -> None:
    app = FastAPI()

    @app.get(EVENTS)
    def stream_run(request: Request) -> Response:
        return run_stream(manager, 1, request)

    with Stream(serve(app).port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        manager.publish(1, log(0))
        stream.receive_event(n=0)


def test_dependencies_live_as_long_as_the_stream_and_background_tasks_follow(manager: RunManager, serve: Serve) -> None:
    app = FastAPI()
    steps: list[str] = []

    def resource() -> Iterator[str]:
        steps.append("opened")
        yield "resource"
        steps.append("closed")

    @app.get(EVENTS)
    async def stream_run(
        request: Request, background: BackgroundTasks, resource: Annotated[str, Depends(resource)]
    ) -> Response:
        background.add_task(steps.append, "background")
        return run_stream(manager, 1, request)

    site = serve(app)
    with Stream(site.port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        assert steps == ["opened"]
        manager.finish_run(1, {"complete": True})
        stream.receive_until(lambda stream: stream.is_whole)
    wait_until(lambda: len(steps) == 3)
    assert steps == ["opened", "background", "closed"]
    # The same where there is nothing to stream.
    steps.clear()
    response = site.client.get(EVENTS, headers={"Last-Event-ID": stream.events[-1].id or ""})
    assert response.status_code == 204
    wait_until(lambda: len(steps) == 3)


@pytest.mark.parametrize("how", ["complete", "leave"])
def test_its_background_runs_however_the_stream_ended(manager: RunManager, serve: Serve, how: str) -> None:
    ran = threading.Event()
    app = FastAPI()

    @app.get(EVENTS)
    async def stream_run() -> Response:
        response = RunStream(manager.subscribe(1))
        response.background = BackgroundTask(ran.set)
        return response

    with Stream(serve(app).port) as stream:
        stream.receive_until(lambda stream: stream.frames)
        assert not ran.is_set()
        if how == "complete":
            manager.finish_run(1, {"complete": True})
        else:
            stream.socket.close()
        assert ran.wait(60)


def test_a_response_that_is_never_sent_leaves_nothing(manager: RunManager, serve: Serve) -> None:
    app = FastAPI()

    @app.get(EVENTS)
    async def stream_run(request: Request) -> dict[str, int]:
        run_stream(manager, 1, request)
        return {**manager.stats()}

    assert serve(app).client.get(EVENTS).json()["subscribers"] == 0


def test_a_post_may_be_answered_with_a_stream(manager: RunManager, serve: Serve) -> None:
    """As a page does that starts a run and reads it in one request, with a body that is larger than one piece."""
    app = FastAPI()

    @app.post("/runs")
    async def start_run(request: Request) -> Response:
        manager.open_run(2)
        manager.publish(2, {"length": len(await request.body())})
        manager.finish_run(2, {"complete": True})
        return run_stream(manager, 2, replay=True)

    with connect_sse(serve(app).client, "POST", "/runs", content=b"x" * 1_000_000) as stream:
        first, terminal = [event for event in stream.iter_sse() if event.data]
    assert (first.json(), terminal.event) == ({"length": 1_000_000}, "complete")


def test_streams_over_one_manager_and_several_servers(manager: RunManager, serve: Serve) -> None:
    """Each has a loop of its own."""
    sites = [serve(loop=loop) for loop in LOOPS]
    with ThreadPoolExecutor(4) as pool:
        followed = [pool.submit(follow, site) for site in sites * 2]
        wait_until(lambda: manager.stats()["subscribers"] == 4)
        published = ids(manager, 200)
        manager.finish_run(1, {"complete": True})
        for events in followed:
            assert [event.id for event in events.result()[:-1]] == published


def test_the_content_is_json_for_any_client(manager: RunManager, site: Site) -> None:
    """A browser's `EventSource` hands on the data of each event as one line."""
    manager.publish(1, {"level": "info", "nested": {"list": [1, None, "a\nb"]}})
    manager.finish_run(1, {"complete": True})
    body = httpx.get(f"http://127.0.0.1:{site.port}{EVENTS}", headers={"Last-Event-ID": "0"}, trust_env=False).text
    data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    assert [json.loads(line) for line in data] == [
        {"level": "info", "nested": {"list": [1, None, "a\nb"]}},
        {"complete": True},
    ]
