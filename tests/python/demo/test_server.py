"""The routes of the demo, asked over loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from httpx_sse import connect_sse

from .support import PATIENCE, Client, complete, follow, serving, start, state

MakeFolder = Callable[..., Path]


@pytest.fixture
def client(make_folder: MakeFolder) -> Iterator[Client]:
    with serving(make_folder()) as client:
        yield client


@pytest.fixture
def slow_client(make_folder: MakeFolder) -> Iterator[Client]:
    """Its runs go on until they are cancelled."""
    with serving(make_folder(), pace=3600.0) as client:
        yield client


def test_a_run_is_started_followed_and_shown(client: Client) -> None:
    run_id = start(client)
    *frames, last = follow(client, run_id)
    assert {frame.event for frame in frames} == {"message"}
    assert (last.event, last.json()) == ("complete", {"run_id": run_id, "complete": True, "status": "completed"})
    assert "runs.md: 3 sentences" in [frame.json().get("message") for frame in frames]
    run = state(client, run_id)
    assert run == {
        "run_id": run_id,
        "source": "texts",
        "status": "completed",
        "cancel_requested": False,
        "error": None,
        "started_at": run["started_at"],
        "finished_at": run["finished_at"],
    }
    assert run["started_at"] < run["finished_at"]


def test_the_stream_is_not_kept_by_caches_and_proxies(client: Client) -> None:
    response = client.get(f"/runs/{complete(client)}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "no-" in response.headers["cache-control"]
    assert response.headers["x-accel-buffering"] == "no"


def test_ids_rise_and_a_stream_is_resumed_after_any_of_them(client: Client) -> None:
    run_id = complete(client)
    frames = follow(client, run_id)
    assert len({frame.id for frame in frames}) == len(frames) > 5
    for position, frame in enumerate(frames[:-1]):
        resumed = follow(client, run_id, frame.id)
        assert [(f.id, f.data) for f in resumed] == [(f.id, f.data) for f in frames[position + 1 :]]


def test_who_has_had_everything_is_told_to_stop(client: Client) -> None:
    run_id = complete(client)
    last = follow(client, run_id)[-1]
    response = client.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": last.id})
    assert (response.status_code, response.text) == (204, "")


def test_a_live_run_can_be_followed(slow_client: Client) -> None:
    run_id = start(slow_client)
    with connect_sse(slow_client, "GET", f"/runs/{run_id}/events") as stream:
        frames = (frame for frame in stream.iter_sse() if frame.data)
        assert next(frames).json()["step"] == "Reading"
        assert state(slow_client, run_id)["status"] == "running"
        slow_client.post(f"/runs/{run_id}/cancel")
        requested, last = (frame for frame in frames if "step" not in frame.json())
    assert requested.json()["cancel_requested"] is True
    assert (last.event, last.json()["status"]) == ("complete", "cancelled")


def test_a_run_can_be_cancelled_more_than_once(slow_client: Client) -> None:
    run_id = start(slow_client)
    response = slow_client.post(f"/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["cancel_requested"]) == (202, True)
    assert follow(slow_client, run_id)[-1].json() == {
        "run_id": run_id,
        "complete": True,
        "status": "cancelled",
        "cancel_requested": True,
    }
    response = slow_client.post(f"/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "cancelled")


def test_a_cancel_does_not_meet_another_run_with_the_same_number(slow_client: Client) -> None:
    run_id = start(slow_client)
    started_at = state(slow_client, run_id)["started_at"]
    before = started_at.replace("20", "19", 1)
    response = slow_client.post(f"/runs/{run_id}/cancel", params={"started_at": before})
    assert (response.status_code, response.json()["code"]) == (409, "another_run")
    assert not state(slow_client, run_id)["cancel_requested"]
    response = slow_client.post(f"/runs/{run_id}/cancel", params={"started_at": started_at})
    assert (response.status_code, response.json()["cancel_requested"]) == (202, True)


def test_a_cancel_after_the_end_changes_nothing(client: Client) -> None:
    run_id = complete(client)
    response = client.post(f"/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "completed")
    assert not response.json()["cancel_requested"]


def test_one_run_at_a_time(slow_client: Client) -> None:
    run_id = start(slow_client)
    response = slow_client.post("/runs")
    assert response.status_code == 409
    assert (response.json()["code"], response.json()["run_id"]) == ("still_running", run_id)
    assert f"Run {run_id} is still running" in response.json()["detail"]
    slow_client.post(f"/runs/{run_id}/cancel")
    follow(slow_client, run_id)
    assert start(slow_client) > run_id


def test_runs_are_listed_newest_first(client: Client) -> None:
    assert client.get("/runs").json() == []
    first, second = complete(client), complete(client)
    assert [run["run_id"] for run in client.get("/runs").json()] == [second, first]


def test_the_glossary_as_json_and_as_markdown(client: Client) -> None:
    run_id = complete(client)
    glossary = client.get(f"/runs/{run_id}/glossary").json()
    assert (glossary["source"], glossary["documents"]) == ("texts", 2)
    assert {
        "term": "run log",
        "language": "en",
        "count": 2,
        "definition": "The run log is a bounded list of events.",
        "source": "runs.md",
        "is_defined": True,
    } in glossary["entries"]
    response = client.get(f"/runs/{run_id}/glossary.md")
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "\n## 実行ログ\n\n実行ログとは、一つの実行のイベントの列である。\n" in response.text


@pytest.mark.parametrize("suffix", ["", ".md"])
def test_a_run_that_is_not_completed_has_no_glossary(slow_client: Client, suffix: str) -> None:
    run_id = start(slow_client)
    response = slow_client.get(f"/runs/{run_id}/glossary{suffix}")
    assert response.status_code == 409
    assert response.json() == {"detail": f"Run {run_id} is running and has no glossary"}


def test_a_failed_run_tells_why_without_paths(make_folder: MakeFolder, tmp_path: Path) -> None:
    with serving(make_folder({"a.txt": ""})) as client:
        run_id = start(client)
        last = follow(client, run_id)[-1]
        assert last.event == "complete"
        assert last.json()["error"] == "NoTextError: There is no text in the files of texts"
        assert state(client, run_id)["error"] == last.json()["error"]
        assert str(tmp_path) not in client.get("/runs").text


@pytest.mark.parametrize("path", ["", "/events", "/glossary", "/glossary.md"])
def test_an_unknown_run_is_not_found(client: Client, path: str) -> None:
    for run_id in (0, -1, 10**9, 10**30):
        response = client.get(f"/runs/{run_id}{path}")
        assert (response.status_code, response.json()) == (404, {"detail": f"There is no run {run_id}"})
    assert client.post("/runs/0/cancel").status_code == 404
    assert client.get("/runs/x").status_code == 422


def test_a_run_that_retention_let_go_still_tells_its_outcome(client: Client) -> None:
    run_id = complete(client)
    manager = client.runner.manager
    # Push it out by the count of retained runs; their ids are none that the runner gives out.
    for other in range(1 << 40, (1 << 40) + 300):
        manager.finish_run(other, {"complete": True})
    assert manager.terminal_event(run_id) is None
    (frame,) = follow(client, run_id)
    assert (frame.event, frame.json()["status"]) == ("complete", "completed")


def test_after_a_run_the_manager_holds_no_subscriber_and_no_active_run(client: Client) -> None:
    complete(client)
    stats = client.get("/stats").json()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["subscribers"]) == (0, 0, 0)
    assert stats["retained_runs"] == 1


def test_the_end_of_the_server_cancels_what_runs(make_folder: MakeFolder) -> None:
    with serving(make_folder(), pace=3600.0) as client:
        start(client)
        (run,) = client.runner.runs()
    assert run.wait(PATIENCE)
    assert run.status == "cancelled"


def test_nothing_of_it_comes_from_the_network(client: Client) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert "/runs/{run_id}/events" in client.get("/openapi.json").json()["paths"]
