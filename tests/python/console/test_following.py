"""Runs are listed and followed, and what the manager holds is shown."""

import re

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import RunContext, Runner
from playwright.sync_api import Browser, Page, expect

from .conftest import IMPATIENT
from .support import (
    OpenPage,
    Served,
    copied,
    lines_of,
    log_of,
    open_console,
    open_run,
    runs_of,
    serving,
    stat,
    status_of,
    turn_wheel,
    wait_for_end_in_view,
)

# Following


def test_a_run_is_followed_while_it_goes_on(page: Page, served: Served) -> None:
    live = served.live_run("texts")
    open_run(page, served.url, live.run_id)
    expect(page.get_by_text("Nothing said yet.")).to_be_visible()
    live.progress(34, 120, step="Reading")
    expect(page.locator("#step")).to_have_text("Reading")
    expect(page.locator("#amount")).to_have_text("34 of 120 (28%)")
    bar = page.get_by_role("main").get_by_role("progressbar")
    assert bar.evaluate("bar => bar.value / bar.max") == pytest.approx(34 / 120)
    live.progress(7, None, step="Guessing")
    expect(page.locator("#amount")).to_have_text("7")
    assert bar.evaluate("bar => bar.position") == -1
    page.locator("#earlier summary").click()
    expect(page.locator("#steps li")).to_have_text(re.compile(r"Reading\s*34 of 120"))
    live.log("first")
    live.log("second", level="warning")
    expect(lines_of(page)).to_have_text(["first", "second"])
    expect(page.locator(".line.warning .level")).to_have_text("warning")
    expect(page.locator("#times")).to_have_text(re.compile(r"started \d\d:\d\d:\d\d, \d+ s"))
    expect(page.get_by_role("navigation")).to_contain_text("running")
    live.end()
    expect(status_of(page)).to_have_text("completed")
    expect(page.get_by_role("navigation")).to_contain_text("completed")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


@pytest.mark.parametrize("is_open", [True, False])
def test_progress_in_no_numbers_stopped_the_page(page: Page, served: Served, is_open: bool) -> None:
    live = served.live_run()
    if is_open:
        open_run(page, served.url, live.run_id)
    live.publish(progress_current=1, progress_total=2, step="Reading")
    for current in ("3/10", [3], None, True, 10**400):
        live.publish(progress_current=current, progress_total=2, step="Reading")
    live.log("all the same")
    if not is_open:
        open_run(page, served.url, live.run_id)
    expect(lines_of(page)).to_have_text(["all the same"])
    expect(page.locator("#amount")).to_have_text("1 of 2 (50%)")
    for total in ("unknown", 10**400):
        live.publish(progress_current=3, progress_total=total, step="Reading")
    expect(page.locator("#amount")).to_have_text("3")
    served.live_run("another")
    expect(page.get_by_role("navigation")).to_contain_text("another")


def test_one_look_that_went_wrong_was_the_last(browser: Browser, served: Served) -> None:
    page = browser.new_page()
    try:
        page.add_init_script(IMPATIENT)
        page.route("**/api/runs?*", lambda route: route.fulfill(json={"runs": [None]}), times=1)
        with page.expect_console_message(lambda message: message.type == "error"):
            page.goto(served.url)
        served.live_run("another")
        expect(page.get_by_role("navigation")).to_contain_text("another")
    finally:
        page.close()


def test_the_progress_bar_vanished_when_a_run_was_cancelled(page: Page, served: Served) -> None:
    """Nobody saw how far it had come."""
    live = served.live_run()
    live.progress(34, 120, step="Reading")
    open_run(page, served.url, live.run_id)
    live.run.cancel()
    live.end()
    expect(status_of(page)).to_have_text("cancelled")
    expect(page.locator("#amount")).to_have_text("34 of 120 (28%)")
    expect(page.get_by_role("progressbar", name="Reading")).to_be_visible()
    page.reload()
    expect(page.locator("#amount")).to_have_text("34 of 120 (28%)")


def test_a_failed_run_had_no_error_line(page: Page, served: Served) -> None:
    """The filter for errors found none."""
    live = served.live_run()
    live.log("before")
    open_run(page, served.url, live.run_id)
    live.end(ValueError("no <b>model</b> answers"))
    expect(status_of(page)).to_have_text("failed")
    expect(page.locator("#outcome")).to_contain_text(": ValueError: no <b>model</b> answers")
    expect(lines_of(page)).to_have_text(["before", "ValueError: no <b>model</b> answers"])
    page.locator("#levels").get_by_text("Errors").click()
    expect(lines_of(page)).to_have_text(["ValueError: no <b>model</b> answers"])
    page.reload()
    expect(lines_of(page)).to_have_text(["before", "ValueError: no <b>model</b> answers"])


