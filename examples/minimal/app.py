"""One FastAPI application, one kind of run, and the page that shows its runs.

    pip install ".[console]" uvicorn
    uvicorn --app-dir examples minimal.app:app

Open http://127.0.0.1:8000/runs/ and start a run. It takes half a minute, so that there is something to see: cancel it;
start a second one, which is refused with 409, since the key has one at a time; reload the page, which resumes. Or in a
terminal, with `pip install ".[client]"`:

    curl --request POST http://127.0.0.1:8000/runs/api/runs
    python -m genglossary_runs list http://127.0.0.1:8000/runs/
    python -m genglossary_runs follow http://127.0.0.1:8000/runs/api/runs/ID
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from genglossary_runs import RunManager
from genglossary_runs.console import console
from genglossary_runs.runner import Run, RunContext, Runner
from genglossary_runs.sse import drain_on_shutdown

SECONDS_A_PAGE = 0.3

runner = Runner(RunManager())


def read_book(context: RunContext) -> dict[str, int]:
    """What a run does. It looks for a cancel at each page, also while it waits."""
    for page in context.track(range(1, 101), step="reading"):
        context.cancel_event.wait(SECONDS_A_PAGE)  # in place of work
        if page % 10 == 0:
            context.log(f"{page} pages read")
    return {"pages": 100}


def start(request: Request, body: dict[str, Any]) -> Run:
    """Start a run, when the page or the API is told to."""
    return runner.start(read_book, key="the book")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """End open streams when the server stops, then the runs."""
    with drain_on_shutdown():
        yield
    await run_in_threadpool(runner.shutdown, 5)


app = FastAPI(lifespan=lifespan)
app.mount("/runs", console(runner, start=start))
