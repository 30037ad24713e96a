"""A manager with one open run, event loops to read it from, and servers to stream it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from core.support import DEADLINE
from fastapi import FastAPI
from genglossary_runs import RunManager

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


@pytest.fixture
def serve(manager: RunManager) -> Iterator[Serve]:
    """Starts servers, which stop with the test. Without an application of its own one serves the manager's runs."""
    with ExitStack() as stack:

        def start(app: FastAPI | None = None, **options: Any) -> Site:
            settings = {name: options.pop(name) for name in ("loop", "http", "send_buffer", "tls") if name in options}
            return stack.enter_context(Site(make_app(manager, **options) if app is None else app, **settings))

        yield start
