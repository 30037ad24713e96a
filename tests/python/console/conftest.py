import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs.sse import run_stream
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from .support import PATIENCE, Demo, OpenPage, Wire, serving_demo

# No sandbox, which containers do not permit, and no network traffic of the browser's own.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# The page asks for the runs every two seconds, which only makes tests slow. It counts events each second; that stays.
IMPATIENT = """
const set = window.setTimeout;
window.setTimeout = (call, after, ...rest) => set(call, after >= 2000 ? after / 10 : after, ...rest);
"""

TEXTS = {
    "runs.md": "A run is one background execution. Every run has a run log. The run log is a bounded list of events.",
    "読者.txt": "実行ログとは、一つの実行のイベントの列である。購読者は実行ログを読む者を指す。購読者は位置を持つ。",
}


CHROMIUM = shutil.which("chromium")
WITHOUT = "Chromium is not installed, so the run console is not tested; scripts/install-browser.sh installs it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a browser, skip one of these tests, with the reason, for all of them. Where CI is set, they fail."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    if CHROMIUM or os.environ.get("CI") or not ours:
        return
    ours[0].add_marker(pytest.mark.skip(reason=WITHOUT))
    items[:] = [item for item in items if item not in ours[1:]]
    config.hook.pytest_deselected(items=ours[1:])


# Not of the session: tests of asyncio, elsewhere, would find Playwright's loop running.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail(WITHOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def soon_reconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this process tell browsers to come back soon."""
    monkeypatch.setattr("genglossary_runs.sse.run_stream", partial(run_stream, retry=200))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of two texts."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, content in TEXTS.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def demo(texts: Path, browser: Browser) -> Iterator[Demo]:
    """The demo, served in this process; without a browser not even that."""
    with serving_demo(texts) as demo:
        yield demo


@pytest.fixture
def wire(demo: Demo) -> Iterator[Wire]:
    wire = Wire(demo.port)
    yield wire
    wire.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens windows, each of a reader of its own, and sees that nothing goes wrong in them."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        # Answers that are refusals, and connections that a test has cut, are told in this way.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            problems.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            problems.append(f"asked for {request.url}")

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"} | options)
        contexts.append(context)
        context.add_init_script(IMPATIENT)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("console", note_message)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", note_request)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()
