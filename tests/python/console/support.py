"""What the tests of the run console share: a server, runs that say what a test tells them, and a wire to cut."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from genglossary_runs.runner import Run, RunContext, Runner
from glossary.documents import Folder
from glossary.pipeline import Glossary
from glossary.server import Origin, create_app, next_number, serving
from glossary.terms import Entry
from playwright.sync_api import FilePayload, Locator, Page, expect

PATIENCE = 30.0
expect.set_options(timeout=1000 * PATIENCE)

OpenPage = Callable[..., Page]

GLOSSARY = Glossary(
    "texts",
    2,
    [
        Entry("run log", "en", 2, "The run log is a bounded list of events.", "runs.md"),
        Entry("実行ログ", "ja", 2, "実行ログとは、一つの実行のイベントの列である。", "読者.txt"),
    ],
)


class LiveRun:
    """A run that is under way until the test ends it."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._context: Future[RunContext] = Future()
        self._end = threading.Event()
        self._error: Exception | None = None
        self._manager = runner.manager
        self.run: Run = runner.start(self._work, key=Origin(name), run_id=next_number(runner))
        self.run_id = self.run.run_id
        context = self._context.result(PATIENCE)
        self.log = context.log
        self.progress = context.progress

    def publish(self, current: float, total: float | None, step: str) -> None:
        """Send progress past the runner, which would refuse odd values and send only the newest of a burst."""
        event = {"run_id": self.run_id, "progress_current": current, "progress_total": total, "step": step}
        self._manager.publish(self.run_id, event)

    def end(self, error: Exception | None = None) -> None:
        """Let the work come to its end: a glossary, or this error, or that it was cancelled."""
        self._error = error
        self._end.set()
        assert self.run.wait(PATIENCE)

    def _work(self, context: RunContext) -> Glossary:
        self._context.set_result(context)
        self._end.wait()
        context.raise_if_cancelled()
        if self._error is not None:
            raise self._error
        return GLOSSARY


class Demo:
    """The demo, served in this process."""

    def __init__(self, runner: Runner, port: int) -> None:
        self.runner = runner
        self.manager = runner.manager
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.live_runs: list[LiveRun] = []

    def live_run(self, name: str = "texts") -> LiveRun:
        """Start a run that says what the test tells it."""
        self.live_runs.append(LiveRun(self.runner, name))
        return self.live_runs[-1]


@contextmanager
def serving_demo(folder: Path, port: int = 0, pace: float = 0.0) -> Iterator[Demo]:
    app = create_app(Folder(folder), pace=pace)
    listener = socket.create_server(("127.0.0.1", port))
    with serving(app, listener):
        demo = Demo(app.state.runner, listener.getsockname()[1])
        try:
            yield demo
        finally:
            for live in demo.live_runs:
                live._end.set()


class Wire:
    """A port that leads to another, and that can be cut as by a network that fails."""

    def __init__(self, port: int, own_port: int = 0) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", own_port))
        self._own_port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._connected: set[socket.socket] = set()
        self._is_cut = False
        self.url = f"http://127.0.0.1:{self._own_port}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def again(self, port: int) -> "Wire":
        """Another wire of the same name, once this one is closed, that leads to another port."""
        return Wire(port, self._own_port)

    def cut(self) -> None:
        """Break every connection, and those to come."""
        with self._lock:
            self._is_cut = True
            connected = list(self._connected)
        for end in connected:
            _shut(end)

    def mend(self) -> None:
        """Let new connections through."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
        _shut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._connected |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        _shut(sink)
        with self._lock:
            self._connected.discard(source)
        source.close()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


# What a reader looks at


def log_of(page: Page) -> Locator:
    return page.get_by_role("log")


def lines_of(page: Page) -> Locator:
    """The texts of the lines that are not filtered out."""
    return page.locator("#log-lines .line:not([hidden]) .text")


def words_of(page: Page) -> list[str]:
    """The texts of all lines, from the oldest on, without what the page itself remarks."""
    texts: list[str] = page.locator("#log-lines .line:not(.remark):not(.gap) .text").all_text_contents()
    return texts


def status_of(page: Page) -> Locator:
    return page.locator("#status")


def open_console(page: Page, url: str) -> None:
    """Open the page and wait until it has everything it asks the server for at its beginning.

    "Connected" alone is no sign of that: one answer shows it, and the next one may still be under way when a test cuts
    the wire. Start is enabled by the last of them.
    """
    page.goto(url)
    expect(page.locator("#files")).to_be_enabled()
    expect(page.locator("#connection")).to_have_attribute("data-state", "connected")


def open_run(page: Page, url: str, run_id: int, status: str = "running") -> None:
    open_console(page, f"{url}#run-{run_id}")
    expect(page.get_by_role("heading", name=f"Run {run_id}", exact=True)).to_be_visible()
    expect(status_of(page)).to_have_text(status)


def stat(page: Page, name: str) -> Locator:
    """The value of an entry of the manager's stats."""
    return page.locator("#stats > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def wait_for_end_in_view(page: Page) -> None:
    page.wait_for_function(
        "() => { const log = document.querySelector('#log'); "
        "return log.scrollHeight - log.scrollTop - log.clientHeight < 8 }",
        timeout=1000 * PATIENCE,
    )


CLOCK = re.compile(r"\d\d:\d\d:\d\d")


def choose(page: Page, files: Sequence[FilePayload] | Path, control: str = "#files") -> None:
    """Choose files or a folder, as soon as a person could."""
    expect(page.locator(control)).to_be_enabled()
    page.set_input_files(control, files)
