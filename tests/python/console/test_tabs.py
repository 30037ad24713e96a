"""Many tabs of one browser, which has six connections to a server over HTTP/1.1 for all of them."""

import subprocess

from client.support import JS, STATIC, need_node
from core.support import wait_until
from genglossary_runs.sse import stats
from playwright.sync_api import BrowserContext, Page, expect

from .support import OpenPage, Served, lines_of, open_run

# Playwright's tabs are all seen, whichever is in front.
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


def open_tabs(context: BrowserContext, first: Page, number: int) -> list[Page]:
    return [first, *(context.new_page() for _ in range(number - 1))]


def test_a_seventh_tab_never_loaded(page: Page, served: Served) -> None:
    """Six streams took all connections, and the first tab said that it had lost its own."""
    live = served.live_run()
    live.log("before")
    tabs = open_tabs(page.context, page, 8)
    for tab in tabs:
        open_run(tab, served.url, live.run_id)
    live.log("after")
    for tab in tabs:
        expect(lines_of(tab)).to_have_text(["before", "after"])
        expect(tab.locator("#connection")).to_have_text("Connected")
    expect(tabs[-1].locator("#readers")).to_contain_text("1 peak 1")


def test_tabs_of_many_runs_leave_connections_for_requests(page: Page, served: Served) -> None:
    """Of the last run, one tab asks for events; it passed nothing on, and after the end kept the others waiting."""
    streamed = [served.live_run(f"run {n}") for n in range(3)]
    asked, last = served.live_run("asked for"), served.live_run("last")
    lives = [*streamed, asked, last, last, last]
    tabs = open_tabs(page.context, page, len(lives))
    for tab, live in zip(tabs[:3], streamed, strict=True):
        open_run(tab, served.url, live.run_id)
    wait_for_readers(served, 3)
    for tab, live in zip(tabs[3:], lives[3:], strict=True):
        open_run(tab, served.url, live.run_id)
    for n in range(2):
        for live in (*streamed, asked, last):
            live.log(f"line {n}")
        for tab in tabs:
            expect(lines_of(tab)).to_have_text([f"line {m}" for m in range(n + 1)])
    wait_until(lambda: stats()["handed_over"] + stats()["asgi"] == 3)
    last.end(ValueError("no more"))
    for tab in tabs[4:]:
        expect(lines_of(tab)).to_have_text(["line 0", "line 1", "ValueError: no more"])
    locks = "async () => (await navigator.locks.query()).held.map((lock) => lock.name)"
    wait_until(lambda: not [name for name in page.evaluate(locks) if name.endswith(f" run {last.run_id}")])


def test_windows_without_locks_read_a_stream_each(page: Page, served: Served) -> None:
    """As on plain http, except on loopback. They passed events on to each other and caught up when these crossed."""
    live = served.live_run()
    page.context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    pages: list[str] = []
    page.context.on("request", lambda request: pages.append(request.url) if "/log?" in request.url else None)
    tabs = open_tabs(page.context, page, 2)
    for tab in tabs:
        open_run(tab, served.url, live.run_id)
    wait_for_readers(served, 2)
    for n in range(20):
        live.log(f"line {n}")
        for tab in tabs:
            expect(lines_of(tab)).to_have_count(n + 1)
    assert len(pages) == 2


def test_another_tab_takes_over_the_stream_of_one_that_is_closed(page: Page, served: Served) -> None:
    live = served.live_run()
    tabs = open_tabs(page.context, page, 3)
    for tab in tabs:
        open_run(tab, served.url, live.run_id)
    for n in range(3):
        live.log(f"line {n}")
        for tab in tabs[n:]:
            expect(lines_of(tab)).to_have_text([f"line {m}" for m in range(n + 1)])
        if n < 2:
            tabs[n].close()


def test_a_hidden_tab_gives_its_connection_back_and_misses_nothing(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    page.evaluate(HIDE, True)
    wait_for_readers(served, 0)
    live.log("meanwhile")
    page.evaluate(HIDE, False)
    expect(lines_of(page)).to_have_text(["before", "meanwhile"])
    live.log("after")
    expect(lines_of(page)).to_have_text(["before", "meanwhile", "after"])
    wait_for_readers(served, 1)
    expect(page.locator(".line.remark")).to_have_count(0)


def test_windows_of_different_browsers_share_nothing(open_page: OpenPage, served: Served) -> None:
    live = served.live_run()
    pages = [open_page(), open_page()]
    for page in pages:
        open_run(page, served.url, live.run_id)
    wait_for_readers(served, 2)


def test_what_other_tabs_pass_on() -> None:
    done = subprocess.run([need_node(), str(JS / "feed.mjs"), str(STATIC)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def wait_for_readers(served: Served, number: int) -> None:
    wait_until(lambda: served.manager.stats()["subscribers"] == number)
