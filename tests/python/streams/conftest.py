"""A manager with one open run, event loops to read it from, and servers to stream it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from core.support import DEADLINE, wait_until
from fastapi import FastAPI
from genglossary_runs import RunManager
from genglossary_runs.sse import RunStream, run_stream, stats

from .parked import WAYS, Read
from .servers import LOOPS, Site, make_app

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Serve = Callable[..., Site]


@pytest.fixture
def manager() -> RunManager:
    """A manager with run 1 open."""
    manager = RunManager()
    manager.open_run(1)
    return manager


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a new event loop of each kind."""

    def run_one(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(asyncio.wait_for(coroutine, DEADLINE))

    return run_one


@pytest.fixture(params=WAYS)
def read(request: pytest.FixtureRequest) -> Read:
    """One of the ways to await what comes next."""
    return WAYS[request.param]


@pytest.fixture(params=[True, False], ids=["handed-over", "asgi"])
def handoff(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether streams are handed over, as they are where nothing speaks against it, or stay with their server."""
    for function in (run_stream, RunStream.__init__):
        monkeypatch.setitem(function.__kwdefaults__, "handoff", request.param)
    return bool(request.param)


@pytest.fixture
def serve(manager: RunManager, handoff: bool) -> Iterator[Serve]:
    """Starts servers, which stop with the test. Without an application of its own one serves the manager's runs."""
    of_site = ("loop", "http", "send_buffer", "tls", "limit_concurrency")
    with ExitStack() as stack:

        def start(app: FastAPI | None = None, **options: Any) -> Site:
            settings = {name: options.pop(name) for name in of_site if name in options}
            return stack.enter_context(Site(make_app(manager, **options) if app is None else app, **settings))

        yield start
    wait_until(lambda: stats()["handed_over"] == 0)
