"""The demo's application, asked over loopback: what it adds to the console."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .support import PATIENCE, Client, complete, follow, serving, start

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


def test_a_run_is_started_and_followed(client: Client) -> None:
    run_id = start(client)
    *frames, last = follow(client, run_id)
    assert (last.event, last.json()["status"]) == ("complete", "completed")
    assert "runs.md: 3 sentences" in [frame.json().get("message") for frame in frames]
    run = client.get(f"/runs/{run_id}").json()
    assert (run["key"], run["status"], run["result_kind"]) == ("texts", "completed", "json")


def test_the_glossary_is_the_result(client: Client) -> None:
    glossary = client.get(f"/runs/{complete(client)}/result").json()
    assert (glossary["source"], glossary["documents"]) == ("texts", 2)
    assert {
        "term": "run log",
        "language": "en",
        "count": 2,
        "definition": "The run log is a bounded list of events.",
        "source": "runs.md",
        "is_defined": True,
    } in glossary["entries"]


def test_one_run_at_a_time(slow_client: Client) -> None:
    run_id = start(slow_client)
    response = slow_client.post("/runs", json={})
    assert (response.status_code, response.json()["run_id"]) == (409, run_id)
    slow_client.post(f"/runs/{run_id}/cancel")
    follow(slow_client, run_id)
    assert start(slow_client) != run_id


def test_a_failed_run_tells_why_without_paths(make_folder: MakeFolder, tmp_path: Path) -> None:
    with serving(make_folder({"a.txt": ""})) as client:
        run_id = start(client)
        last = follow(client, run_id)[-1]
        assert last.json()["error"] == "NoTextError: There is no text in the files of texts"
        assert client.get(f"/runs/{run_id}").json()["error"] == last.json()["error"]
        assert str(tmp_path) not in client.get("/runs").text


def test_the_end_of_the_server_cancels_what_runs(make_folder: MakeFolder) -> None:
    with serving(make_folder(), pace=3600.0) as client:
        start(client)
        (run,) = client.runner.runs()
    assert run.wait(PATIENCE)
    assert run.status == "cancelled"


def test_a_restart_shows_the_runs_of_before(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    store = str(tmp_path / "new folder" / "runs")
    with serving(folder, store=store) as client:
        run_id = complete(client)
    with serving(folder, store=store) as client:
        (run,) = client.get("/runs").json()["runs"]
        assert (run["id"], run["key"], run["status"]) == (run_id, "texts", "completed")
        assert client.get(f"/runs/{run_id}/result").json()["documents"] == 2
        assert any("runs.md: 3 sentences" in frame.data for frame in follow(client, run_id))


def test_it_answers_to_the_name_it_was_given(make_folder: MakeFolder) -> None:
    with serving(make_folder(), host_name="Runs.example") as client:
        assert client.get("/stats", headers={"Host": "runs.example:80"}).status_code == 200
        assert client.get("/stats", headers={"Host": "example"}).status_code == 403
