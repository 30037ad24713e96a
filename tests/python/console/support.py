"""What the tests of the run console share: a server, runs that say what a test tells them, and a wire to cut."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI, Request
from genglossary_runs import RunManager
from genglossary_runs.console import console
from genglossary_runs.runner import Run, RunContext, Runner
from playwright.sync_api import Locator, Page, expect
from proxy import Proxy

PATIENCE = 30.0
expect.set_options(timeout=1000 * PATIENCE)

OpenPage = Callable[..., Page]

HISTORY = 20_000

RESULT = {
    "source": "texts",
    "entries": [
        {"term": "run log", "definition": "The run log is a bounded list of events.", "count": 2},
        {"term": "実行ログ", "definition": "実行ログとは、一つの実行のイベントの列である。", "count": 1},
    ],
}


class LiveRun:
    """A run that is under way until the test ends it."""

    def __init__(self, runner: Runner, key: str | None, run_id: str | None) -> None:
        self._context: Future[RunContext] = Future()
        self._end = threading.Event()
        self._outcome: Any = RESULT
        self._manager = runner.manager
        self.run: Run = runner.start(self._work, key=key, name=key or "work", run_id=run_id)
        self.run_id = str(self.run.run_id)
        self.context = self._context.result(PATIENCE)
        self.log = self.context.log
        self.progress = self.context.progress

    def publish(self, **event: Any) -> None:
        """Send an event past the runner, which would refuse odd values and send only the newest progress of a burst."""
        self._manager.publish(self.run_id, {"run_id": self.run_id} | event)

    def end(self, outcome: Any = RESULT) -> None:
        """Let the work come to its end: with this result or error, or as cancelled."""
        self._outcome = outcome
        self.release()
        assert self.run.wait(PATIENCE)

    def release(self) -> None:
        """Let the work come to its end, whenever that is."""
        self._end.set()

    def _work(self, context: RunContext) -> Any:
        self._context.set_result(context)
        self._end.wait()
        context.raise_if_cancelled()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class Served:
    """The console of a runner, served in this process below `/runs/`."""

    def __init__(self, runner: Runner, port: int) -> None:
        self.runner = runner
        self.manager = runner.manager
        self.port = port
        self.url = f"http://127.0.0.1:{port}{PATH}"
        self._live: list[LiveRun] = []

    def live_run(self, key: str | None = None, run_id: str | None = None) -> LiveRun:
        """Start a run that says what the test tells it."""
        self._live.append(LiveRun(self.runner, key, run_id))
        return self._live[-1]

    def release(self) -> None:
        for live in self._live:
            live.release()


PATH = "/runs/"


def quick(context: RunContext) -> Any:
    """The work that the button of the page starts."""
    context.progress(1, 1, step="Reading")
    context.log("started from the page")
    return RESULT


@contextmanager
def serving(port: int = 0, runner: Runner | None = None, **options: Any) -> Iterator[Served]:
    """Serve the console of a runner; `options` are those of `console`."""
    runner = runner or Runner(RunManager(history=HISTORY), progress_interval=0)

    def start(request: Request, body: dict[str, Any]) -> Run:
        return runner.start(quick, key=f"again {body['again']}" if "again" in body else "from the page")

    app = FastAPI()
    app.mount(PATH.rstrip("/"), console(runner, **{"title": "Run console", "start": start} | options))
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    served = Served(runner, listener.getsockname()[1])
    try:
        yield served
    finally:
        served.release()
        runner.shutdown(PATIENCE)
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


class Wire(Proxy):
    """A port that leads to another's console, and that can be cut as by a network that fails."""

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self.port}{PATH}"


# What a reader looks at


def log_of(page: Page) -> Locator:
    return page.get_by_role("log")


def lines_of(page: Page) -> Locator:
    """The texts of the lines that are drawn: all that are not filtered out, unless there are many."""
    return page.locator("#log-lines .line:not(.remark):not(.gap) .text")


def copied(page: Page) -> list[str]:
    """All lines that are not filtered out, as the page copies them."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if page.locator("#timestamps").is_checked():
        page.locator("#timestamps").uncheck()
    page.locator("#copy-log").click()
    expect(page.get_by_role("status").first).to_have_text("Copied")
    text: str = page.evaluate("() => navigator.clipboard.readText()")
    return text.removesuffix("\n").split("\n")


def runs_of(page: Page) -> Locator:
    """The links of the list of runs."""
    return page.get_by_role("navigation").get_by_role("link")


def status_of(page: Page) -> Locator:
    return page.locator("#status")


def open_console(page: Page, url: str) -> None:
    """Open the page and wait until the server has answered it."""
    page.goto(url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "connected")
    expect(page.locator("#stats dd").first).to_be_visible()


def open_run(page: Page, url: str, run_id: str, status: str = "running") -> None:
    open_console(page, f"{url}#run/{quote(run_id)}")
    expect(page.locator("#run-id")).to_have_text(run_id)
    expect(status_of(page)).to_have_text(status)


def stat(page: Page, name: str) -> Locator:
    """The value of an entry of the manager's stats."""
    return page.locator("#stats .stats > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


NOTE_SCROLL = """over => {
    const { scrollTop } = over;
    over.hasScrolled = new Promise(resolve => {
        over.addEventListener('scrollend', () => { if (over.scrollTop !== scrollTop) resolve(); });
    });
}"""


def turn_wheel(page: Page, over: Locator, distance: int) -> None:
    """Turn the wheel over an element, and wait until it has scrolled, which browsers do little by little."""
    over.hover()
    over.evaluate(NOTE_SCROLL)
    page.mouse.wheel(0, distance)
    over.evaluate("over => over.hasScrolled")


def wait_for_end_in_view(page: Page) -> None:
    page.wait_for_function(
        "() => { const log = document.querySelector('#log'); "
        "return log.scrollHeight - log.scrollTop - log.clientHeight < 8 }",
        timeout=1000 * PATIENCE,
    )


def choose_level(page: Page, name: str) -> None:
    page.locator("#levels").get_by_text(name, exact=True).click()
