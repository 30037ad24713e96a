"""Keyboards, screen readers, colours, narrow windows, languages; and how it looks."""

import re
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .support import (
    OpenPage,
    Served,
    lines_of,
    log_of,
    open_console,
    open_run,
    status_of,
    wait_for_end_in_view,
)

# Every text that is seen, with the ratio of its contrast to what is behind it.
CONTRASTS = """() => {
    const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const rgba = color => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        return {r, g, b, a: a / 255};
    };
    const over = (top, below) => Object.fromEntries(
        ['r', 'g', 'b'].map(part => [part, top[part] * top.a + below[part] * (1 - top.a)]));
    const ground = node => node
        ? over(rgba(getComputedStyle(node).backgroundColor), ground(node.parentElement))
        : {r: 255, g: 255, b: 255};
    const luminance = ({r, g, b}) => {
        const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const node = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !node.checkVisibility() || node.closest('noscript')) continue;
        const behind = ground(node);
        const pair = [over(rgba(getComputedStyle(node).color), behind), behind].map(luminance);
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        found.push([ratio, `${node.id}.${node.className}: ${texts.currentNode.data}`]);
    }
    return found;
}"""


def fill(served: Served, page: Page) -> None:
    """Show a bit of everything: lines of each level, colours, a group, a gap, an outcome of each kind."""
    served.live_run("earlier").end()
    served.live_run("earlier").end(ValueError("no model answers"))
    cancelled = served.live_run("earlier")
    cancelled.run.cancel()
    cancelled.end()
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    for level in ("debug", "info", "warning", "error"):
        live.log(f"a line of the level {level}, which may be so long that it needs a second one below", level=level)
    live.log(
        " ".join(f"\x1b[{code}mcode {code}\x1b[0m" for code in [*range(30, 38), *range(90, 98), *range(40, 48), 2, 7])
    )
    with live.context.group("a group"):
        live.progress(30, 100, step="Reading")
    expect(page.locator("#shown")).to_have_text("6 lines")
    expect(page.locator("#runs li")).to_have_count(4)


