"""The applications of the README and the tutorial do what these tell their readers to try."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse
from playwright.sync_api import Page, expect

from .support import PATIENCE

PROJECT = Path(__file__).resolve().parents[3]


@contextmanager
def served(page: Path, folder: Path) -> Iterator[httpx.Client]:
    """Save the files of a page as it tells its reader, start its server, and give a client of it."""
    for name, content in re.findall(r'```\w+ title="([\w.]+)"\n(.*?)```', page.read_text(encoding="utf-8"), re.DOTALL):
        (folder / name).write_text(content, encoding="utf-8")
    output = folder / "output"
    with output.open("w", encoding="utf-8") as file:  # not a pipe, which nobody would empty
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"]
        server = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"running on (http://\S+)", output.read_text(encoding="utf-8"))) is None:
            assert server.poll() is None, output.read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with httpx.Client(base_url=found[1], timeout=PATIENCE) as client:
            yield client
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Asks the application of the tutorial."""
    with served(PROJECT / "docs" / "tutorial.md", tmp_path_factory.mktemp("tutorial")) as client:
        yield client


def test_the_page_of_the_tutorial_does_what_its_reader_is_told_to_try(client: httpx.Client, page: Page) -> None:
    page.goto(str(client.base_url))
    start, cancel = page.get_by_role("button", name="Start"), page.get_by_role("button", name="Cancel")
    status, progress = page.locator("#status"), page.locator("#progress")
    expect(status).to_have_text("No run yet")
    start.click()
    expect(status).to_have_text("Running")
    expect(progress).to_have_js_property("max", 100)
    start.click()
    expect(page.locator("#refusal")).to_contain_text("is still running")
    expect(status).to_have_text("Running")
    page.reload()
    expect(status).to_have_text("Running")
    expect(progress).to_have_js_property("max", 100)
    cancel.click()
    expect(status).to_have_text("cancelled")
    expect(cancel).to_be_disabled()
    page.goto("about:blank")
    page.goto(f"{client.base_url}#unknown")
    expect(status).to_contain_text("There is no such run")
    expect(cancel).to_be_disabled()


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


def test_the_five_lines_of_the_readme_give_a_run_page(tmp_path: Path) -> None:
    with served(PROJECT / "README.md", tmp_path) as client:
        assert client.get("/runs/").text.startswith("<!doctype html>")
        started = client.post("/runs/api/runs", json={})
        assert started.status_code == 201
        assert client.post("/runs/api/runs", json={}).status_code == 409
        run_id = started.json()["id"]
        assert client.post(f"/runs/api/runs/{run_id}/cancel").is_success
        with connect_sse(client, "GET", f"/runs/api/runs/{run_id}/events") as source:
            last = list(source.iter_sse())[-1]
        assert last.json()["status"] == "cancelled"
