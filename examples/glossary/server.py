"""The demo's web application; its routes are the few lines that any FastAPI application needs for runs.

GET  /                      the run console, a page that shows all of this
GET  /about                 for the page: what is read, what may be uploaded, when the server started
POST /runs                  start a run of the folder, or of uploaded files: 201; 409 while it, or too many, are active
GET  /runs                  all known runs, newest first
GET  /runs/{id}             one run
POST /runs/{id}/cancel      ask it to stop: 202; 409 if `started_at` is given and the run was not started then
GET  /runs/{id}/events      its events from the start, or after `Last-Event-ID`, as server-sent events
GET  /runs/{id}/glossary    its result, once it is completed; glossary.md for Markdown
GET  /stats                 what the manager holds
"""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.staticfiles import StaticFiles
from genglossary_runs import RunManager
from genglossary_runs.runner import AlreadyRunningError, Run, Runner
from genglossary_runs.sse import drain_on_shutdown

from glossary.documents import MAX_BYTES, SKIPPED_FOLDERS, TEXT_SUFFIXES, Folder
from glossary.guard import Guard
from glossary.pipeline import Glossary, make_glossary
from glossary.refusals import Refusal, answer
from glossary.uploads import MAX_FILES, MAX_TOTAL_BYTES, receive_upload

HISTORY = 20_000
"""Events that a run's log holds: enough for a line on each of ten thousand documents. The page shows as many."""
MAX_ACTIVE_RUNS = 4
"""Runs at a time; each holds the files that were uploaded for it."""
STOP_TIMEOUT = 10.0
"""Seconds that active runs get to stop when the server does."""
STREAM_TIMEOUT = 3
"""Seconds after which the server stops even if clients still read."""


@dataclass(frozen=True, eq=False)
class Origin:
    """The source of a run's documents, and the key of its runs: one at a time."""

    name: str


def create_app(source: Folder, *, pace: float = 0.0, host_name: str = "localhost") -> FastAPI:
    """Make the application.

    Args:
        source: the documents that its runs read, unless others are uploaded.
        pace: as for `make_glossary`.
        host_name: as for `Guard`.
    """
    manager = RunManager(history=HISTORY)
    # The page tells runs of an earlier server by their start, so that these may be few and short.
    runner = Runner(manager)
    folder = Origin(source.name)
    started_at = datetime.now(UTC)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_shutdown():
            yield
        await run_in_threadpool(runner.shutdown, STOP_TIMEOUT)

    # The interactive API pages would load scripts from the network.
    app = FastAPI(title="genglossary-runs demo", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(Refusal, answer)
    app.add_middleware(Guard, host_name=host_name)
    app.state.runner = runner

    def known(run_id: int) -> Run:
        run = runner.get(run_id)
        if run is None:
            raise HTTPException(404, f"There is no run {run_id}")
        return run

    def glossary_of(run_id: int) -> Glossary:
        run = known(run_id)
        if run.status != "completed":
            raise HTTPException(409, f"Run {run_id} is {run.status} and has no glossary")
        glossary: Glossary = run.result
        return glossary

    @app.get("/about")
    async def about() -> dict[str, Any]:
        return {
            "source": source.name,
            "started_at": started_at,
            "text_suffixes": TEXT_SUFFIXES,
            "skipped_folders": sorted(SKIPPED_FOLDERS),
            "max_files": MAX_FILES,
            "max_file_bytes": MAX_BYTES,
            "max_total_bytes": MAX_TOTAL_BYTES,
        }

    @app.post("/runs", status_code=201)
    async def start_run(request: Request) -> Any:
        work, origin = partial(make_glossary, source=source, pace=pace), folder
        if "content-type" in request.headers:
            upload = await receive_upload(request)
            work, origin = partial(make_glossary, source=upload, pace=pace), Origin(upload.name)
        if manager.stats()["active_runs"] >= MAX_ACTIVE_RUNS:
            why = f"{MAX_ACTIVE_RUNS} runs are active; cancel one or wait for its end"
            raise Refusal(409, why, "too_many_runs", most=MAX_ACTIVE_RUNS)
        try:
            return _shown(runner.start(work, key=origin, run_id=next_number(runner)))
        except AlreadyRunningError as error:
            raise Refusal(409, str(error), "still_running", run_id=error.run_id) from error

    @app.get("/runs")
    async def list_runs() -> list[dict[str, Any]]:
        return [_shown(run) for run in reversed(runner.runs())]

    @app.get("/runs/{run_id}")
    async def show_run(run_id: int) -> dict[str, Any]:
        return _shown(known(run_id))

    @app.post("/runs/{run_id}/cancel", status_code=202)
    async def cancel_run(run_id: int, started_at: datetime | None = None) -> dict[str, Any]:
        run = known(run_id)
        if started_at not in (None, run.started_at):
            raise Refusal(409, f"Run {run_id} is another one since the server was restarted", "another_run")
        run.cancel()
        return _shown(run)

    @app.get("/runs/{run_id}/events")
    async def follow_run(run_id: int, request: Request) -> Response:
        known(run_id)
        return runner.stream(run_id, request)

    @app.get("/runs/{run_id}/glossary")
    async def show_glossary(run_id: int) -> dict[str, Any]:
        return asdict(glossary_of(run_id))

    @app.get("/runs/{run_id}/glossary.md")
    async def download_glossary(run_id: int) -> Response:
        return Response(glossary_of(run_id).to_markdown(), media_type="text/markdown")

    @app.get("/stats")
    async def stats() -> dict[str, Any]:
        return dict(manager.stats())

    app.mount("/", StaticFiles(directory=Path(__file__).with_name("static"), html=True))
    return app


def next_number(runner: Runner) -> int:
    """The id of the next run. The page tells runs of an earlier server by their start, so that ids may be short."""
    return 1 + max((int(run.run_id) for run in runner.runs()), default=0)


@contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Iterator[threading.Event]:
    """Serve in a thread, and yield an event that is set when it has stopped.

    At the end, active runs are cancelled, so that their streams end, and the server is stopped.

    Args:
        app: made by `create_app`.
        listener: a listening socket; closed at the end.
    """
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STREAM_TIMEOUT))
    stopped = threading.Event()

    def serve() -> None:
        try:
            server.run([listener])
        finally:
            stopped.set()

    # Wait for the event: a `join` that Ctrl-C interrupts takes the thread for ended (CPython 3.11, 3.12).
    threading.Thread(target=serve, name="server", daemon=True).start()
    try:
        yield stopped
    finally:
        app.state.runner.shutdown(STOP_TIMEOUT)
        server.should_exit = True
        stopped.wait(STOP_TIMEOUT)
        listener.close()


def _shown(run: Run) -> dict[str, Any]:
    assert isinstance(run.key, Origin)
    return {
        "run_id": run.run_id,
        "source": run.key.name,
        "status": run.status,
        "cancel_requested": run.cancel_requested,
        "error": run.error,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
