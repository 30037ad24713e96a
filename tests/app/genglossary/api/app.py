"""The routes."""

import json
import queue
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from genglossary.db.connection import database_connection, transaction
from genglossary.db.runs_repository import TERMINAL, update_run_status_if_active
from genglossary.runs.manager import RunManager

from .managers import Managers, Project

COMPLETE = "event: complete\ndata: {}\n\n"


class RunRequest(BaseModel):
    """What to run."""

    scope: str = "full"


class File(BaseModel):
    """An uploaded text."""

    name: str
    content: str


def create_app(projects: dict[str, Project]) -> FastAPI:
    """The application for these projects, by name."""
    app = FastAPI()
    app.state.managers = Managers()

    def manager_of(project: str) -> RunManager:
        if project not in projects:
            raise HTTPException(404, f"no project {project!r}")
        manager: RunManager = app.state.managers.get(projects[project])
        return manager

    @app.post("/projects/{project}/runs", status_code=201)
    def start_run(project: str, request: RunRequest) -> dict[str, Any]:
        manager = manager_of(project)
        try:
            run_id = manager.start_run(scope=request.scope)
        except RuntimeError as error:
            raise HTTPException(409, str(error)) from error
        return _found(manager.get_run(run_id))

    @app.delete("/projects/{project}/runs/{run_id}")
    def cancel_run(project: str, run_id: int) -> dict[str, Any]:
        manager = manager_of(project)
        _found(manager.get_run(run_id))
        manager.cancel_run(run_id)
        with database_connection(manager.db_path) as conn, transaction(conn):
            update_run_status_if_active(conn, run_id, "cancelled")
        return _found(manager.get_run(run_id))

    @app.get("/projects/{project}/runs/current")
    def current_run(project: str) -> dict[str, Any]:
        return _found(manager_of(project).get_current_or_latest_run())

    @app.get("/projects/{project}/runs/{run_id}/logs")
    def follow_run(project: str, run_id: int) -> StreamingResponse:
        manager = manager_of(project)
        row = _found(manager.get_run(run_id))
        events = _complete() if row["status"] in TERMINAL else _events(manager, run_id)
        return StreamingResponse(events, media_type="text/event-stream")

    @app.post("/projects/{project}/files", status_code=201)
    def upload_files(project: str, files: list[File]) -> dict[str, Any]:
        manager = manager_of(project)
        with database_connection(manager.db_path) as conn, transaction(conn):
            document_ids: list[int] = [
                conn.execute(
                    "INSERT INTO documents (name, content) VALUES (?, ?) RETURNING id", (f.name, f.content)
                ).fetchone()[0]
                for f in files
            ]
        try:
            run_id = manager.start_run(scope="extract", triggered_by="auto", document_ids=document_ids)
        except Exception:
            return {"document_ids": document_ids, "extraction": "skipped"}
        return {"document_ids": document_ids, "extraction": run_id}

    return app


async def _complete() -> AsyncIterator[str]:
    yield COMPLETE


async def _events(manager: RunManager, run_id: int) -> AsyncIterator[str]:
    # The blocking `get` holds the event loop. That is the application's flaw, kept here to show it.
    subscriber = manager.register_subscriber(run_id)
    try:
        row = manager.get_run(run_id)
        if row is None or row["status"] in TERMINAL:
            yield COMPLETE
            return
        while True:
            try:
                message = subscriber.get(timeout=1)
            except queue.Empty:
                yield ": keepalive\n\n"
                continue
            if message.get("complete"):
                yield COMPLETE
                return
            yield f"data: {json.dumps(message, ensure_ascii=False)}\n\n"
    finally:
        manager.unregister_subscriber(run_id, subscriber)


def _found(row: sqlite3.Row | None) -> dict[str, Any]:
    if row is None:
        raise HTTPException(404, "no such run")
    return dict(row)
