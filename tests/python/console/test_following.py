"""Runs are started, followed and cancelled, and their logs read."""

import re
from pathlib import Path

import pytest
from glossary import server, uploads
from playwright.sync_api import FilePayload, Page, expect

from .support import (
    GLOSSARY,
    Demo,
    OpenPage,
    choose,
    lines_of,
    log_of,
    open_console,
    open_run,
    serving_demo,
    stat,
    status_of,
    wait_for_end_in_view,
    words_of,
)


def payload(name: str, content: str | bytes = "A run is one background execution.") -> FilePayload:
    data = content if isinstance(content, bytes) else content.encode()
    return {"name": name, "mimeType": "text/plain", "buffer": data}


def start(page: Page) -> None:
    page.get_by_role("button", name="Start").click()


def choose_level(page: Page, name: str) -> None:
    page.locator("#levels").get_by_text(name, exact=True).click()


def expect_run_ends(page: Page, status: str = "completed") -> None:
    expect(status_of(page)).to_have_text(status)


# Starting


def test_the_folder_becomes_a_glossary(page: Page, demo: Demo) -> None:
    open_console(page, demo.url)
    expect(page.get_by_text("All texts in texts")).to_be_visible()
    start(page)
    expect_run_ends(page)
    expect(lines_of(page)).to_have_text(["runs.md: 3 sentences", "読者.txt: 3 sentences", "4 terms in 2 documents"])
    expect(page.locator("#outcome")).to_contain_text("4 terms from 2 documents")
    page.get_by_role("button", name="Open the glossary").click()
    expect(page.get_by_role("term").filter(has_text="run log")).to_be_visible()
    expect(page.get_by_role("definition").filter(has_text="The run log is a bounded list of events.")).to_be_visible()
    expect(page.get_by_text("runs.md, 2 times").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as Markdown").click()
    assert "\n## run log\n" in download.value.path().read_text(encoding="utf-8")


def test_chosen_files_become_a_glossary(page: Page, demo: Demo) -> None:
    open_console(page, demo.url)
    choose(page, [payload("a.md"), payload("b.txt", "用語とは言葉である。"), payload("c.png", b"\x89")])
    expect(page.locator("#chosen")).to_have_text("2 files, 64 B; 1 more is no text and is left out")
    start(page)
    expect_run_ends(page)
    # The status may be shown before the lines, which come by another connection.
    for place, line in enumerate(["a.md: 1 sentence", "b.txt: 1 sentence"]):
        expect(lines_of(page).nth(place)).to_have_text(line)
    expect(page.locator("#source")).to_have_text("2 files")
    # The next start is of the folder again.
    expect(page.get_by_text("All texts in texts")).to_be_visible()


def test_a_chosen_folder_becomes_a_glossary(page: Page, demo: Demo, tmp_path: Path) -> None:
    for name in ("notes/a.md", "notes/deep/b.txt", "notes/.git/c.md", "notes/node_modules/d.md", "notes/e.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A run is one background execution.")
    open_console(page, demo.url)
    choose(page, tmp_path / "notes", "#folder")
    expect(page.locator("#chosen")).to_contain_text("2 files, 68 B; 3 more are no texts and are left out")
    start(page)
    expect_run_ends(page)
    expect(page.locator("#source")).to_have_text("notes")
    for place, line in enumerate(["notes/a.md: 1 sentence", "notes/deep/b.txt: 1 sentence"]):
        expect(lines_of(page).nth(place)).to_have_text(line)


def test_a_choice_can_be_taken_back(page: Page, demo: Demo) -> None:
    open_console(page, demo.url)
    choose(page, [payload("a.md")])
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#chosen")).to_have_text("All texts in texts")
    start(page)
    expect(page.locator("#source")).to_have_text("texts")


def test_too_much_is_refused_before_it_is_sent(page: Page, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_FILES", 3)
    monkeypatch.setattr(server, "MAX_BYTES", 100)
    monkeypatch.setattr(server, "MAX_TOTAL_BYTES", 250)
    open_console(page, demo.url)
    refusal = page.locator("#refusal")
    for files, why in [
        ([payload("a.png")], "None of these is a text (.markdown .md"),
        ([payload("a.md", "x" * 101)], "a.md is too large: a text has at most 100 B."),
        ([payload(f"{n}.md") for n in range(4)], "4 texts are too many: at most 3 can be read at once."),
        (
            [payload(f"{n}.md", "x" * 90) for n in range(3)],
            "270 B are too much: all texts together have at most 250 B.",
        ),
    ]:
        choose(page, files)
        expect(refusal).to_contain_text(why)
    assert demo.runner.runs() == []


def test_what_the_server_refuses_is_told(page: Page, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    open_console(page, demo.url)
    choose(page, [payload("a.md", "x" * 101)])
    monkeypatch.setattr(uploads, "MAX_BYTES", 100)
    start(page)
    expect(page.locator("#refusal")).to_have_text("a.md is too large: a text has at most 100 B.")
    assert demo.runner.runs() == []


def test_a_second_run_of_the_folder_is_refused(page: Page, texts: Path) -> None:
    with serving_demo(texts, pace=3600.0) as demo:
        open_console(page, demo.url)
        start(page)
        expect(status_of(page)).to_have_text("running")
        start(page)
        (run,) = demo.runner.runs()
        expect(page.locator("#refusal")).to_have_text(
            f"Run {run.run_id} is still active: cancel it, or wait for its end."
        )
        page.get_by_role("button", name="Cancel").click()
        expect_run_ends(page, "cancelled")


def test_many_runs_at_a_time_are_refused(page: Page, demo: Demo) -> None:
    for _ in range(server.MAX_ACTIVE_RUNS):
        live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    start(page)
    expect(page.locator("#refusal")).to_have_text("4 runs are active: cancel one, or wait for its end.")


# Following


def test_a_run_is_followed_while_it_goes_on(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    expect(page.get_by_text("Nothing said yet.")).to_be_visible()
    live.progress(34, 120, step="Reading")
    expect(page.locator("#step")).to_have_text("Reading")
    expect(page.locator("#amount")).to_have_text("34 of 120 (28%)")
    bar = page.get_by_role("progressbar", name="Reading")
    assert bar.evaluate("bar => bar.value / bar.max") == pytest.approx(34 / 120)
    live.progress(7, None, step="Guessing")
    expect(page.locator("#amount")).to_have_text("7")
    assert page.get_by_role("progressbar", name="Guessing").evaluate("bar => bar.position") == -1
    live.log("first")
    live.log("second", level="warning")
    expect(lines_of(page)).to_have_text(["first", "second"])
    expect(page.locator(".line.warning .level")).to_have_text("warning")
    expect(page.locator("#times")).to_have_text(re.compile(r"started at \d\d:\d\d:\d\d, \d+ s"))
    expect(page.get_by_role("navigation")).to_contain_text("running")
    live.end()
    expect_run_ends(page)
    expect(page.get_by_role("navigation")).to_contain_text("completed")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(bar).to_be_hidden()


def test_a_run_started_elsewhere_appears_first(page: Page, demo: Demo) -> None:
    older = demo.live_run("older")
    open_run(page, demo.url, older.run_id)
    newer = demo.live_run("newer")
    runs = page.get_by_role("navigation").get_by_role("link")
    expect(runs.locator(".source")).to_have_text(["newer", "older"])
    expect(runs.nth(1)).to_have_attribute("aria-current", "true")
    runs.nth(0).click()
    expect(page.get_by_role("heading", name=f"Run {newer.run_id}", exact=True)).to_be_visible()
    expect(runs.nth(0)).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.locator("#source")).to_have_text("older")


def test_the_newest_line_is_in_view_unless_the_reader_scrolled_up(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    for n in range(300):
        live.log(f"line {n} {'that is longer than a line of the log is wide ' * (n % 3)}")
    expect(page.get_by_text("line 299")).to_be_in_viewport()
    wait_for_end_in_view(page)
    live.log("line 300")
    expect(page.get_by_text("line 300")).to_be_in_viewport()

    newest = page.get_by_role("button", name="↓")
    expect(newest).to_be_hidden()
    log_of(page).hover()
    page.mouse.wheel(0, -2000)
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


def test_lines_are_filtered_by_level_and_text(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    for level in ("debug", "info", "warning", "error"):
        for fruit in ("Apple", "pear"):
            live.log(f"{fruit} {level}", level=level)
    open_run(page, demo.url, live.run_id)
    expect(page.locator("#shown")).to_have_text("8 lines")
    choose_level(page, "Problems")
    expect(lines_of(page)).to_have_text(["Apple warning", "pear warning", "Apple error", "pear error"])
    expect(page.locator("#shown")).to_have_text("4 of 8 lines")
    words = page.get_by_role("searchbox", name="Show lines with this text")
    words.fill("APPLE")
    expect(lines_of(page)).to_have_text(["Apple warning", "Apple error"])
    live.log("pear late", level="error")
    live.log("apple late", level="error")
    live.log("apple in vain")
    expect(lines_of(page)).to_have_text(["Apple warning", "Apple error", "apple late"])
    choose_level(page, "Errors")
    expect(lines_of(page)).to_have_text(["Apple error", "apple late"])
    words.clear()
    choose_level(page, "All")
    expect(lines_of(page)).to_have_count(11)


def test_errors_alone_are_not_counted_as_warnings(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    for n in range(9):
        live.log(f"error {n}", level="error")
    open_run(page, demo.url, live.run_id)
    expect(page.locator("#levels label")).to_have_text(["All", "Problems 9", "Errors 9"])
    choose_level(page, "Problems")
    expect(lines_of(page)).to_have_count(9)


def test_a_filter_that_nothing_matches_says_so(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    nothing = page.locator("#nothing")
    expect(nothing).to_have_text("Nothing said yet.")
    live.log("a line")
    expect(nothing).to_be_hidden()
    page.locator("#words").fill("another")
    expect(nothing).to_have_text("No line matches.")
    expect(nothing).to_be_in_viewport()
    expect(page.locator("#shown")).to_have_text("0 of 1 lines")
    live.log("another line")
    expect(nothing).to_be_hidden()


def test_a_cancel_is_requested_and_then_done(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    page.get_by_role("button", name="Cancel").click()
    expect(status_of(page)).to_have_text("stopping")
    button = page.get_by_role("button", name="Cancel requested")
    expect(button).to_be_disabled()
    assert live.run.cancel_requested
    live.end()
    expect_run_ends(page, "cancelled")
    expect(page.locator("#outcome")).to_contain_text("Cancelled after")
    expect(button).to_be_hidden()
    page.get_by_role("tab", name="Glossary").click()
    expect(page.get_by_text("This run has made none.")).to_be_visible()


def test_a_failed_run_tells_why(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    live.end(ValueError("no <b>model</b> answers"))
    expect_run_ends(page, "failed")
    expect(page.locator("#outcome")).to_contain_text(": ValueError: no <b>model</b> answers")


def test_a_run_finished_earlier_opens_with_its_log(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    live.log("said long ago")
    live.end()
    open_run(page, demo.url, live.run_id, "completed")
    expect(lines_of(page)).to_have_text(["said long ago"])
    page.get_by_role("tab", name="Glossary 2").click()
    expect(page.locator("#entries dt")).to_have_text(["run log", "実行ログ"])


def test_a_run_whose_log_is_no_longer_kept_opens_with_its_outcome(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    live.log("said long ago")
    live.end()
    for other in range(1 << 40, (1 << 40) + 300):
        demo.manager.finish_run(other, {"complete": True})
    open_run(page, demo.url, live.run_id, "completed")
    expect(page.locator("#nothing")).to_have_text("No lines of this run are kept.")
    expect(page.locator("#outcome")).to_contain_text("Completed in")


def test_each_run_shows_its_own_glossary(page: Page, demo: Demo) -> None:
    done, running = demo.live_run("done"), demo.live_run("running")
    done.end()
    open_run(page, demo.url, done.run_id, "completed")
    expect(page.locator("#entries dt")).to_have_count(len(GLOSSARY.entries))
    page.get_by_role("navigation").get_by_role("link").nth(0).click()
    expect(page.locator("#source")).to_have_text("running")
    expect(page.locator("#entries dt")).to_have_count(0)
    running.end()
    expect(page.locator("#entries dt")).to_have_count(len(GLOSSARY.entries))


def test_a_run_that_is_not_there_is_named(page: Page, demo: Demo) -> None:
    open_console(page, f"{demo.url}#run-0")
    expect(page.get_by_text("There is no run 0 here.")).to_be_visible()


def test_a_reload_in_the_middle_shows_every_line_once(page: Page, demo: Demo) -> None:
    live = demo.live_run("first")
    demo.live_run("second")
    open_run(page, demo.url, live.run_id)
    for n in range(50):
        live.log(f"line {n}")
    expect(lines_of(page)).to_have_count(50)
    page.reload()
    expect(page.locator("#source")).to_have_text("first")
    live.log("line 50")
    expect(lines_of(page)).to_have_count(51)
    assert words_of(page) == [f"line {n}" for n in range(51)]
    live.end()
    expect_run_ends(page)


def test_two_windows_follow_the_same_run(open_page: OpenPage, demo: Demo) -> None:
    live = demo.live_run()
    first, second = open_page(), open_page()
    live.log("before")
    for page in (first, second):
        open_run(page, demo.url, live.run_id)
    live.log("after")
    for page in (first, second):
        expect(lines_of(page)).to_have_text(["before", "after"])
        expect(page.locator("#readers")).to_contain_text("2 peak 2")
    first.close()
    expect(second.locator("#readers")).to_contain_text("1 peak 2")
    second.get_by_role("button", name="Cancel").click()
    expect(status_of(second)).to_have_text("stopping")
    live.end()
    expect_run_ends(second, "cancelled")


# Much. An `expect` that fails at first describes the page each time, which takes long in one of so many lines; here
# are only such as look at one element.


def test_ten_thousand_lines_stay_smooth(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    for n in range(10_000):
        live.log(f"line {n}", level="error" if n % 1000 == 0 else "info")
    shown = page.locator("#shown")
    expect(shown).to_have_text("10,000 lines")
    wait_for_end_in_view(page)
    assert words_of(page) == [f"line {n}" for n in range(10_000)]
    # What keeps it smooth: what is out of sight is not laid out.
    laid_out = page.evaluate(
        "() => [...document.querySelectorAll('.chunk')]"
        ".filter(chunk => chunk.firstChild.checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert 0 < laid_out < 10
    choose_level(page, "Errors")
    expect(lines_of(page)).to_have_text([f"line {n}" for n in range(0, 10_000, 1000)])
    choose_level(page, "All")
    page.locator("#words").fill("line 77")
    expect(shown).to_have_text("111 of 10,000 lines")
    page.locator("#words").clear()
    expect(shown).to_have_text("10,000 lines")
    page.locator("#log").press("Home")
    page.wait_for_function("() => document.querySelector('#log').scrollTop === 0")
    live.log("the last")
    expect(page.locator("#newest")).to_have_text("1 new line ↓")
    page.locator("#log").press("End")
    wait_for_end_in_view(page)
    expect(page.locator("#newest")).to_be_hidden()


def test_the_page_keeps_a_bounded_number_of_lines(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    for shown in ("11,000 lines", "20,000 lines; 2,000 older ones are no longer shown"):
        for n in range(11_000):
            live.log(f"line {n}")
        expect(page.locator("#shown")).to_have_text(shown)
    wait_for_end_in_view(page)
    assert words_of(page)[0] == "line 2000"


def test_a_gap_is_shown_as_such(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    for n in range(server.HISTORY + 5):
        live.log(f"line {n}")
    open_run(page, demo.url, live.run_id)
    expect(page.locator("#shown")).to_have_text("20,000 lines")
    assert page.locator("#log-lines .line").first.get_attribute("class") == "line gap"
    expect(page.locator(".line.gap .text")).to_have_text(
        "5 events are missing here (numbers 1 to 5): the server no longer held them."
    )
    assert words_of(page) == [f"line {n}" for n in range(5, server.HISTORY + 5)]


# Inside


def test_the_entries_go_when_a_run_ends(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    expect(stat(page, "Active runs")).to_have_text("1")
    expect(page.locator("#readers")).to_contain_text("1 peak 1")
    live.log("a line")
    live.end()
    expect(stat(page, "Active runs")).to_have_text("0")
    expect(stat(page, "Finished runs kept")).to_have_text("1")
    expect(page.locator("#readers")).to_contain_text("0 peak 1")


def test_the_chart_shows_events_a_second(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    expect(page.locator("#event-rate")).to_have_text("0 peak 0")
    for n in range(500):
        live.log(f"line {n}")
    expect(page.locator("#event-rate")).not_to_contain_text("peak 0")
    chart = page.get_by_role("img", name=re.compile(r"^\d+ now, at most [1-9]\d* in the last minute$")).first
    # A peak, which touches the top of the chart, and seconds without an event, on its ground.
    expect(chart.locator(".line")).to_have_attribute("d", re.compile(r"[ML]\d+ 23L\d+ 1(L|$)"))
