"""Many tabs of one browser, which has six connections to a server over HTTP/1.1 for all of them."""

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


def test_tabs_of_eight_runs_leave_connections_for_requests(page: Page, served: Served) -> None:
    lives = [served.live_run(f"run {n}") for n in range(8)]
    tabs = open_tabs(page.context, page, 8)
    for tab, live in zip(tabs, lives, strict=True):
        open_run(tab, served.url, live.run_id)
    for live in lives:
        live.log("a line")
    for tab in tabs:
        expect(lines_of(tab)).to_have_text(["a line"])
    wait_until(lambda: stats()["handed_over"] + stats()["asgi"] == 3)


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


def wait_for_readers(served: Served, number: int) -> None:
    wait_until(lambda: served.manager.stats()["subscribers"] == number)
