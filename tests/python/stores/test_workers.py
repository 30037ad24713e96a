"""Behind `uvicorn --workers 4` any worker serves any run: live, late, resumed, and after the kill of its owner."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ports import held_port

from .support import DEADLINE, INTERRUPTED, Place, wait_until


@pytest.fixture
def server(place: Place) -> Iterator[str]:
    """The address of four workers."""
    with held_port() as port, serving(place, port) as address:
        yield address


@contextmanager
def serving(place: Place, port: int) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "application:app",
        "--workers",
        "4",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    environment = os.environ | {"STORE_KIND": place.kind, "STORE_PLACE": place.where}
    process = subprocess.Popen(command, cwd=Path(__file__).parent, env=environment)
    address = f"http://127.0.0.1:{port}"

    def serves() -> bool:
        try:
            return httpx.get(f"{address}/pid", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(serves)
    yield address
    process.send_signal(signal.SIGTERM)
    process.wait(DEADLINE)


def stream(address: str, run_id: int, last_event_id: str | None = None) -> list[tuple[str, dict]]:
    """All events of a run to its end, each with its id, over a new connection, which any worker may take."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    events, event_id = [], ""
    with httpx.stream("GET", f"{address}/{run_id}/events", headers=headers, timeout=DEADLINE) as response:
        if response.status_code == 204:
            return []
        assert response.status_code == 200, response.status_code
        for line in response.iter_lines():
            if line.startswith("id: "):
                event_id = line[4:]
            elif line.startswith("data: "):
                events.append((event_id, json.loads(line[6:])))
    return events


def test_any_worker_serves_any_run(server: str) -> None:
    assert httpx.get(f"{server}/7/events", timeout=DEADLINE).status_code == 404
    httpx.post(f"{server}/7/start", timeout=DEADLINE).raise_for_status()
    ids = []
    # A connection each, so that all workers have their turn.
    for number in range(20):
        answer = httpx.post(f"{server}/7/publish?n={number}", timeout=DEADLINE)
        ids.append(answer.json()[1])
    assert len({i.split("-")[0] for i in ids}) == 1
    assert [int(i.split("-")[1]) for i in ids] == list(range(1, 21))
    assert httpx.post(f"{server}/7/finish", timeout=DEADLINE).json() is True
    whole = stream(server, 7)
    assert [event.get("n") for _, event in whole] == [*range(20), None]
    for _ in range(8):
        assert stream(server, 7) == whole
        assert stream(server, 7, ids[9]) == whole[10:]
        assert stream(server, 7, whole[-1][0]) == []


def test_streams_end_when_the_worker_that_ran_a_run_is_killed(server: str, place: Place) -> None:
    owner = httpx.post(f"{server}/7/start", timeout=DEADLINE).json()
    for number in range(5):
        httpx.post(f"{server}/7/publish?n={number}", timeout=DEADLINE).raise_for_status()
    # A process that is killed loses what it has yet to store, and what is seen here is stored.
    stored = place.manager().subscribe(7, "0", must_exist=True)
    wait_until(lambda: stored.qsize() == 5)
    os.kill(owner, signal.SIGKILL)

    def ended() -> bool:
        try:
            events = stream(server, 7)
        except httpx.TransportError:
            return False  # it was the killed worker's
        return events[-1][1].get("error") == INTERRUPTED and [event.get("n") for _, event in events[:-1]] == [
            0,
            1,
            2,
            3,
            4,
        ]

    wait_until(ended)
