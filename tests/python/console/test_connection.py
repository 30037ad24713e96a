"""The connection is lost and comes back, to the same server or another: nothing is missed, nothing comes twice."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs import RunManager, SqliteStore
from genglossary_runs.runner import Runner
from playwright.sync_api import Page, Route, expect

from .support import Served, Wire, copied, lines_of, open_console, open_run, serving, status_of

RECONNECTING = re.compile(r"^Connection to the server lost at \d\d:\d\d:\d\d\. Reconnecting…$")


def expect_connected(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_lost_connection_is_told_and_resumed(page: Page, served: Served, wire: Wire) -> None:
    live = served.live_run()
    open_run(page, wire.url, live.run_id)
    for n in range(20):
        live.log(f"line {n}")
    expect(page.locator("#shown")).to_have_text("20 lines")
    wire.cut()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    since = page.get_by_role("alert").text_content()
    for n in range(20, 40):
        live.log(f"line {n}")
    wire.mend()
    expect_connected(page)
    live.log("line 40")
    expect(page.get_by_text("line 40")).to_be_visible()
    remark = page.locator(".line.remark .text")
    expect(remark).to_have_text(re.compile(r"^The connection was lost at .* and is back since .*Nothing is missing"))
    assert since is not None
    expect(remark).to_contain_text(since.split("lost at ")[1][:8])
    expect(page.locator("#shown")).to_have_text("41 lines")
    assert [line for line in copied(page) if line.startswith("line")] == [f"line {n}" for n in range(41)]
    live.end()
    expect(status_of(page)).to_have_text("completed")


def test_what_was_lost_meanwhile_is_a_gap(page: Page, served: Served, wire: Wire) -> None:
    live = served.live_run()
    open_run(page, wire.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    wire.cut()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    for n in range(20_010):
        live.publish(progress_current=n, progress_total=20_010)
    wire.mend()
    expect(page.locator(".line.gap .text")).to_have_text(
        "10 events are missing here (numbers 2 to 11): the server no longer held them."
    )
    live.log("after")
    expect(lines_of(page)).to_have_text(["before", "after"])


def test_a_run_that_ends_meanwhile_is_seen_to_have_ended(page: Page, served: Served, wire: Wire) -> None:
    live = served.live_run()
    open_run(page, wire.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    wire.cut()
    expect(page.get_by_role("alert")).to_have_text(RECONNECTING)
    live.log("meanwhile")
    live.end()
    wire.mend()
    expect(lines_of(page)).to_have_text(["before", "meanwhile"])
    expect(status_of(page)).to_have_text("completed")
    expect_connected(page)


def test_a_start_without_an_answer_is_told(page: Page, served: Served, wire: Wire) -> None:
    open_console(page, wire.url)
    wire.cut()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#refusal")).to_have_text("The server does not answer. Try again when it is back.")
    assert served.runner.runs() == []


def test_what_is_old_news_is_dimmed(page: Page, served: Served, wire: Wire) -> None:
    open_console(page, wire.url)
    expect(page.locator("#stats")).to_have_css("opacity", "1")
    wire.cut()
    for name in ("#stats", "figure:has(#event-chart)", "figure:has(#reader-chart)"):
        expect(page.locator(name)).to_have_css("opacity", "0.45")
    wire.mend()
    expect_connected(page)
    expect(page.locator("#stats")).to_have_css("opacity", "1")


@pytest.mark.parametrize("status", [502, 503])
def test_a_proxys_refusal_was_taken_for_the_end_of_the_run(page: Page, served: Served, wire: Wire, status: int) -> None:
    """A proxy answers so while the server behind it restarts."""

    def fail(route: Route) -> None:
        route.fulfill(status=status, body="<h1>Bad Gateway</h1>", content_type="text/html")

    live = served.live_run()
    open_run(page, wire.url, live.run_id)
    live.log("before")
    expect(lines_of(page)).to_have_text(["before"])
    page.route("**/api/runs/**", fail)
    with page.expect_response(lambda response: response.status == status):
        wire.cut()
        wire.mend()
    expect(page.get_by_role("alert").first).to_have_text(RECONNECTING)
    live.log("after")
    page.unroute("**/api/runs/**")
    expect_connected(page)
    expect(lines_of(page)).to_have_text(["before", "after"])
    expect(status_of(page)).to_have_text("running")


def test_a_refused_stream_was_a_lost_connection_every_few_seconds(page: Page) -> None:
    """Each time the log got a line that told so, until these had taken the place of the run's own."""
    with serving(stream_options={"max_streams": 0}) as served:
        live = served.live_run()
        refusals: list[int] = []
        page.on("response", lambda response: refusals.append(response.status) if response.status == 503 else None)
        open_run(page, served.url, live.run_id)
        for n in range(3):
            live.log(f"line {n}")
            expect(lines_of(page)).to_have_text([f"line {m}" for m in range(n + 1)])
        live.end()
        expect(status_of(page)).to_have_text("completed")
        expect(page.locator(".line.remark")).to_have_count(0)
        assert 0 < len(refusals) < 4


