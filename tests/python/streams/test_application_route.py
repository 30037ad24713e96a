"""The log views of the GenGlossary application: over its own route as it is, and over the new one of its guide."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from application.support import Pipeline, add_run, join, set_status, texts
from core.support import wait_until
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from genglossary.api import Project, create_app
from genglossary.db.schema import create_tables
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager
from genglossary_runs.sse import drain_on_shutdown, run_stream

from .conftest import Serve
from .servers import Site
from .support import Frame, Stream, documented

RUNS = "/projects/demo/runs"
LOGS = f"{RUNS}/1/logs"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with an empty database."""
    path = tmp_path / "genglossary.db"
    create_tables(path)
    return Project(str(path))


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """The scripted pipeline, which ends with the test."""
    pipeline = Pipeline(monkeypatch)
    yield pipeline
    pipeline.release.set()


@pytest.fixture
def application(project: Project) -> FastAPI:
    """The application as it is."""
    return create_app({"demo": project})


@pytest.fixture
def manager(application: FastAPI, project: Project) -> Iterator[RunManager]:
    """The manager that its routes use."""
    manager: RunManager = application.state.managers.get(project)
    yield manager
    if manager._thread is not None:
        join(manager._thread)


@pytest.fixture
def site(application: FastAPI, manager: RunManager, serve: Serve, pipeline: Pipeline) -> Iterator[Site]:
    """A server of the application with the guide's route in place of its own."""
    router = APIRouter(prefix=RUNS)
    names = {"router": router, "get_run_manager": lambda: manager, "run_stream": run_stream, "RunManager": RunManager}
    names |= {"Depends": Depends, "HTTPException": HTTPException, "Request": Request, "Response": Response}
    exec(documented("guides/genglossary.md", "stream_run_logs"), names)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_shutdown():
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(router)
    app.mount("/", application)
    yield serve(app)
    pipeline.release.set()


def says(count: int, pipeline: Pipeline, manager: RunManager) -> Callable[[Job], None]:
    """A pipeline that, as soon as somebody reads, says so many things, and ends once it is released."""

    def work(job: Job) -> None:
        wait_until(lambda: manager.stats()["subscribers"])
        for number in range(count):
            job.log(f"用語 {number}", progress_current=number)
        assert pipeline.release.wait(60)

    return work


def start(site: Site) -> None:
    site.client.post(RUNS, json={}).raise_for_status()


def lines(events: list[Frame]) -> list[str]:
    """The lines that a page shows of these."""
    return texts([event.json for event in events if event.event is None])


# As it is


def test_the_unmodified_route_works_as_before(
    application: FastAPI, manager: RunManager, serve: Serve, pipeline: Pipeline
) -> None:
    site = serve(application)
    pipeline.does(says(100, pipeline, manager))
    start(site)
    with Stream(site.port, LOGS) as page:
        page.receive_until(lambda page: len(page.events) == 100)
        pipeline.release.set()
        page.receive_until(lambda page: page.is_whole)
        *messages, terminal = page.events
        assert lines(messages) == [f"用語 {number}" for number in range(100)]
        assert terminal == Frame(event="complete", data="{}")
    # The first of them in this process to hold up its loop has been told so.
    assert all("blocking get()" in complaint for complaint in site.complaints)
    site.complaints.clear()


# With the guide's route


