"""The API of runs, for any FastAPI application.

    app.include_router(router(runner), prefix="/api")

`router` gives the routes: list, show, start, cancel and wait for runs, their events as a stream or in pages, their log
as a file, and their result. It needs FastAPI, which the extra `console` installs.
"""

from genglossary_runs.extras import missing

try:
    import fastapi  # noqa: F401
except ModuleNotFoundError:
    raise missing("genglossary_runs.console", "FastAPI", "console") from None

from .access import Action, Allow
from .routes import router
from .starts import Start

__all__ = ["Action", "Allow", "Start", "router"]
