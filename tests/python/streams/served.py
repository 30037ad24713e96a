"""The application of server processes that a command starts. It is steered over HTTP.

Run 1 is open. Its streams take options of `run_stream` in their query.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from genglossary_runs import RunManager
from genglossary_runs.sse import drain_on_shutdown, run_stream, stats


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with drain_on_shutdown():
        yield


manager = RunManager()
manager.open_run(1)
app = FastAPI(lifespan=lifespan)


@app.get("/runs/1/events")
async def stream_run(
    request: Request, heartbeat: float = 15.0, send_timeout: float = 30.0, handoff: bool = True
) -> Response:
    return run_stream(manager, 1, request, heartbeat=heartbeat, send_timeout=send_timeout, handoff=handoff)


@app.post("/runs/1/events")
def publish(count: int, size: int = 0) -> None:
    for n in range(count):
        manager.publish(1, {"n": n, "message": "x" * size})


@app.get("/state")
async def state(request: Request) -> dict[str, int]:
    """Which process answers, on which connection and as which port of its host; and its streams."""
    assert request.client is not None
    counts = stats()
    return {
        "process": os.getpid(),
        "connection": request.client.port,
        "port": request.url.port or 80,
        "handed_over": counts["handed_over"],
        "asgi": counts["asgi"],
        "subscribers": manager.stats()["subscribers"],
    }
