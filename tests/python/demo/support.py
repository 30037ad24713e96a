"""What the tests of the demo's server share."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from genglossary_runs.runner import Runner
from glossary import server
from glossary.documents import Folder
from httpx_sse import ServerSentEvent, connect_sse

PATIENCE = 60.0


class Client(httpx.Client):
    """A client of a server in this process, whose runner can be looked at."""

    runner: Runner


@contextmanager
def serving(folder: Path, pace: float = 0.0, host_name: str = "localhost") -> Iterator[Client]:
    app = server.create_app(Folder(folder), pace=pace, host_name=host_name)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with server.serving(app, listener), Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
        client.runner = app.state.runner
        yield client


def start(client: Client) -> int:
    response = client.post("/runs")
    assert response.status_code == 201
    run_id: int = response.json()["run_id"]
    return run_id


def follow(client: Client, run_id: int, last_event_id: str | None = None) -> list[ServerSentEvent]:
    """The frames of a run's stream, to its end."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with connect_sse(client, "GET", f"/runs/{run_id}/events", headers=headers) as stream:
        return [frame for frame in stream.iter_sse() if frame.data]


def complete(client: Client) -> int:
    run_id = start(client)
    assert follow(client, run_id)[-1].json()["status"] == "completed"
    return run_id


def state(client: Client, run_id: int) -> Any:
    return client.get(f"/runs/{run_id}").json()
