"""A server with the API of a runner, a proxy before it, and clients in JavaScript."""

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from console.conftest import launch_browser
from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from genglossary_runs import RunManager
from genglossary_runs.console import router
from genglossary_runs.runner import Runner
from genglossary_runs.sse import run_stream
from playwright.sync_api import Browser, Page
from programs import cannot_test, need
from streams.servers import Site

from .proxy import Proxy
from .support import DEADLINE, JS, SOON, STATIC, Calls, NodeFollower, Speaker

TOKEN = "let me in"
"""Without it in the header `Authorization` nobody reads the run of the id `secret`."""


@pytest.fixture
def runner() -> Iterator[Runner]:
    """A runner whose runs hold ten events."""
    runner = Runner(RunManager(history=10))
    yield runner
    assert runner.shutdown(DEADLINE)


def make_app(runner: Runner) -> FastAPI:
    """The API, and the page's modules."""

    def allow(request: Request, action: str, run_id: str | None) -> bool:
        return run_id != "secret" or request.headers.get("authorization") == TOKEN

    app = FastAPI()
    app.include_router(router(runner, allow=allow), prefix="/api")
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server tells clients to come back soon."""
    monkeypatch.setattr("genglossary_runs.sse.run_stream", partial(run_stream, retry=20))


@pytest.fixture
def site(runner: Runner, soon: None) -> Iterator[Site]:
    with Site(make_app(runner)) as site:
        yield site


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    proxy = Proxy(site.port)
    yield proxy
    proxy.close()


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    speaker = Speaker()
    yield speaker
    speaker.stop()


# Not of the session: tests of asyncio, elsewhere, would find Playwright's loop running.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch_browser() as browser:
        yield browser


class BrowserFollower:
    """run-stream.js in a page of Chromium."""

    def __init__(self, page: Page, url: str, **options: Any) -> None:
        self.page = page
        self.calls = Calls()
        page.expose_function("told", self.calls.add)
        page.evaluate(
            """async ([url, options]) => {
                const { RunStream } = await import("/static/run-stream.js");
                const names = ["onEvent", "onGap", "onLife", "onEnd", "onGone", "onState"];
                const handler = (name) => [name, (...values) => told([name, ...values])];
                const handlers = Object.fromEntries(names.map(handler));
                window.stream = new RunStream(url, { ...handlers, ...options });
            }""",
            [url, SOON | options],
        )

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait for a condition on the calls."""
        self.calls.wait(condition, lambda: self.page.wait_for_timeout(5))


Follow = Callable[..., NodeFollower | BrowserFollower]


@pytest.fixture(params=["node", "chromium"])
def follow(request: pytest.FixtureRequest, proxy: Proxy) -> Iterator[Follow]:
    """Follows a run through the proxy: `follow(run_id, **options)`."""
    if request.param == "node":
        followers: list[NodeFollower] = []

        def follow_in_node(run_id: str, **options: Any) -> NodeFollower:
            followers.append(NodeFollower(f"{proxy.url}/api/runs/{run_id}/events", **options))
            return followers[-1]

        yield follow_in_node
        for follower in followers:
            follower.close()
    else:
        context = request.getfixturevalue("browser").new_context()

        def follow_in_browser(run_id: str, **options: Any) -> BrowserFollower:
            if request.param == "chromium-fetch":
                options["transport"] = "fetch"
            page = context.new_page()
            page.goto(f"{proxy.url}/static/run-stream.js")
            return BrowserFollower(page, f"/api/runs/{run_id}/events", **options)

        yield follow_in_browser
        context.close()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the clients from npm, which are installed there once."""
    npm = need("npm")
    folder = JS / "node_modules"
    if not (folder / ".package-lock.json").exists():
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"], cwd=JS, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            # Most likely there is no network.
            cannot_test(f"npm could not install clients: {done.stderr}")
    return folder