def test_the_new_route_sends_what_the_page_listens_to(site: Site, manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.does(says(100, pipeline, manager))
    start(site)
    with Stream(site.port, LOGS) as page:
        page.receive_until(lambda page: len(page.events) == 100)
        pipeline.release.set()
        *messages, terminal = page.receive_until(lambda page: page.is_whole).events
        assert lines(messages) == [f"用語 {number}" for number in range(100)]
        assert messages[7].json == {"run_id": 1, "level": "info", "message": "用語 7", "progress_current": 7}
        assert (terminal.event, terminal.json["db_status"]) == ("complete", "completed")


def test_a_page_that_is_opened_in_the_midst_shows_every_line(
    site: Site, manager: RunManager, pipeline: Pipeline
) -> None:
    pipeline.does(says(10, pipeline, manager))
    start(site)
    with Stream(site.port, LOGS) as first:
        # Only now the pipeline begins to say something.
        first.receive_until(lambda page: len(page.events) == 10)
        with Stream(site.port, LOGS) as late:
            late.receive_until(lambda page: len(page.events) == 10)
            assert lines(late.events) == lines(first.events)
            pipeline.release.set()
            late.receive_event("complete")


def test_a_page_resumes_without_a_line_twice_or_missing(site: Site, manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.does(says(50, pipeline, manager))
    start(site)
    shown: list[Frame] = []
    for count in (10, 20, 20):
        with Stream(site.port, LOGS, last_event_id=shown[-1].id if shown else "0") as page:
            shown += page.receive_until(lambda page, count=count: len(page.events) >= count).events[:count]
    assert lines(shown) == [f"用語 {number}" for number in range(50)]
    pipeline.release.set()
    join(manager._thread)
    with Stream(site.port, LOGS, last_event_id=shown[-1].id) as page:
        terminal = page.receive_event("complete")
    assert site.client.get(LOGS, headers={"Last-Event-ID": terminal.id or ""}).status_code == 204


def test_a_run_without_a_row_is_not_found(site: Site) -> None:
    response = site.client.get(f"{RUNS}/7/logs")
    assert (response.status_code, response.json()) == (404, {"detail": "Run 7 not found"})


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_run_that_finished_long_ago_is_complete_at_once(site: Site, project: Project, status: str) -> None:
    """Nobody here remembers it; its row does."""
    run_id = add_run(project.db_path, status)
    for headers in ({}, {"Last-Event-ID": "123-45"}):
        body = site.client.get(f"{RUNS}/{run_id}/logs", headers=headers).text
        assert "event: complete\n" in body
        assert json.loads(body.partition("data: ")[2].partition("\n")[0])["db_status"] == status


def test_a_deleted_run_is_followed_until_it_has_stopped(
    site: Site, manager: RunManager, project: Project, pipeline: Pipeline
) -> None:
    """Its row says that it is finished before it is."""

    def work(job: Job) -> None:
        wait_until(lambda: manager.stats()["subscribers"])
        wait_until(job.context.cancel_event.is_set)
        set_status(project.db_path, 1, "cancelled")
        assert pipeline.release.wait(60)
        job.log("stopping")
        job.check_cancelled()

    pipeline.does(work)
    start(site)
    # A run that is cancelled before its pipeline begins never says that it stops.
    pipeline.wait_until_running()
    with Stream(site.port, LOGS) as first:
        first.receive_until(lambda page: page.frames)
        assert site.client.delete(f"{RUNS}/1").json()["status"] == "cancelled"
        with Stream(site.port, LOGS) as late:
            late.receive_until(lambda page: page.frames)
            pipeline.release.set()
            for page in (first, late):
                assert page.receive_event("complete").json["db_status"] == "cancelled"
                # Before it the request may have said that the row was finished already.
                assert "stopping" in lines(page.events)


def test_log_views_leave_the_server_free(site: Site, manager: RunManager, pipeline: Pipeline) -> None:
    """One used to hold up every other request for seconds; here each page waits for what others ask for."""
    pipeline.does(says(1, pipeline, manager))
    start(site)
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        pages = [stack.enter_context(Stream(site.port, f"{LOGS}?last_event_id=0")) for _ in range(20)]
        for page in pages:
            page.receive_until(lambda page: page.events)

        def current(_: Any) -> str:
            status: str = site.client.get(f"{RUNS}/current").json()["status"]
            return status

        assert list(pool.map(current, range(40))) == ["running"] * 40
        pipeline.release.set()
        for page in pages:
            page.receive_event("complete")
    wait_until(lambda: manager.stats()["subscribers"] == 0)
