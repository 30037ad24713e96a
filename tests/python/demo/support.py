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
def serving(folder: Path, **options: Any) -> Iterator[Client]:
    """Serve the demo; `options` are those of `create_app`."""
    app = server.create_app(Folder(folder, without=folder / "genglossary-demo.md"), **options)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    with server.serving(app, listener), Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
        client.runner = app.state.runner
        yield client


def start(client: Client) -> str:
    response = client.post("/runs", json={})
    assert response.status_code == 201
    run_id: str = response.json()["id"]
    return run_id


def follow(client: Client, run_id: str) -> list[ServerSentEvent]:
    """The frames of a run's stream, to its end."""
    with connect_sse(client, "GET", f"/runs/{run_id}/events") as stream:
        return [frame for frame in stream.iter_sse() if frame.data]


def complete(client: Client) -> str:
    run_id = start(client)
    assert follow(client, run_id)[-1].json()["status"] == "completed"
    return run_id
