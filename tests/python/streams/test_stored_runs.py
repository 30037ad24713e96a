"""Streams of runs for which a store has to be asked."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Response
from genglossary_runs import RunManager, SqliteStore
from genglossary_runs.sse import run_stream


@pytest.mark.asyncio
async def test_headers_that_were_set_on_the_stream_of_a_stored_run_were_lost(tmp_path: Path) -> None:
    manager = RunManager(store=SqliteStore(tmp_path / "runs.db"))
    manager.open_run(1)
    manager.finish_run(1, {"complete": True})
    app = FastAPI()

    @app.get("/")
    async def stream() -> Response:
        response = run_stream(manager, 1, replay=True)
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/")
    assert "event: complete" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert dict(answer.cookies) == {"a": "1", "b": "2"}