def test_a_traceback_is_shown_once_if_the_runner_sends_it(page: Page) -> None:
    with serving(runner=Runner(RunManager(), tracebacks=True)) as served:
        live = served.live_run()
        open_run(page, served.url, live.run_id)
        live.end(ValueError("no model answers"))
        page.locator("#traceback summary").click()
        expect(page.locator("#traceback-text")).to_contain_text("in _work")
        expect(lines_of(page).first).to_have_text("ValueError: no model answers")
        expect(page.locator(".line.error .number:not(:empty)")).to_have_count(1)
        expect(page.locator("#shown")).to_have_text("1 line")


def test_a_run_started_elsewhere_appears_first(page: Page, served: Served) -> None:
    older = served.live_run("older")
    open_run(page, served.url, older.run_id)
    newer = served.live_run("newer")
    runs = runs_of(page)
    expect(runs.locator(".name")).to_have_text(["newer", "older"])
    expect(runs.nth(1)).to_have_attribute("aria-current", "true")
    runs.nth(0).click()
    expect(page.locator("#run-id")).to_have_text(newer.run_id)
    expect(runs.nth(0)).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.locator("#run-title")).to_have_text("older")


def test_a_queued_run_tells_its_place(page: Page) -> None:
    with serving(runner=Runner(RunManager(), max_active=1)) as served:
        served.live_run()

        def work(context: RunContext) -> None:
            context.log("at last")

        queued = [served.runner.start(work, name=f"number {n}") for n in range(2)]
        open_console(page, f"{served.url}#run/{queued[1].run_id}")
        expect(status_of(page)).to_have_text("queued, number 2 in the queue")
        expect(page.locator("#step")).to_have_text("Waiting for its turn")
        served.release()
        expect(status_of(page)).to_have_text("completed")