# Colours


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_told_from_their_ground(open_page: OpenPage, served: Served, scheme: Any) -> None:
    # Colours that fade in would be measured on their way.
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    fill(served, page)
    backgrounds = set()
    for look in range(5):
        if look > 0:
            page.locator("#runs a").nth(look - 1).click()
            expect(page.locator("#runs a").nth(look - 1)).to_have_attribute("aria-current", "true")
        if look == 2:
            page.locator("#words").fill("code")
        if look == 4:
            page.get_by_role("tab", name="Result").click()
            expect(page.get_by_role("table")).to_be_visible()
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 40
        assert [text for ratio, text in contrasts if ratio < 4.5] == []
        backgrounds.add(page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor"))
    assert backgrounds == {"rgb(244, 245, 248)" if scheme == "light" else "rgb(17, 20, 26)"}


# Keyboards


def test_everything_is_done_without_a_mouse(page: Page, served: Served) -> None:
    live = served.live_run("first")
    served.live_run("second").end()
    open_run(page, served.url, live.run_id)

    def focused() -> Any:
        return page.evaluate("() => document.activeElement.id || document.activeElement.textContent")

    page.keyboard.press("Tab")
    assert focused() == "Skip to the run"
    page.keyboard.press("Enter")
    assert focused() == "run"
    assert page.url.endswith(f"#run/{live.run_id}")
    reached = []
    for _ in range(13):
        page.keyboard.press("Tab")
        reached.append(focused())
    assert reached[:3] == ["copy-link", "cancel", "log-tab"]
    assert reached[4:7] == ["words", "previous", "next"]
    assert reached[7:] == ["only", "wrap", "timestamps", "copy-log", "download", "log"]

    page.locator("#cancel").press("Enter")
    expect(status_of(page)).to_have_text("stopping")
    assert focused() == "cancel"
    live.end()
    expect(status_of(page)).to_have_text("cancelled")
    # What had the focus has gone; it is not lost.
    assert focused() == "run"

    page.locator("#log-tab").press("ArrowRight")
    assert focused() == "result-tab"
    expect(page.get_by_role("tabpanel", name="Result")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(log_of(page)).to_be_visible()

    runs = page.get_by_role("navigation").get_by_role("link")
    runs.nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(runs.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#run-title")).to_have_text("second")
    expect(runs.nth(0)).to_be_focused()

    page.locator("#levels input:checked").press("ArrowRight")
    expect(page.get_by_role("radio", name="Problems")).to_be_checked()
    page.locator("#go").press("Enter")
    expect(page.locator("#runs li")).to_have_count(3)
    expect(page.locator("#run-title")).to_have_text("from the page · quick")


def test_the_focus_is_seen(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    live.log("a line")
    for _ in range(20):
        page.keyboard.press("Tab")
        # Of what is drawn in its place, where the focused itself is not drawn.
        width = page.evaluate(
            "() => { const node = document.activeElement;"
            " return parseFloat(getComputedStyle(node.closest('label') ?? node).outlineWidth) }"
        )
        if page.evaluate("() => document.activeElement !== document.body"):
            assert width >= 2


# Screen readers


def test_landmarks_roles_and_names(page: Page, served: Served) -> None:
    fill(served, page)
    expect(page.locator("body")).to_match_aria_snapshot("""
        - link "Skip to the run"
        - banner:
          - heading "Run console" [level=1]
          - group "Language":
            - button "English" [pressed]
            - button "日本語"
        - region "New run":
          - button "Start"
        - navigation "Runs":
          - heading /Runs 4 runs/ [level=2]
          - searchbox "Search runs by name, key, id or error"
          - combobox "Status"
          - list:
            - listitem:
              - link /work running/
        - main "work":
          - heading "work" [level=2]
          - button "Copy link"
          - button "Cancel"
          - progressbar "Reading"
          - tablist "Views of the run":
            - tab "Log 6" [selected]
            - tab "Result"
          - tabpanel "Log 6":
            - group "Levels":
              - radio "All" [checked]
              - radio "Problems 2"
              - radio "Errors 1"
            - search:
              - searchbox "Search the log"
              - button "Previous match" [disabled]
              - button "Next match" [disabled]
            - group:
              - button "Matches only"
              - button "First error"
              - checkbox "Wrap lines" [checked]
              - checkbox "Timestamps" [checked]
              - button "Copy"
              - link "Download"
            - log "Log":
              - link "Link to line 1"
              - time: /^\\d\\d:\\d\\d:\\d\\d$/
              - text: /^debug a line of the level debug/
              - button "Fold the group" [expanded]
        - complementary "Inside the manager":
          - figure /Events a second/:
            - img /now, at most/
          - figure /Connected readers/:
            - img /now, at most/
          - heading "Manager" [level=3]
          - term: Active runs
          - definition: "1"
        - status
        """)


def test_news_is_read_out_but_not_every_line(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    page.evaluate("""() => {
        const news = document.querySelector('#news');
        window.news = [];
        new MutationObserver(() => window.news.push(news.textContent)).observe(news, {childList: true});
    }""")
    expect(log_of(page)).to_have_attribute("aria-live", "off")
    for step in ("Reading", "Defining"):
        for n in range(50):
            live.log(f"line {n}")
            live.progress(n, 50, step=step)
        expect(page.get_by_role("status").first).to_contain_text(step)
    live.end()
    expect(page.get_by_role("status").first).to_contain_text("Completed in")
    news = page.evaluate("() => window.news")
    assert [text.split(" ")[0] for text in news] == ["Reading", "Defining", "Completed"]


# Narrow windows

# What reaches beyond the window, or beyond what it is in. A long name is cut in the list, and hidden labels are tiny.
TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter(node =>
    node.checkVisibility() && !node.closest('.unseen, .skip, legend, input, .runs .name, .level')
    && (node.getBoundingClientRect().right > innerWidth + 1
        || (node.clientWidth && node.scrollWidth > node.clientWidth + 1))
).map(node => node.outerHTML.slice(0, 90))"""


# Whether something can be scrolled to, however the page grows meanwhile.
IN_REACH = """name => {
    const node = document.querySelector(name);
    node.scrollIntoView({block: 'center'});
    const {top, bottom} = node.getBoundingClientRect();
    return node.checkVisibility() && top >= 0 && bottom <= innerHeight;
}"""


@pytest.mark.parametrize("locale", ["en-GB", "ja-JP"])
def test_nothing_is_cut_off_in_small_windows(open_page: OpenPage, served: Served, locale: str) -> None:
    page = open_page(locale=locale)
    live = served.live_run("a_long_name_without_any_space_in_it_that_would_not_fit_a_narrow_window.md")
    open_run_in(page, served.url, live.run_id)
    live.log("a_word_without_any_space_in_it_that_would_not_fit_a_narrow_window_" * 3)
    live.progress(30, 100, step="Reading")
    expect(lines_of(page)).to_have_count(1)
    for ended in (False, True):
        if ended:
            live.end()
            expect(page.locator("#result tbody tr")).to_have_count(2)
            page.locator("#open-result").click()
        for width, height in [(320, 640), (800, 600), (640, 320)]:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function("width => innerWidth === width", arg=width)
            assert page.evaluate(TOO_WIDE) == []
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            for name in ("#go", "#status", "#stats section:last-child"):
                page.wait_for_function(IN_REACH, arg=name)


def test_a_traceback_ran_out_of_a_narrow_window(open_page: OpenPage, served: Served) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    live = served.live_run()
    live.publish(message="failed", level="error", traceback="a line of code that is long " * 10)
    open_run_in(page, served.url, live.run_id)
    live.end(ValueError("no model answers"))
    page.locator("#traceback summary").click()
    outcome, text = page.locator("#outcome").bounding_box(), page.locator("#traceback-text").bounding_box()
    assert outcome
    assert text
    assert text["x"] + text["width"] <= outcome["x"] + outcome["width"]


SMALL = [(390, 844), (768, 1024), (640, 400)]


@pytest.mark.parametrize(("width", "height"), SMALL)
def test_the_log_of_a_small_window_is_bounded_and_followed(
    open_page: OpenPage, served: Served, width: int, height: int
) -> None:
    page = open_page(viewport={"width": width, "height": height})
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    for n in range(2000):
        live.log(f"line {n}")
    expect(page.locator("#shown")).to_have_text("2,000 lines")
    wait_for_end_in_view(page)
    assert page.evaluate("() => document.querySelector('#log').clientHeight") <= max(height, 300)
    assert page.evaluate("() => document.documentElement.scrollHeight") < 2500
    live.log("the last")
    expect(page.get_by_text("the last")).to_be_visible()
    wait_for_end_in_view(page)


def test_in_a_narrow_window_the_run_comes_first(open_page: OpenPage, served: Served) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    older = served.live_run("older")
    newer = served.live_run("newer")
    open_run(page, served.url, newer.run_id)
    expect(page.locator("#run-title")).to_be_in_viewport()
    expect(page.locator("#go")).not_to_be_in_viewport()
    # It comes back into view where another is chosen below it, or the same again, or a new one is started.
    for run in (older, older, newer):
        page.locator("#runs a", has_text=str(run.run.key)).click()
        expect(page.locator("#run-title")).to_have_text(str(run.run.key))
        expect(page.locator("#run-title")).to_be_in_viewport()
    page.locator("#go").click()
    expect(page.locator("#run-title")).to_have_text("from the page · quick")
    expect(page.locator("#run-title")).to_be_in_viewport()


def test_what_fingers_press_was_25_pixels_high(open_page: OpenPage, served: Served) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    with live.context.group("a group"):
        live.log("a line " * 20, level="error")
    for _ in range(30):
        live.log("a line " * 20)
    live.progress(1, 2, step="Reading")
    live.progress(1, 2, step="Defining")
    live.log("the last line")
    # Drawn, it has been scrolled to: what comes after that is ours.
    expect(lines_of(page).last).to_contain_text("the last line")
    log_of(page).evaluate("log => log.scrollTop = 0")
    expect(page.locator("#newest")).to_be_visible()
    too_small = """() => [...document.querySelectorAll(
            'button, label, summary, select, a:not(.skip), input[type="search"]')]
        .filter(node => node.checkVisibility())
        .filter(node => {
            const {width, height} = node.getBoundingClientRect();
            const least = node.closest('.log') ? 24 : 44;
            return height < least || width < least;
        })
        .map(node => node.outerHTML.slice(0, 90))"""
    assert page.evaluate(too_small) == []
    live.end()
    page.locator("#open-result").click()
    expect(page.locator("#save-result")).to_be_visible()
    assert page.evaluate(too_small) == []


def test_on_a_phone_a_line_took_two_rows(open_page: OpenPage, served: Served) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    live.log("a line of a log")
    live.log("another one", level="warning")
    expect(lines_of(page)).to_have_count(2)
    heights = page.evaluate("() => [...document.querySelectorAll('.log .line')].map(line => line.offsetHeight)")
    assert max(heights) < 30
    assert "mono" in log_of(page).evaluate("log => getComputedStyle(log).fontFamily").lower()


def open_run_in(page: Page, url: str, run_id: str) -> None:
    open_console(page, f"{url}#run/{run_id}")
    expect(status_of(page)).to_have_attribute("data-status", "running")


# Languages


def test_a_japanese_browser_gets_japanese(open_page: OpenPage, served: Served) -> None:
    page = open_page(locale="ja-JP")
    live = served.live_run()
    live.log("一行目")
    open_run_in(page, served.url, live.run_id)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("navigation")).to_contain_text("実行一覧")
    expect(status_of(page)).to_have_text("実行中")
    live.progress(1, 2, step="読み込み")
    expect(page.get_by_role("progressbar", name="読み込み")).to_be_visible()
    page.get_by_role("button", name="中止").click()
    expect(status_of(page)).to_have_text("停止処理中")
    live.end()
    expect(page.locator("#outcome")).to_contain_text("秒で中止しました。")
    # What is left of English are names, units, and what the store and the streams call what they count.
    for part in ("main", "nav", "header"):
        english = page.locator(part).first.evaluate("node => node.innerText.match(/[A-Za-z]{3,}/g)") or []
        assert set(english) - {"Run", "console", "English", "work", *re.findall("[a-z]+", live.run_id)} == set()


def test_the_short_japanese_status_is_at_the_end_of_its_row(open_page: OpenPage, served: Served) -> None:
    page = open_page(locale="ja-JP")
    live = served.live_run()
    live.run.started_at -= timedelta(hours=11, minutes=11)
    live.end()
    open_console(page, served.url)
    row = page.locator("#runs a")
    expect(row.locator(".status")).to_have_text("完了")
    expect(row.locator(".length")).to_have_text("11 時間 11 分")
    status, length = (row.locator(name).bounding_box() for name in (".status", ".length"))
    assert status is not None
    assert length is not None
    assert status["width"] < length["width"]
    assert abs(status["x"] + status["width"] - length["x"] - length["width"]) < 1


def test_the_language_can_be_changed_and_is_kept(page: Page, served: Served) -> None:
    live = served.live_run()
    live.log("a line")
    open_run(page, served.url, live.run_id)
    page.get_by_role("button", name="日本語").click()
    expect(status_of(page)).to_have_text("実行中")
    expect(page.locator("#runs .status")).to_have_text("実行中")
    expect(page.locator("#stats dt").first).to_have_text("動作中の実行")
    expect(lines_of(page)).to_have_text(["a line"])
    page.reload()
    expect(status_of(page)).to_have_text("実行中")
    page.get_by_role("button", name="English").click()
    expect(status_of(page)).to_have_text("running")
