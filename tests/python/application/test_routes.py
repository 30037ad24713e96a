"""The manager behind the application's routes, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from genglossary.api import Project, create_app
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager

from .support import DEADLINE, Pipeline, add_run, join, log, row, terms, wait_for

RUNS = "/projects/demo/runs"


class Site:
    """The application on 127.0.0.1, and a client of it."""

    def __init__(self, db_path: str) -> None:
        self.project = Project(db_path)
        self.app = create_app({"demo": self.project})
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "Site":
        self._thread.start()
        wait_for(lambda: self._server.started, "the server")
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE, trust_env=False)
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()
        self._server.should_exit = True
        join(self._thread)

    @property
    def manager(self) -> RunManager:
        """The manager that the routes use now."""
        manager: RunManager = self.app.state.managers.get(self.project)
        return manager


@pytest.fixture
def site(db_path: str, pipeline: Pipeline) -> Iterator[Site]:
    """The running application."""
    with Site(db_path) as running:
        yield running
        pipeline.release.set()
        if running.manager._thread is not None:
            join(running.manager._thread)


def events(body: str) -> list[Any]:
    """The frames of an SSE body: the JSON of each `data:`, and "complete" for that event; without keepalives."""
    found = []
    for frame in body.split("\n\n"):
        if frame == "event: complete\ndata: {}":
            found.append("complete")
        elif frame.startswith("data: "):
            found.append(json.loads(frame.removeprefix("data: ")))
        else:
            assert frame in ("", ": keepalive")
    return found


# Start


def test_post_starts_a_run(site: Site, db_path: str) -> None:
    response = site.client.post(RUNS, json={"scope": "full"})
    assert response.status_code == 201
    assert (response.json()["id"], response.json()["scope"]) == (1, "full")
    wait_for(lambda: row(db_path, 1)["status"] == "completed")


def test_post_beside_an_active_run_is_a_conflict(site: Site, db_path: str, pipeline: Pipeline) -> None:
    pipeline.holds()
    site.client.post(RUNS, json={})
    response = site.client.post(RUNS, json={})
    assert (response.status_code, response.json()) == (409, {"detail": "Run already running: 1"})


def test_post_while_a_deleted_run_is_still_stopping_is_a_conflict(site: Site, pipeline: Pipeline) -> None:
    pipeline.holds()
    site.client.post(RUNS, json={})
    pipeline.wait_until_running()
    site.client.delete(f"{RUNS}/1")
    response = site.client.post(RUNS, json={})
    detail = "Run already running: 1 (cancelled, still stopping)"
    assert (response.status_code, response.json()) == (409, {"detail": detail})


def test_post_after_a_change_of_settings_while_a_deleted_run_is_still_stopping_is_a_conflict(
    site: Site, pipeline: Pipeline
) -> None:
    """No row is active, so the application makes a new manager."""
    pipeline.holds()
    site.client.post(RUNS, json={})
    pipeline.wait_until_running()
    old = site.manager
    site.client.delete(f"{RUNS}/1")
    site.project.llm_model = "another"
    response = site.client.post(RUNS, json={})
    assert site.manager is not old
    assert (response.status_code, len(pipeline.jobs)) == (409, 1)
    pipeline.release.set()
    join(old._thread)


def test_a_manager_is_replaced_only_when_the_settings_changed_and_no_run_is_active(
    site: Site, pipeline: Pipeline
) -> None:
    first = site.manager
    assert site.manager is first
    pipeline.holds()
    site.client.post(RUNS, json={})
    site.project.llm_model = "another"
    assert site.manager is first
    pipeline.release.set()
    join(first._thread)
    assert site.manager is not first
    assert site.manager.llm_model == "another"


# Upload


def test_an_upload_starts_an_extraction(site: Site, db_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the stand-in's own pipeline
    response = site.client.post("/projects/demo/files", json=[{"name": "a.txt", "content": "glossary of terms"}])
    assert response.json() == {"document_ids": [1], "extraction": 1}
    wait_for(lambda: row(db_path, 1)["status"] == "completed")
    assert (row(db_path, 1)["scope"], row(db_path, 1)["triggered_by"]) == ("extract", "auto")
    assert terms(db_path) == ["glossary", "terms"]


def test_an_upload_beside_an_active_run_skips_the_extraction(site: Site, pipeline: Pipeline) -> None:
    pipeline.holds()
    site.client.post(RUNS, json={})
    response = site.client.post("/projects/demo/files", json=[{"name": "a.txt", "content": "text"}])
    assert (response.status_code, response.json()["extraction"]) == (201, "skipped")


# Show and cancel


def test_current_run(site: Site, pipeline: Pipeline) -> None:
    assert site.client.get(f"{RUNS}/current").status_code == 404
    pipeline.holds()
    site.client.post(RUNS, json={})
    pipeline.wait_until_running()
    assert site.client.get(f"{RUNS}/current").json()["status"] == "running"


def test_delete_cancels_the_run(site: Site, db_path: str, pipeline: Pipeline) -> None:
    pipeline.asks_model()
    site.client.post(RUNS, json={})
    job = pipeline.wait_until_running()
    response = site.client.delete(f"{RUNS}/1")
    assert response.json()["status"] == "cancelled"
    join(site.manager._thread)
    assert job.executor.closed
    assert row(db_path, 1)["status"] == "cancelled"
    assert row(db_path, 1)["error_message"] is None


def test_delete_of_a_finished_run_changes_nothing(site: Site, db_path: str) -> None:
    site.client.post(RUNS, json={})
    wait_for(lambda: row(db_path, 1)["status"] == "completed")
    assert site.client.delete(f"{RUNS}/1").json()["status"] == "completed"


# Logs


def test_logs_without_a_row(site: Site) -> None:
    assert site.client.get(f"{RUNS}/1/logs").status_code == 404


def test_logs_of_a_finished_row_are_complete_at_once(site: Site, db_path: str) -> None:
    run_id = add_run(db_path, "failed")
    response = site.client.get(f"{RUNS}/{run_id}/logs")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text == "event: complete\ndata: {}\n\n"
    assert run_id not in site.manager._subscribers


def test_logs_of_a_run_from_its_start_to_its_end(site: Site, pipeline: Pipeline) -> None:
    messages = [f"用語 {number}" for number in range(100)]

    manager = site.manager

    def work(job: Job) -> None:
        wait_for(lambda: 1 in manager._subscribers, "the route to register")
        job.log("開始")
        # Once the route has sent this, it has also seen that the row is not finished yet.
        assert pipeline.release.wait(DEADLINE)
        for message in messages:
            job.log(message)

    pipeline.does(work)
    site.client.post(RUNS, json={})
    with site.client.stream("GET", f"{RUNS}/1/logs") as response:
        lines = response.iter_lines()
        first = next(line for line in lines if line.startswith("data: "))
        pipeline.release.set()
        body = "\n".join(lines)
    assert json.loads(first.removeprefix("data: ")) == log(1, "開始")
    assert events(body.lstrip("\n") + "\n") == [*(log(1, message) for message in messages), "complete"]
    assert 1 not in manager._subscribers


def test_an_idle_stream_says_that_it_is_alive(site: Site, pipeline: Pipeline) -> None:
    pipeline.holds()
    site.client.post(RUNS, json={})
    pipeline.wait_until_running()
    with site.client.stream("GET", f"{RUNS}/1/logs") as response:
        lines = response.iter_lines()
        assert next(lines) == ": keepalive"
        pipeline.release.set()
        assert "event: complete" in list(lines)


def test_a_stream_of_a_deleted_run_ends_with_it(site: Site, pipeline: Pipeline) -> None:
    """The route sees the row finished as soon as it registers, though the run is still stopping."""
    pipeline.holds()
    site.client.post(RUNS, json={})
    pipeline.wait_until_running()
    site.client.delete(f"{RUNS}/1")
    assert events(site.client.get(f"{RUNS}/1/logs").text) == ["complete"]


def test_nothing_is_left_of_a_client_that_went_away(site: Site, pipeline: Pipeline) -> None:
    """The ticket this project began with. The route notices no sooner than at the end of the run."""

    def work(job: Job) -> None:
        while not pipeline.release.wait(0.05):
            job.log("working")

    pipeline.does(work)
    site.client.post(RUNS, json={})
    pipeline.wait_until_running()
    with site.client.stream("GET", f"{RUNS}/1/logs") as response:
        assert next(response.iter_lines()).startswith("data: ")
    pipeline.release.set()
    manager = site.manager
    join(manager._thread)
    assert 1 not in manager._subscribers
    stats = manager.stats()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["subscribers"]) == (0, 0, 0)
