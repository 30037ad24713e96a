from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright
from programs import need

from .support import PATIENCE, OpenPage, Served, Wire, serving

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

# The page asks for the runs every two seconds, which only makes tests slow. It counts events each second; that stays,
# and so does how long it lets a stream be silent: a tenth is soon over on a busy machine, and less than a heartbeat.
IMPATIENT = """
const set = window.setTimeout;
const hurried = (after) => (after > 1000 && after < 45000 ? after / 10 : after);
window.setTimeout = (call, after, ...rest) => set(call, hurried(after), ...rest);
"""


@contextmanager
def launch_browser() -> Iterator[Browser]:
    """Chromium, while the block lasts."""
    command = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=FLAGS)
        yield browser
        browser.close()


# Not of the session: tests of asyncio, elsewhere, would find Playwright's loop running.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launch_browser() as browser:
        yield browser


@pytest.fixture
def served(browser: Browser) -> Iterator[Served]:
    """The console of a runner, served in this process; without a browser not even that."""
    with serving() as served:
        yield served


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    wire = Wire(served.port)
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
