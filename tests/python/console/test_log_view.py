"""The log of a run: numbers, groups, search, colours, and many lines."""

import re

from playwright.sync_api import Page, expect

from .support import (
    HISTORY,
    Served,
    choose_level,
    copied,
    lines_of,
    log_of,
    open_console,
    open_run,
    wait_for_end_in_view,
)

# Of the rows that are drawn, the first and the last that are in view at least in part.
IN_VIEW = """() => {
    const log = document.querySelector('#log').getBoundingClientRect();
    const seen = [...document.querySelectorAll('.log .line')].filter(line => {
        const {top, bottom} = line.getBoundingClientRect();
        return bottom > log.top + 1 && top < log.bottom - 1;
    });
    return [seen[0], seen.at(-1)].map(line => line?.querySelector('.text').textContent);
}"""


def test_the_fields_of_a_message_are_shown_after_it(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    live.log("read", pages=100, file="a b.md", ok=True, parts=["x"])
    expect(lines_of(page)).to_have_text(['read pages=100 file="a b.md" ok=true parts=["x"]'])
    expect(lines_of(page).locator(".dim")).to_have_text('pages=100 file="a b.md" ok=true parts=["x"]')


# Filters


def test_lines_are_filtered_by_level_and_text(page: Page, served: Served) -> None:
    live = served.live_run()
    for level in ("debug", "info", "warning", "error"):
        for fruit in ("Apple", "pear"):
            live.log(f"{fruit} {level}", level=level)
    open_run(page, served.url, live.run_id)
    expect(page.locator("#shown")).to_have_text("8 lines")
    expect(page.locator("#levels label")).to_have_text(["All", "Problems 4", "Errors 2"])
    choose_level(page, "Problems")
    expect(lines_of(page)).to_have_text(["Apple warning", "pear warning", "Apple error", "pear error"])
    expect(page.locator("#shown")).to_have_text("4 of 8 lines")
    page.locator("#words").fill("APPLE")
    page.get_by_role("button", name="Matches only").click()
    expect(lines_of(page)).to_have_text(["Apple warning", "Apple error"])
    live.log("pear late", level="error")
    live.log("apple late", level="error")
    live.log("apple in vain")
    expect(lines_of(page)).to_have_text(["Apple warning", "Apple error", "apple late"])
    choose_level(page, "Errors")
    expect(lines_of(page)).to_have_text(["Apple error", "apple late"])
    page.locator("#words").clear()
    choose_level(page, "All")
    expect(lines_of(page)).to_have_count(11)


def test_a_filter_that_nothing_matches_says_so(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    nothing = page.locator("#nothing")
    expect(nothing).to_have_text("Nothing said yet.")
    live.log("a line")
    expect(nothing).to_be_hidden()
    choose_level(page, "Errors")
    expect(nothing).to_have_text("No line matches.")
    expect(nothing).to_be_in_viewport()
    expect(page.locator("#shown")).to_have_text("0 of 1 line")
    live.log("an error", level="error")
    expect(nothing).to_be_hidden()


def test_the_first_filter_of_thousands_of_lines_showed_an_empty_frame(page: Page, served: Served) -> None:
    live = served.live_run()
    for n in range(3000):
        live.log(f"line {n} {'of many words ' * 20}", level="warning" if n % 2 else "info")
    open_run(page, served.url, live.run_id)
    expect(page.locator("#shown")).to_have_text("3,000 lines")
    # What the reader sees in the very frame after the filter was chosen, and the one after that.
    seen = page.evaluate(f"""async () => {{
        const frame = () => new Promise(requestAnimationFrame);
        document.querySelector('#levels [value=warning]').click();
        await frame();
        const first = ({IN_VIEW})();
        await frame();
        return [first, ({IN_VIEW})()];
    }}""")
    for _, last in seen:
        assert last.startswith("line 2999 ")


# Links to lines


def test_a_line_has_a_number_that_is_a_link(page: Page, served: Served) -> None:
    live = served.live_run()
    for n in range(500):
        live.log(f"line {n}")
        live.progress(n, 500)
    open_run(page, served.url, live.run_id)
    wait_for_end_in_view(page)
    log_of(page).press("Home")
    page.get_by_role("link", name="Link to line 5", exact=True).click()
    target = page.locator(".line.target .text")
    expect(target).to_have_text("line 4")
    link = page.url
    assert link.startswith(f"{served.url}#run/{live.run_id}/")
    page.goto("about:blank")
    open_console(page, link)
    expect(target).to_have_text("line 4")
    expect(target).to_be_in_viewport()
    # Also while the page is open, and back.
    page.evaluate("link => location.hash = link.replace(/9$/, '799')", f"#run/{live.run_id}/9")
    expect(target).to_have_text("line 399")
    expect(target).to_be_in_viewport()
    page.go_back()
    expect(target).to_have_text("line 4")


def test_a_link_to_a_line_that_is_yet_to_come_waits_for_it(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("the first")
    open_console(page, f"{served.url}#run/{live.run_id}/2")
    expect(lines_of(page)).to_have_text(["the first"])
    live.log("the second")
    expect(page.locator(".line.target .text")).to_have_text("the second")
    page.goto(f"{served.url}#run/{live.run_id}/99")
    live.end()
    expect(page.locator("#log-missing")).to_contain_text("is not in the log that the server holds")


# Groups


def test_groups_fold(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("before")
    with live.context.group("Compiling"):
        live.log("one")
        with live.context.group("Linking"):
            live.log("two", level="error")
    live.log("after")
    open_run(page, served.url, live.run_id)
    everything = ["before", "Compiling", "one", "Linking", "two", "after"]
    expect(lines_of(page)).to_have_text(everything)
    page.get_by_role("button", name="Fold the group").first.click()
    expect(lines_of(page)).to_have_text(["before", re.compile("^Compiling 3 lines"), "after"])
    expect(page.locator("#shown")).to_have_text("6 lines; 3 folded")
    # What is asked for unfolds what it is in.
    page.get_by_role("button", name="First error").click()
    expect(lines_of(page)).to_have_text(everything)
    expect(page.locator(".line.target .text")).to_have_text("two")
    page.get_by_role("button", name="Fold the group").last.click()
    expect(lines_of(page)).to_have_text(["before", "Compiling", "one", re.compile("^Linking"), "after"])
    # Errors are found wherever they are.
    choose_level(page, "Errors")
    expect(lines_of(page)).to_have_text(["two"])


def test_a_group_that_was_folded_from_the_keyboard_lost_the_focus(page: Page, served: Served) -> None:
    live = served.live_run()
    group = live.context.group("Compiling")
    group.__enter__()
    live.log("one")
    open_run(page, served.url, live.run_id)
    page.get_by_role("button", name="Fold the group").press("Enter")
    expect(lines_of(page)).to_have_text([re.compile("^Compiling 1 line")])
    unfold = page.get_by_role("button", name="Unfold the group")
    expect(unfold).to_be_focused()
    # What it hides is counted on.
    live.log("two")
    expect(lines_of(page)).to_have_text([re.compile("^Compiling 2 lines")])
    page.keyboard.press("Enter")
    expect(lines_of(page)).to_have_text(["Compiling", "one", "two"])
    expect(page.get_by_role("button", name="Fold the group")).to_be_focused()


def test_a_selection_in_the_log_was_lost_with_a_filter_that_kept_its_line(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("fine")
    live.log("broken", level="error")
    open_run(page, served.url, live.run_id)
    expect(lines_of(page)).to_have_text(["fine", "broken"])
    page.evaluate("() => getSelection().selectAllChildren(document.querySelector('.line.error .text'))")
    page.locator("#levels [value=error]").evaluate("box => box.click()")
    expect(lines_of(page)).to_have_text(["broken"])
    assert page.evaluate("() => String(getSelection())") == "broken"


# Search


def test_a_search_goes_through_lines_that_are_not_on_the_screen(page: Page, served: Served) -> None:
    live = served.live_run()
    for n in range(3000):
        live.log(f"line {n}" + (" with a Needle" if n % 1000 == 7 else ""))
    open_run(page, served.url, live.run_id)
    expect(page.locator("#shown")).to_have_text("3,000 lines")
    words, matches, target = page.locator("#words"), page.locator("#matches"), page.locator(".line.target .text")
    words.fill("needle")
    expect(matches).to_have_text("– of 3")
    words.press("Enter")
    for place, n in ((1, 7), (2, 1007), (3, 2007), (1, 7)):
        expect(matches).to_have_text(f"{place} of 3")
        expect(target).to_have_text(f"line {n} with a Needle")
        expect(target).to_be_in_viewport()
        expect(target.locator("mark")).to_have_text("Needle")
        page.get_by_role("button", name="Next match").click()
    words.press("Shift+Enter")
    expect(matches).to_have_text("1 of 3")
    page.get_by_role("button", name="Previous match").click()
    expect(matches).to_have_text("3 of 3")
    live.log("a needle that comes later")
    expect(matches).to_have_text("3 of 4")
    assert re.search(r"#run/[^/]+/2008$", page.url)
    words.fill("nowhere")
    expect(matches).to_have_text("no match")


# How lines are shown


def test_lines_wrap_or_not(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("a long line " * 60)
    open_run(page, served.url, live.run_id)
    height = "() => document.querySelector('.log .line').offsetHeight"
    expect(lines_of(page)).to_have_count(1)
    assert page.evaluate(height) > 60
    page.get_by_role("checkbox", name="Wrap lines").uncheck()
    assert page.evaluate(height) < 30
    assert log_of(page).evaluate("log => log.scrollWidth > log.clientWidth")
    page.reload()
    expect(page.get_by_role("checkbox", name="Wrap lines")).not_to_be_checked()
    expect(lines_of(page)).to_have_count(1)
    assert page.evaluate(height) < 30


def test_times_are_shown_or_not(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("a line")
    open_run(page, served.url, live.run_id)
    time = page.locator(".log time")
    expect(time).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d a line", copied_with_times(page))
    page.get_by_role("checkbox", name="Timestamps").uncheck()
    expect(time).to_be_hidden()
    assert copied(page) == ["a line"]


def copied_with_times(page: Page) -> str:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy-log").click()
    expect(page.get_by_role("status").last).to_have_text("Copied")
    text: str = page.evaluate("() => navigator.clipboard.readText()")
    return text.rstrip("\n")


def test_the_whole_log_is_downloaded(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("始まり")
    open_run(page, served.url, live.run_id)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert "INFO    始まり\n" in download.value.path().read_text(encoding="utf-8")


def test_colours_of_terminals_are_shown_and_nothing_else_is_obeyed(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("plain \x1b[31mred \x1b[1mbold\x1b[22m\x1b[39m plain \x1b[38;5;82mgreen\x1b[0m \x1b[48;2;0;0;200mon blue")
    live.log("\x1b[32mgreen\nand on\x1b[0m off")
    live.log("clear \x1b[2J title \x1b]0;mine\x07 back\rover \x08 \x9b31m")
    open_run(page, served.url, live.run_id)
    expect(lines_of(page)).to_have_text(
        [
            "plain red bold plain green on blue",
            "green",
            "and on off",
            r"clear \u001b[2J title \u001b]0;mine\u0007 back\u000dover \u0008 \u009b31m",
        ]
    )
    pieces = page.evaluate(
        "() => [...document.querySelectorAll('.log .text span')].map(each => [each.className, each.textContent])"
    )
    assert pieces == [
        ["colour-1", "red "],
        ["colour-1 bold", "bold"],
        ["colour-10", "green"],
        ["ground-4", "on blue"],
        ["colour-2", "green"],
        ["colour-2", "and on"],
    ]
    red = page.locator(".colour-1").first.evaluate("node => getComputedStyle(node).color")
    assert red != page.locator(".log .text").first.evaluate("node => getComputedStyle(node).color")
    assert copied(page)[0] == "plain red bold plain green on blue"


def test_a_message_of_several_lines_is_one_line_with_several_rows(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("first\nsecond\r\n\nfourth", level="warning")
    live.log("x" * 10_000)
    open_run(page, served.url, live.run_id)
    expect(lines_of(page).nth(3)).to_have_text("fourth")
    expect(page.locator("#shown")).to_have_text("2 lines")
    expect(page.locator(".log a.number")).to_have_text(["1", "2"])
    assert copied(page)[:4] == ["first", "second", "", "fourth"]


# Many


def test_thousands_of_lines_are_there_and_few_are_drawn(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    for n in range(10_000):
        live.log(f"line {n}", level="error" if n % 1000 == 0 else "info")
    shown = page.locator("#shown")
    expect(shown).to_have_text("10,000 lines")
    wait_for_end_in_view(page)
    assert copied(page) == [f"line {n}" for n in range(10_000)]
    assert page.evaluate("() => document.querySelectorAll('.log .line').length") < 150
    # Wherever the reader goes, lines are there.
    for share in (0.0, 0.31, 0.77):
        log_of(page).evaluate("(log, share) => log.scrollTop = share * (log.scrollHeight - log.clientHeight)", share)
        page.wait_for_function(f"() => ({IN_VIEW})().every(Boolean)")
        first = page.evaluate(IN_VIEW)[0]
        assert abs(int(first.split()[1]) - share * 10_000) < 50
    choose_level(page, "Errors")
    expect(lines_of(page)).to_have_text([f"line {n}" for n in range(0, 10_000, 1000)])
    choose_level(page, "All")
    log_of(page).press("Home")
    page.wait_for_function("() => document.querySelector('#log').scrollTop === 0")
    live.log("the last")
    expect(page.locator("#newest")).to_have_text("1 new line ↓")
    log_of(page).press("End")
    wait_for_end_in_view(page)
    expect(page.locator("#newest")).to_be_hidden()


def test_the_page_keeps_a_bounded_number_of_lines(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    for lines in (17_000, 34_000, 51_500):
        for n in range(lines - 17_000 if lines < 50_000 else 34_000, lines):
            live.log(f"line {n}")
        page.wait_for_function(
            "last => document.querySelector('#log-lines').innerText.includes(`line ${last}`)", arg=lines - 1
        )
    expect(page.locator("#shown")).to_have_text(re.compile(r"^50,\d{3} lines; 1,\d{3} older ones are no longer shown$"))
    assert copied(page)[-1] == "line 51499"


def test_a_gap_is_shown_as_such(page: Page, served: Served) -> None:
    live = served.live_run()
    for n in range(HISTORY + 5):
        live.log(f"line {n}")
    open_run(page, served.url, live.run_id)
    expect(page.locator("#shown")).to_have_text("20,000 lines")
    log_of(page).press("Home")
    expect(page.locator(".log .line").first).to_have_class("line gap")
    expect(page.locator(".line.gap .text")).to_have_text(
        "5 events are missing here (numbers 1 to 5): the server no longer held them."
    )
    assert copied(page)[1:] == [f"line {n}" for n in range(5, HISTORY + 5)]