def test_a_cancel_is_requested_and_then_done(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    page.get_by_role("button", name="Cancel").click()
    expect(status_of(page)).to_have_text("stopping")
    button = page.get_by_role("button", name="Cancel requested")
    expect(button).to_be_disabled()
    # It looked like one that can be pressed.
    expect(button).to_have_css("color", page.locator("#copy-link").evaluate("link => getComputedStyle(link).color"))
    assert live.run.cancel_requested
    live.end()
    expect(status_of(page)).to_have_text("cancelled")
    expect(page.locator("#outcome")).to_contain_text("Cancelled after")
    expect(button).to_be_hidden()
    page.get_by_role("tab", name="Result").click()
    expect(page.get_by_text("This run has none.")).to_be_visible()


def test_a_run_finished_earlier_opens_with_its_log(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("said long ago")
    live.end()
    open_run(page, served.url, live.run_id, "completed")
    expect(lines_of(page)).to_have_text(["said long ago"])


def test_a_run_whose_log_is_no_longer_kept_opens_with_its_outcome(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("said long ago")
    live.end()
    for other in range(1 << 40, (1 << 40) + 300):
        served.manager.finish_run(other, {"complete": True})
    open_run(page, served.url, live.run_id, "completed")
    expect(page.locator("#nothing")).to_have_text("The run said nothing, or the server no longer holds its lines.")
    expect(page.locator("#outcome")).to_contain_text("Completed in")


def test_a_message_that_was_no_text_stopped_the_log(page: Page, served: Served) -> None:
    live = served.live_run()
    served.manager.publish(live.run_id, {"message": {"toString": 1}})
    open_run(page, served.url, live.run_id)
    expect(lines_of(page)).to_have_text(['{"toString":1}'])


def test_a_run_that_is_not_there_is_named(page: Page, served: Served) -> None:
    open_console(page, f"{served.url}#run/nowhere")
    expect(page.get_by_text("There is no run nowhere here.")).to_be_visible()


def test_a_reload_in_the_middle_shows_every_line_once(page: Page, served: Served) -> None:
    live = served.live_run("first")
    served.live_run("second")
    open_run(page, served.url, live.run_id)
    for n in range(30):
        live.log(f"line {n}")
    expect(page.locator("#shown")).to_have_text("30 lines")
    page.reload()
    expect(page.locator("#run-title")).to_have_text("first")
    live.log("line 30")
    expect(page.locator("#shown")).to_have_text("31 lines")
    assert copied(page) == [f"line {n}" for n in range(31)]
    live.end()
    expect(status_of(page)).to_have_text("completed")


def test_two_windows_follow_the_same_run(open_page: OpenPage, served: Served) -> None:
    live = served.live_run()
    first, second = open_page(), open_page()
    live.log("before")
    for page in (first, second):
        open_run(page, served.url, live.run_id)
    live.log("after")
    for page in (first, second):
        expect(lines_of(page)).to_have_text(["before", "after"])
        expect(page.locator("#readers")).to_contain_text("2 peak 2")
    first.close()
    expect(second.locator("#readers")).to_contain_text("1 peak 2")
    second.get_by_role("button", name="Cancel").click()
    expect(status_of(second)).to_have_text("stopping")
    live.end()
    expect(status_of(second)).to_have_text("cancelled")


def test_the_newest_line_is_in_view_unless_the_reader_scrolled_up(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    for n in range(300):
        live.log(f"line {n} {'that is longer than a line of the log is wide ' * (n % 3)}")
    expect(page.get_by_text("line 299")).to_be_in_viewport()
    wait_for_end_in_view(page)
    live.log("line 300")
    expect(page.get_by_text("line 300")).to_be_in_viewport()

    newest = page.locator("#newest")
    expect(newest).to_be_hidden()
    turn_wheel(page, log_of(page), -2000)
    expect(newest).to_have_text("Newest ↓")
    before = log_of(page).evaluate("log => log.scrollTop")
    for n in range(301, 304):
        live.log(f"line {n}")
    expect(newest).to_have_text("3 new lines ↓")
    assert log_of(page).evaluate("log => log.scrollTop") == before
    newest.click()
    expect(page.get_by_text("line 303")).to_be_in_viewport()
    expect(newest).to_be_hidden()
    live.log("line 304")
    expect(page.get_by_text("line 304")).to_be_in_viewport()


def test_an_event_with_complete_in_its_data_was_taken_for_the_end(page: Page, served: Served) -> None:
    """The application's contract has such messages; only the name of an event tells that it is the terminal one."""
    live = served.live_run()
    fields = 'complete=true gap={"to":1}'
    live.publish(message="early", complete=True, gap={"to": 1})
    open_run(page, served.url, live.run_id)
    expect(lines_of(page)).to_have_text([f"early {fields}"])
    live.publish(message="later", complete=True, gap={"to": 1})
    live.log("the last")
    expect(lines_of(page)).to_have_text([f"early {fields}", f"later {fields}", "the last"])
    expect(status_of(page)).to_have_text("running")


# The list


def test_a_run_that_was_just_started_stayed_out_of_sight_in_a_long_list(page: Page, served: Served) -> None:
    """The list snapped back to the run that had been at its top."""
    for n in range(30):
        served.live_run(f"run {n}").end()
    open_console(page, served.url)
    expect(runs_of(page)).to_have_count(30)
    turn_wheel(page, page.locator("#runs"), 500)
    assert page.locator("#runs").evaluate("runs => runs.scrollTop") > 300
    page.get_by_role("button", name="Start", exact=True).click()
    started = runs_of(page).filter(has_text="from the page")
    expect(started).to_be_in_viewport(ratio=1)
    expect(status_of(page)).to_have_text("completed")
    expect(started).to_be_in_viewport(ratio=1)


def test_the_list_has_a_count_start_times_pages_and_filters(page: Page, served: Served) -> None:
    for n in range(55):
        served.live_run(f"run {n}").end(ValueError("no") if n == 3 else None)
    live = served.live_run("the last")
    open_run(page, served.url, live.run_id)
    expect(page.locator("#run-count")).to_have_text("56 runs")
    expect(runs_of(page)).to_have_count(50)
    expect(runs_of(page).first.locator(".started")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    page.get_by_role("button", name="Show more").click()
    expect(runs_of(page)).to_have_count(56)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.locator("#filter-status").select_option("failed")
    expect(runs_of(page).locator(".name")).to_have_text(["run 3"])
    expect(page.locator("#run-count")).to_have_text("1 run")
    # The run that is shown stays so.
    expect(page.locator("#run-title")).to_have_text("the last")
    page.locator("#filter-status").select_option("")
    page.get_by_role("searchbox", name="Search runs by name, key, id or error").fill("run 4")
    expect(runs_of(page)).to_have_count(11)
    page.locator("#find-runs").fill("nothing has this")
    expect(page.locator("#no-runs")).to_have_text("No run matches.")


# Inside


def test_the_entries_go_when_a_run_ends(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    expect(stat(page, "Active runs")).to_have_text("1")
    expect(page.locator("#readers")).to_contain_text("1 peak 1")
    live.log("a line")
    live.end()
    expect(stat(page, "Active runs")).to_have_text("0")
    expect(stat(page, "Finished runs kept")).to_have_text("1")
    expect(page.locator("#readers")).to_contain_text("0 peak 1")


def test_the_chart_shows_events_a_second(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    expect(page.locator("#event-rate")).to_have_text("0 peak 0")
    for n in range(500):
        live.log(f"line {n}")
    expect(page.locator("#event-rate")).not_to_contain_text("peak 0")
    chart = page.get_by_role("img", name=re.compile(r"^\d+ now, at most [1-9]\d* in the last minute$")).first
    # A peak, which touches the top of the chart, and seconds without an event, on its ground.
    expect(chart.locator(".line")).to_have_attribute("d", re.compile(r"[ML]\d+ 23L\d+ 1(L|$)"))


def test_a_figure_of_three_digits_wrapped_and_moved_the_column(page: Page, served: Served) -> None:
    open_console(page, served.url)
    expect(page.locator("#event-rate")).to_contain_text("peak")
    top = "() => document.querySelector('#event-chart').getBoundingClientRect().top"
    before = page.evaluate(top)
    page.evaluate("() => document.querySelector('#event-rate').firstChild.data = '123,456,789 '")
    assert page.evaluate(top) == before
