"""Clients that people use, on a run whose connection is lost and whose server is away for a moment."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from httpx_sse import connect_sse
from programs import need

from .proxy import Proxy
from .support import DEADLINE, JS, Calls, Speaker, need_node

NAMES = ["eventsource", "eventsource-client", "eventsource-parser", "fetch-event-source"]


class Reader:
    """A process that writes a line of JSON for each event: its id, name and data."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, cwd=JS, stdout=subprocess.PIPE, text=True)
        self.calls = Calls()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.calls.add(json.loads(line))

    def messages(self) -> list[str]:
        return [data["message"] for _, name, data in self.calls.all if name == "message"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.join(DEADLINE)


@pytest.mark.parametrize("name", NAMES)
def test_clients_from_npm_get_each_event_once(
    runner: Runner, proxy: Proxy, speaker: Speaker, packages: Path, name: str
) -> None:
    run = runner.start(speaker)
    speaker.say(*(f"early {number}" for number in range(15)))
    until_published(runner.manager, 15)
    reader = Reader(need_node(), "clients.mjs", name, f"{proxy.url}/api/runs/{run.run_id}/events")
    try:
        said = [f"early {number}" for number in range(5, 15)]
        reader.calls.wait(lambda: reader.messages() == said)
        assert [data["gap"]["missed"] for _, name, data in reader.calls.all if name == "gap"] == [5]
        # `eventsource` follows the standard: any answer but 200 is an end, of which the page has to take care.
        if name != "eventsource":
            with proxy.away(503):
                reader.calls.wait(lambda: proxy.refused >= 1)
        proxy.drop()
        speaker.say("late")
        reader.calls.wait(lambda: reader.messages() == [*said, "late"])
        speaker.stop()
        assert reader.process.wait(DEADLINE) == 0
        last_id, last_name, outcome = reader.calls.all[-1]
        assert (last_name, outcome["status"]) == ("complete", "completed")
        assert last_id.endswith("-17")
    finally:
        reader.close()


def until_published(manager: RunManager, number: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while manager.stats()["events_published"] < number:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_httpx_sse_gets_named_events_and_resumes(runner: Runner, proxy: Proxy) -> None:
    manager = runner.manager
    manager.open_run("a")
    manager.publish("a", {"n": 1}, name="page")
    url = f"{proxy.url}/api/runs/a/events"
    with httpx.Client(trust_env=False) as http:
        with connect_sse(http, "GET", url) as source:
            first = next(source.iter_sse())
        manager.publish("a", {"n": 2})
        manager.finish_run("a", {"status": "completed"})
        with connect_sse(http, "GET", url, headers={"Last-Event-ID": first.id}) as source:
            rest = list(source.iter_sse())
        with connect_sse(http, "GET", url, headers={"Last-Event-ID": rest[-1].id}) as source:
            assert source.response.status_code == 204
    assert (first.event, first.json(), first.retry is None) == ("page", {"n": 1}, False)
    assert [(event.event, event.json()) for event in rest] == [
        ("message", {"n": 2}),
        ("complete", {"status": "completed"}),
    ]


def test_curl_shows_lines_as_they_come(runner: Runner, proxy: Proxy, speaker: Speaker) -> None:
    curl = need("curl")
    run = runner.start(speaker)
    command = [curl, "--no-buffer", "--silent", "--fail", f"{proxy.url}/api/runs/{run.run_id}/events"]
    environment: dict[str, Any] = {**os.environ, "no_proxy": "127.0.0.1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        # A comment and a hint on when to reconnect come at once.
        head = [process.stdout.readline() for _ in range(2)]
        assert any(line.startswith("retry: ") for line in head)
        speaker.say("as it comes")
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[0].startswith("id: ")
        assert "as it comes" in lines[1]
        assert lines[2] == "\n"
        speaker.stop()
        assert "event: complete\n" in process.stdout.readlines()
        assert process.wait(DEADLINE) == 0