@pytest.fixture
def loose_wire() -> Iterator[Wire]:
    """A wire that leads nowhere yet, and so outlives a server."""
    with closing(Wire()) as wire:
        yield wire


def test_a_run_that_a_restart_has_lost_keeps_its_lines(page: Page, loose_wire: Wire) -> None:
    with serving() as served:
        loose_wire.mend(served.port)
        live = served.live_run(run_id="import 7")
        open_run(page, loose_wire.url, live.run_id)
        live.log("said before")
        expect(lines_of(page)).to_have_text(["said before"])
        loose_wire.cut()
    with serving() as served:
        loose_wire.mend(served.port)
        expect(status_of(page)).to_have_text("lost")
        expect(page.locator("#outcome")).to_contain_text("The server no longer has this run")
        expect(lines_of(page)).to_have_text(["said before"])
        expect_connected(page)
        # Until the id is that of a run again.
        served.live_run(run_id="import 7").log("said by another")
        expect(status_of(page)).to_have_text("running")
        expect(lines_of(page)).to_have_text(["said by another"])


@pytest.mark.parametrize(("path", "status"), [("", 404), ("", 500), ("/log?*", 404)])
def test_a_refusal_at_first_left_the_log_of_a_run_empty(page: Page, served: Served, path: str, status: int) -> None:
    """The run was shown as soon as the server had it, but its events were no longer asked for."""
    live = served.live_run()
    live.log("a line")
    open_console(page, served.url + "#run/nowhere")
    page.route("**/api/runs?*", lambda route: route.fulfill(json={"runs": [], "next": None, "total": 0}))
    page.route(f"**/api/runs/{live.run_id}{path}", lambda route: route.fulfill(status=status, json={}), times=1)
    with page.expect_response(lambda response: response.status == status):
        page.evaluate("id => location.hash = `#run/${id}`", live.run_id)
    expect(status_of(page)).to_have_text("running")
    expect(lines_of(page)).to_have_text(["a line"])
    # The page still asks for the runs, and must not be closed in the middle of an answer.
    page.unroute_all(behavior="wait")


def test_with_a_store_a_restart_loses_nothing(page: Page, loose_wire: Wire, tmp_path: Path) -> None:
    def runner() -> Any:
        return Runner(RunManager(store=SqliteStore(tmp_path / "runs.db")))

    with serving(runner=runner()) as served:
        loose_wire.mend(served.port)
        live = served.live_run("kept")
        open_run(page, loose_wire.url, live.run_id)
        live.log("said before")
        expect(lines_of(page)).to_have_text(["said before"])
        loose_wire.cut()
        expect(page.get_by_role("alert").first).to_have_text(RECONNECTING)
        live.log("said meanwhile")
        live.end()
    with serving(runner=runner()) as served:
        loose_wire.mend(served.port)
        expect(status_of(page)).to_have_text("completed")
        expect(lines_of(page)).to_have_text(["said before", "said meanwhile"])
        expect_connected(page)


def test_another_life_of_a_run_begins_its_log_anew(page: Page, loose_wire: Wire) -> None:
    """As where an application gives runs ids of its own, and starts one again after a restart."""
    with serving() as served:
        loose_wire.mend(served.port)
        live = served.live_run("first", run_id="import 7")
        open_run(page, loose_wire.url, "import 7")
        live.log("said by the first")
        expect(lines_of(page)).to_have_text(["said by the first"])
        loose_wire.cut()
        expect(page.get_by_role("alert").first).to_have_text(RECONNECTING)
    with serving() as served:
        live = served.live_run("second", run_id="import 7")
        live.log("said by the second")
        loose_wire.mend(served.port)
        expect(lines_of(page)).to_have_text(["said by the second"])
        expect(page.locator(".line.remark .text").first).to_contain_text("The run was started anew")
        expect(page.locator("#run-title")).to_have_text("second")
        expect(status_of(page)).to_have_text("running")
        expect_connected(page)
