"""The connection is lost and comes back, to the same server or another: nothing is missed, nothing comes twice."""

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from .support import PATIENCE, Demo, Wire, lines_of, open_console, open_run, serving_demo, status_of, words_of

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
RECONNECTING = re.compile(r"^Connection to the server lost at \d\d:\d\d:\d\d\. Reconnecting…$")


def expect_connected(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_lost_connection_is_told_and_resumed(page: Page, demo: Demo, wire: Wire) -> None:
    live = demo.live_run()
    open_run(page, wire.url, live.run_id)
    for n in range(20):
        live.log(f"line {n}")
    expect(lines_of(page)).to_have_count(20)
    wire.cut()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    since = page.get_by_role("alert").text_content()
    for n in range(20, 40):
        live.log(f"line {n}")
    wire.mend()
    expect_connected(page)
    live.log("line 40")
    expect(page.get_by_text("line 40")).to_be_visible()
    assert words_of(page) == [f"line {n}" for n in range(41)]
    remark = page.locator(".line.remark .text")
    expect(remark).to_have_text(re.compile(r"^The connection was lost at .* and is back since .*Nothing is missing"))
    assert since is not None
    expect(remark).to_contain_text(since.split("lost at ")[1][:8])
    expect(page.locator("#shown")).to_have_text("41 lines")
    live.end()
    expect(status_of(page)).to_have_text("completed")


def test_an_answer_that_is_cut_off_is_asked_for_again(page: Page, demo: Demo) -> None:
    """It was taken for an empty one, which has no entries."""
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    answers = iter(['{"documents": 3, "entr', ""])

    def cut(route: Route) -> None:
        body = next(answers, None)
        route.continue_() if body is None else route.fulfill(body=body, content_type="application/json")

    page.route("**/glossary", cut)
    live.end()
    expect(page.get_by_role("button", name="Open the glossary")).to_be_visible()
    assert next(answers, None) is None


def test_what_was_lost_meanwhile_is_a_gap(page: Page, demo: Demo, wire: Wire) -> None:
    live = demo.live_run()
    open_run(page, wire.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    wire.cut()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    for n in range(20_010):
        live.publish(n, 20_010, step="Reading")
    wire.mend()
    expect(page.locator(".line.gap .text")).to_have_text(
        "10 events are missing here (numbers 2 to 11): the server no longer held them."
    )
    live.log("after")
    expect(page.locator(".line:not(.gap):not(.remark) .text")).to_have_text(["before", "after"])


def test_a_run_that_ends_meanwhile_is_seen_to_have_ended(page: Page, demo: Demo, wire: Wire) -> None:
    live = demo.live_run()
    open_run(page, wire.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    wire.cut()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    live.log("meanwhile")
    live.end()
    wire.mend()
    expect(page.locator(".line:not(.remark) .text")).to_have_text(["before", "meanwhile"])
    expect(status_of(page)).to_have_text("completed")
    expect_connected(page)


def test_a_start_without_an_answer_is_told(page: Page, demo: Demo, wire: Wire) -> None:
    open_console(page, wire.url)
    wire.cut()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#refusal")).to_have_text("The server does not answer. Try again when it is back.")
    assert demo.runner.runs() == []


def test_a_stream_that_the_browser_gave_up_is_opened_again(page: Page, demo: Demo, wire: Wire) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=503, body="no")

    live = demo.live_run()
    open_run(page, wire.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    page.route("**/events*", fail)
    wire.cut()
    with page.expect_response(lambda response: response.status == 503):
        wire.mend()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    live.log("after")
    page.unroute("**/events*")
    expect_connected(page)
    expect(page.locator(".line:not(.remark) .text")).to_have_text(["before", "after"])


def test_a_run_that_a_restart_has_lost_keeps_its_lines(page: Page, texts: Path) -> None:
    with serving_demo(texts) as demo, closing(Wire(demo.port)) as wire:
        live = demo.live_run()
        open_run(page, wire.url, live.run_id)
        live.log("said before")
        expect(lines_of(page)).to_have_text(["said before"])
        wire.cut()
    with serving_demo(texts) as demo, closing(wire.again(demo.port)):
        expect(status_of(page)).to_have_text("lost")
        expect(page.locator("#outcome")).to_contain_text("The server no longer has this run")
        assert words_of(page) == ["said before"]
        expect_connected(page)


def test_what_is_old_news_is_dimmed(page: Page, demo: Demo, wire: Wire) -> None:
    open_console(page, wire.url)
    expect(page.locator("#stats")).to_have_css("opacity", "1")
    wire.cut()
    for name in ("#stats", "figure:has(#event-chart)", "figure:has(#reader-chart)"):
        expect(page.locator(name)).to_have_css("opacity", "0.45")
    wire.mend()
    expect_connected(page)
    expect(page.locator("#stats")).to_have_css("opacity", "1")


# A restarted server counts its runs anew, so that another run may have the number of the one that is shown.


@pytest.mark.parametrize("ended", ["before", "after", "never"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_another_run_with_the_same_number_is_not_taken_for_the_one_shown(
    page: Page, texts: Path, ended: str, is_kept: bool
) -> None:
    with serving_demo(texts) as demo, closing(Wire(demo.port)) as wire:
        first = demo.live_run("first")
        open_run(page, wire.url, first.run_id)
        first.log("said by the first")
        if ended == "before":
            first.end()
            expect(status_of(page)).to_have_text("completed")
        expect(lines_of(page)).to_have_text(["said by the first"])
        wire.cut()
        expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    with serving_demo(texts) as demo:
        second = demo.live_run("second")
        assert second.run_id == first.run_id
        second.log("said by the second")
        if ended == "after":
            second.end()
        if not is_kept:
            # Of a run whose log is no longer kept, a stream has nothing but the end.
            for other in range(1 << 40, (1 << 40) + 300):
                demo.manager.finish_run(other, {"complete": True})
        with closing(wire.again(demo.port)):
            expect(page.locator("#source")).to_have_text("second")
            expect(page.locator(".line.remark .text")).to_contain_text("The server was restarted")
            expect(status_of(page)).to_have_text("completed" if ended == "after" else "running")
            lines = [] if ended == "after" and not is_kept else ["said by the second"]
            expect(page.locator(".line:not(.remark) .text")).to_have_text(lines)
            expect_connected(page)


def test_a_cancel_never_meets_another_run_with_the_same_number(page: Page, texts: Path) -> None:
    with serving_demo(texts) as demo, closing(Wire(demo.port)) as wire:
        first = demo.live_run("first")
        open_run(page, wire.url, first.run_id)
        wire.cut()
        expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    # The page does not learn of the new run before the cancel is pressed.
    page.route("**/runs", lambda route: route.abort())
    page.route("**/events*", lambda route: route.abort())
    with serving_demo(texts) as demo, closing(wire.again(demo.port)):
        second = demo.live_run("second")
        with page.expect_response(lambda response: "/cancel?" in response.url) as answer:
            page.get_by_role("button", name="Cancel").click()
        assert answer.value.status == 409
        page.unroute("**/runs")
        page.unroute("**/events*")
        expect(page.locator("#source")).to_have_text("second")
        expect(status_of(page)).to_have_text("running")
        assert not second.run.cancel_requested


class Command:
    """`python -m glossary` as in a terminal, where it goes on serving."""

    def __init__(self, folder: Path, port: int) -> None:
        self._terminal, end = os.openpty()
        self._printed = ""
        arguments = [str(folder), "--port", str(port), "--pace", "0.1", "--out", str(folder.parent / "out.md")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "glossary", *arguments],
            env=os.environ | {"PYTHONPATH": str(EXAMPLES), "TERM": "dumb"},  # no colours
            stdout=end,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(end)

    def url(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(r"The run console is at (http:\S+/)", self._printed)):
            with selectors.DefaultSelector() as selector:
                selector.register(self._terminal, selectors.EVENT_READ)
                assert selector.select(deadline - time.monotonic()), self._printed
            self._printed += os.read(self._terminal, 65536).decode("utf-8", "replace")
        return match[1]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        os.close(self._terminal)


@contextmanager
def command(folder: Path, port: int) -> Iterator[Command]:
    running = Command(folder, port)
    try:
        yield running
    finally:
        running.kill()


def test_a_server_killed_and_restarted_in_the_middle(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(1000):
        (folder / f"{n:03}.txt").write_text("A run is one execution.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with command(folder, port) as first:
        open_run(page, first.url(), 1)
        expect(page.get_by_text("009.txt: 1 sentence")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    with command(folder, port) as second:
        second.url()
        expect_connected(page)
        expect(page.locator(".line.remark .text")).to_contain_text("The server was restarted")
        expect(page.get_by_text("019.txt: 1 sentence")).to_be_visible()
        words = words_of(page)
        assert words == [f"{n:03}.txt: 1 sentence" for n in range(len(words))]
        expect(status_of(page)).to_have_text("running")
        page.get_by_role("button", name="Cancel").click()
        expect(status_of(page)).to_have_text("cancelled")
