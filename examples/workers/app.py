"""Several workers that share a store: each shows, streams and cancels the runs of all, and a restart forgets none.

    pip install ".[console]" uvicorn
    uvicorn --app-dir examples --workers 2 workers.app:app

Open http://127.0.0.1:8000/runs/ and start a run, which takes half a minute. Whichever worker answers, the page shows
its log; a second start is refused with 409 by both. Stop the server with Ctrl-C while it runs, start it again, and the
page says how the run ended. RUNS_STORE names the store: a file, by default `runs.db` in the working folder, or the URL
of a Redis server, such as redis://127.0.0.1:6379, over which the workers may be on many hosts. RUNS_HOSTS names the
hosts, with spaces between, by which browsers may reach the page, besides localhost and IP addresses.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from genglossary_runs import RedisStore, RunManager, SqliteStore
from genglossary_runs.console import console
from genglossary_runs.runner import Run, RunContext, Runner
from genglossary_runs.sse import drain_on_shutdown

SECONDS_A_FILE = 0.3

place = os.environ.get("RUNS_STORE", "runs.db")
store = RedisStore(place) if "://" in place else SqliteStore(place)
# Each worker imports this module, and so has a manager and a runner of its own.
runner = Runner(RunManager(store=store), tracebacks=True)


def convert(context: RunContext) -> dict[str, Any]:
    """What a run does, and where."""
    context.log(f"Process {os.getpid()} converts")
    for number in context.track(range(1, 101), step="converting"):
        context.cancel_event.wait(SECONDS_A_FILE)  # in place of work
        if number % 10 == 0:
            context.log(f"{number} files converted")
    return {"files": 100, "process": os.getpid()}


def start(request: Request, body: dict[str, Any]) -> Run:
    """Start a run. Its key is the store's, so there is one in all workers."""
    return runner.start(convert, key="the folder")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """End open streams when the worker stops, then its runs."""
    with drain_on_shutdown():
        yield
    await run_in_threadpool(runner.shutdown, 5)


app = FastAPI(lifespan=lifespan)
app.mount("/runs", console(runner, start=start, hosts=os.environ.get("RUNS_HOSTS", "").split()))


@app.get("/process")
def process() -> int:
    """Say which worker answers."""
    return os.getpid()
