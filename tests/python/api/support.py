"""What the tests of the API share."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI
from genglossary_runs.console import router
from genglossary_runs.runner import Runner

DEADLINE = 60.0
"""Seconds after which something that should have happened will not."""


def make_app(runner: Runner, **options: Any) -> FastAPI:
    """An application with the API of a runner."""
    app = FastAPI()
    app.include_router(router(runner, **options), prefix="/api")
    return app


class Client:
    """Asks an application, without a server between."""

    def __init__(self, app: FastAPI) -> None:
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://testserver/api", timeout=DEADLINE)

    async def get(self, path: str, expected: int = 200, **query: Any) -> Any:
        """The JSON of an answer with this status."""
        return _content(await self.http.get(path, params=query), expected)

    async def post(self, path: str, body: Any = None, expected: int = 201, *, key: str | None = None) -> Any:
        """The JSON of an answer with this status; `key` is the Idempotency-Key."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return _content(await self.http.post(path, json=body, headers=headers), expected)

    async def ids(self, **query: Any) -> list[str]:
        """The ids in a list."""
        page = await self.get("/runs", **query)
        return [run["id"] for run in page["runs"]]


def _content(answer: httpx.Response, expected: int) -> Any:
    assert answer.status_code == expected, answer.text
    return answer.json()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; a coroutine function is asked again and again."""
    deadline = time.monotonic() + DEADLINE
    while True:
        holds = condition()
        if inspect.iscoroutine(holds):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)
