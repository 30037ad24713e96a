"""The demo's web application: its routes are the few lines that any FastAPI application needs for runs.

POST /runs                  start a run: 201; 409 while one is active
GET  /runs                  all runs that are known, newest first
GET  /runs/{id}             one run
POST /runs/{id}/cancel      ask it to stop: 202
GET  /runs/{id}/events      its events from the start, or after `Last-Event-ID`, as server-sent events
GET  /runs/{id}/glossary    what it made, once it is completed; glossary.md for Markdown
GET  /stats                 what the manager holds
"""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from genglossary_runs import RunManager
from genglossary_runs.demo.documents import Folder
from genglossary_runs.demo.pipeline import Glossary, make_glossary
from genglossary_runs.runner import AlreadyRunningError, Run, Runner
from genglossary_runs.sse import drain_on_shutdown, run_stream

STOP_TIMEOUT = 10.0
"""Seconds that active runs are given to stop when the server does."""
STREAM_TIMEOUT = 3
"""Seconds after which the server stops all the same, whoever still reads."""


def create_app(source: Folder, *, pace: float = 0.0) -> FastAPI:
    """Make the application.

    Args:
        source: the documents that its runs read.
        pace: as for `make_glossary`.
    """
    manager = RunManager()
    runner = Runner(manager)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_shutdown():
            yield
        await run_in_threadpool(runner.shutdown, STOP_TIMEOUT)

    # The interactive pages would load their scripts from the network.
    app = FastAPI(title="genglossary-runs demo", lifespan=lifespan, docs_url=None, redoc_url=None)
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

    @app.post("/runs", status_code=201)
    async def start_run() -> Any:
        try:
            return _shown(runner.start(partial(make_glossary, source=source, pace=pace), key=source))
        except AlreadyRunningError as error:
            return JSONResponse({"detail": str(error), "run_id": error.run_id}, status_code=409)

    @app.get("/runs")
    async def list_runs() -> list[dict[str, Any]]:
        return [_shown(run) for run in reversed(runner.runs())]

    @app.get("/runs/{run_id}")
    async def show_run(run_id: int) -> dict[str, Any]:
        return _shown(known(run_id))

    @app.post("/runs/{run_id}/cancel", status_code=202)
    async def cancel_run(run_id: int) -> dict[str, Any]:
        run = known(run_id)
        run.cancel()
        return _shown(run)

    @app.get("/runs/{run_id}/events")
    async def follow_run(run_id: int, request: Request) -> Response:
        run = known(run_id)
        if run.terminal_event is not None:
            # Its outcome is told also when the manager's retention has let the run go.
            manager.finish_run(run_id, run.terminal_event)
        return run_stream(manager, run_id, request, replay=True)

    @app.get("/runs/{run_id}/glossary")
    async def show_glossary(run_id: int) -> dict[str, Any]:
        return asdict(glossary_of(run_id))

    @app.get("/runs/{run_id}/glossary.md")
    async def download_glossary(run_id: int) -> Response:
        return Response(glossary_of(run_id).to_markdown(), media_type="text/markdown")

    @app.get("/stats")
    async def stats() -> dict[str, Any]:
        return dict(manager.stats())

    return app


@contextmanager
def serving(app: FastAPI, listener: socket.socket) -> Iterator[threading.Event]:
    """Serve in a thread, and give an event that is set when it has stopped.

    At the end what runs is cancelled, so that its streams end, and the server is stopped.

    Args:
        app: made by `create_app`.
        listener: a socket that listens; closed at the end.
    """
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STREAM_TIMEOUT))
    stopped = threading.Event()

    def serve() -> None:
        try:
            server.run([listener])
        finally:
            stopped.set()

    # Waited for by the event: a `join` that Ctrl-C interrupts takes the thread for ended (CPython 3.11, 3.12).
    threading.Thread(target=serve, name="server", daemon=True).start()
    try:
        yield stopped
    finally:
        app.state.runner.shutdown(STOP_TIMEOUT)
        server.should_exit = True
        stopped.wait(STOP_TIMEOUT)
        listener.close()


def _shown(run: Run) -> dict[str, Any]:
    assert isinstance(run.key, Folder)
    return {
        "run_id": run.run_id,
        "source": run.key.name,
        "status": run.status,
        "cancel_requested": run.cancel_requested,
        "error": run.error,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
