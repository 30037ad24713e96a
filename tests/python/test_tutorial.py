"""The tutorial's application does what the tutorial tells its reader to try."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
TIMEOUT = 30.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Asks the application of the tutorial, which its own server process serves."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, content in re.findall(
        r'```\w+ title="([\w.]+)"\n(.*?)```', TUTORIAL.read_text(encoding="utf-8"), re.DOTALL
    ):
        (folder / name).write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"]
    # A file instead of a pipe, which nobody would empty.
    with (folder / "log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            command, cwd=folder, stderr=log, stdout=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
    try:
        deadline = time.monotonic() + TIMEOUT
        while (found := re.search(r"running on (\S+)", (folder / "log").read_text(encoding="utf-8"))) is None:
            assert server.poll() is None, (folder / "log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with httpx.Client(base_url=found[1], timeout=TIMEOUT) as client:
            yield client
    finally:
        server.terminate()
        server.wait(TIMEOUT)


def test_the_page_is_a_page(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!doctype html>")


def test_a_run_can_be_started_once_resumed_and_cancelled(client: httpx.Client) -> None:
    run_id = client.post("/runs").json()["run_id"]
    second = client.post("/runs")
    assert second.status_code == 409
    assert "is still running" in second.json()["detail"]

    with connect_sse(client, "GET", f"/runs/{run_id}/events") as source:
        first = next(source.iter_sse())
    assert first.json()["progress_total"] == 100

    with connect_sse(client, "GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": first.id}) as source:
        events = source.iter_sse()
        resumed = next(events)
        assert int(resumed.id.split("-")[1]) == int(first.id.split("-")[1]) + 1
        assert client.post(f"/runs/{run_id}/cancel").json() is True
        last = list(events)[-1]
    assert last.event == "complete"
    assert last.json()["status"] == "cancelled"
    # What stops an EventSource that reconnects.
    assert client.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": last.id}).status_code == 204


def test_an_unknown_run_is_not_waited_for(client: httpx.Client) -> None:
    assert client.get("/runs/unknown/events").status_code == 404
