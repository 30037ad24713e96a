"""The console: a page of runs and its API, as one ASGI application."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from genglossary_runs.runner import Runner

from .access import Allow
from .guard import Guard
from .page import STATIC, page
from .routes import router
from .starts import Start


def console(
    runner: Runner,
    *,
    title: str = "Runs",
    allow: Allow | None = None,
    start: Start | None = None,
    hosts: Collection[str] | None = None,
    **options: Any,
) -> ASGIApp:
    """Make the console, an ASGI application that can be mounted anywhere.

        app.mount("/runs", console(runner))

    It shows the runs of the runner and, with a store, those of every process that uses the store. Its API, which
    `router` describes, is at `api/` below it.

    Without `allow`, everyone who can reach it may do everything; it then answers only to IP addresses, localhost and
    `hosts`, so that no other site can reach it through a browser. The log says so when it is made, as a warning if
    `hosts` contains a name beyond loopback, and warns once more when the first request comes from another machine.
    Requests from other sites that would change something are always refused.

    Args:
        runner: starts, lists and cancels the runs.
        title: the title of the page.
        allow: as for `router`.
        start: as for `router`. The page then has a button that sends an empty object, and one beside each finished run
            that sends `{"again": run_id}`. None: runs cannot be started on the page.
        hosts: host names to answer to, besides localhost and IP addresses; by default none, or any with `allow`.
        options: further options of `router`.
    """
    # The interactive API pages would load scripts from the network.
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    app.include_router(router(runner, allow=allow, start=start, **options), prefix="/api")
    content = page(title, can_start=start is not None)

    @app.get("/", include_in_schema=False)
    async def show() -> Response:
        return HTMLResponse(content)

    app.mount("/static", StaticFiles(directory=STATIC))
    names = () if hosts is None and allow is None else hosts
    return Guard(app, hosts=names, is_open=allow is None)
