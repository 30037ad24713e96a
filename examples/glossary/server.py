"""The demo's web application: the run console around glossaries of a folder's texts."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from genglossary_runs import RunManager
from genglossary_runs.console import console
from genglossary_runs.runner import Run, RunContext, Runner
from genglossary_runs.sse import drain_on_shutdown

from glossary.documents import Folder
from glossary.pipeline import make_glossary
from glossary.stores import open_store

HISTORY = 20_000
"""Events that a run's log holds: enough for a line on each of ten thousand documents."""
STOP_TIMEOUT = 10.0
"""Seconds that active runs get to stop when the server does."""
STREAM_TIMEOUT = 3
"""Seconds after which the server stops even if clients still read."""


def create_app(source: Folder, *, pace: float = 0.0, store: str | None = None, host_name: str = "localhost") -> FastAPI:
    """Make the application.

    Args:
        source: the documents that its runs read.
        pace: as for `make_glossary`.
        store: where runs are kept, as for `open_store`.
        host_name: a name of the server, besides localhost and every IP address.
    """
    runner = Runner(RunManager(history=HISTORY, store=open_store(store)))

    def work(context: RunContext) -> dict[str, Any]:
        return asdict(make_glossary(context, source, pace=pace))

    def start(request: Request, body: dict[str, Any]) -> Run:
        # A new run and one that is started again do the same: the folder is read as it is then.
        return runner.start(work, key=source.name, name="glossary")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_shutdown():
            yield
        await run_in_threadpool(runner.shutdown, STOP_TIMEOUT)

    app = FastAPI(title="genglossary-runs demo", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.runner = runner
    app.mount("/", console(runner, title="Run console", start=start, hosts=[host_name]))
    return app


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
