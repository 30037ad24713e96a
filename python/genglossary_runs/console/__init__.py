"""A page of runs, and their API, for any application.

    app.mount("/runs", console(runner))
    app.include_router(router(runner), prefix="/api")

`console` is an ASGI application: a page that lists runs, follows them and shows how they ended, and the API below it.
`router` returns the routes: they list, show, start, cancel and wait for runs, and serve a run's events as a stream or
in pages, its log as a file, and its result. Both need FastAPI, which the extra `console` installs.
"""

from genglossary_runs.extras import missing

try:
    import fastapi  # noqa: F401
except ModuleNotFoundError:
    raise missing("genglossary_runs.console", "FastAPI", "console") from None

from .access import Action, Allow
from .app import console
from .routes import router
from .starts import Start

__all__ = ["Action", "Allow", "Start", "console", "router"]
