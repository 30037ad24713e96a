"""Keyboards, screen readers, colours, narrow windows, languages; and how it looks."""

import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs.demo.documents import Folder
from playwright.sync_api import Page, expect

from .support import Demo, OpenPage, choose, lines_of, log_of, open_run, serving_demo, status_of

PROJECT = Path(__file__).resolve().parents[3]

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


def fill(demo: Demo, page: Page) -> None:
    """Show a bit of everything: lines of each level, a gap, an outcome of each kind, a refusal."""
    for error in (None, ValueError("no model answers")):
        demo.live_run("earlier").end(error)
    cancelled = demo.live_run("earlier")
    cancelled.run.cancel()
    cancelled.end()
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    for level in ("debug", "info", "warning", "error"):
        live.log(f"a line of the level {level}, which may be so long that it needs a second one below", level=level)
    live.progress(30, 100, step="Reading")
    choose(page, [{"name": "a.png", "mimeType": "image/png", "buffer": b""}])
    expect(lines_of(page)).to_have_count(4)
    expect(page.locator("#runs li")).to_have_count(4)


# Colours


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_told_from_their_ground(open_page: OpenPage, demo: Demo, scheme: Any) -> None:
    # Colours that fade in would be measured on their way.
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    fill(demo, page)
    backgrounds = set()
    for look in range(5):
        if look > 0:
            page.locator("#runs a").nth(look - 1).click()
            expect(page.locator("#runs a").nth(look - 1)).to_have_attribute("aria-current", "true")
        if look == 4:
            page.get_by_role("tab", name="Glossary 2").click()
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 40
        assert [text for ratio, text in contrasts if ratio < 4.5] == []
        backgrounds.add(page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor"))
    assert backgrounds == {"rgb(244, 245, 248)" if scheme == "light" else "rgb(17, 20, 26)"}


# Keyboards


def test_everything_is_done_without_a_mouse(page: Page, demo: Demo) -> None:
    live = demo.live_run("first")
    demo.live_run("second").end()
    open_run(page, demo.url, live.run_id)

    def focused() -> Any:
        return page.evaluate("() => document.activeElement.id || document.activeElement.textContent")

    page.keyboard.press("Tab")
    assert focused() == "Skip to the run"
    page.keyboard.press("Enter")
    assert focused() == "run"
    assert page.url.endswith(f"#run-{live.run_id}")
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(focused())
    assert reached[0] == "cancel"
    assert reached[1] == "log-tab"
    assert reached[3:5] == ["words", "log"]

    page.locator("#cancel").press("Enter")
    expect(status_of(page)).to_have_text("stopping")
    assert focused() == "cancel"
    live.end()
    expect(status_of(page)).to_have_text("cancelled")
    # What had the focus has gone; it is not lost.
    assert focused() == "run"

    page.locator("#log-tab").press("ArrowRight")
    assert focused() == "glossary-tab"
    expect(page.get_by_role("tabpanel", name="Glossary")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(log_of(page)).to_be_visible()

    runs = page.get_by_role("navigation").get_by_role("link")
    runs.nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(runs.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#source")).to_have_text("second")
    expect(runs.nth(0)).to_be_focused()

    page.locator("#levels input:checked").press("ArrowRight")
    expect(page.get_by_role("radio", name="Warnings")).to_be_checked()
    page.locator("#go").press("Enter")
    expect(page.locator("#runs li")).to_have_count(3)
    expect(page.locator("#source")).to_have_text("texts")


def test_the_focus_is_seen(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
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


def test_landmarks_roles_and_names(page: Page, demo: Demo) -> None:
    fill(demo, page)
    expect(page.locator("body")).to_match_aria_snapshot("""
        - link "Skip to the run"
        - banner:
          - heading "Run console" [level=1]
          - group "Language":
            - button "English" [pressed]
            - button "日本語"
        - region "New run":
          - button "Files…"
          - button "Folder…"
          - button "Start"
          - alert: /None of these is a text/
        - navigation "Runs":
          - list:
            - listitem:
              - link /Run \\d+ running texts/
        - main /Run \\d+/:
          - heading /Run \\d+/ [level=2]
          - button "Cancel"
          - progressbar "Reading"
          - tablist "Views of the run":
            - tab "Log 4" [selected]
            - tab "Glossary"
          - tabpanel "Log 4":
            - group "Levels":
              - radio "All" [checked]
              - radio "Warnings 2"
              - radio "Errors 1"
            - searchbox "Show lines with this text"
            - log "Log":
              - paragraph:
                - time: /^\\d\\d:\\d\\d:\\d\\d$/
                - text: /^debug a line of the level debug/
        - complementary "Inside the manager":
          - figure /Events a second/:
            - img /now, at most/
          - figure /Connected readers/:
            - img /now, at most/
          - term: Active runs
          - definition: "1"
        - status
        """)


def test_news_is_read_out_but_not_every_line(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    page.evaluate("""() => {
        const news = document.querySelector('#news');
        window.news = [];
        new MutationObserver(() => window.news.push(news.textContent)).observe(news, {childList: true});
    }""")
    expect(log_of(page)).to_have_attribute("aria-live", "off")
    for n in range(100):
        live.log(f"line {n}")
        live.progress(n, 100, step="Reading" if n < 50 else "Defining")
    live.end()
    expect(page.get_by_role("status")).to_contain_text("Completed in")
    news = page.evaluate("() => window.news")
    assert [text.split(" ")[0] for text in news] == ["Reading", "Defining", "Completed"]


# Narrow windows

# What reaches beyond the window, or beyond what it is in. A long name is cut in the list, and hidden labels are tiny.
TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter(node =>
    node.checkVisibility() && !node.closest('.unseen, .skip, legend, input, .runs .source')
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
def test_nothing_is_cut_off_in_small_windows(open_page: OpenPage, demo: Demo, locale: str) -> None:
    page = open_page(locale=locale)
    live = demo.live_run("a_long_name_without_any_space_in_it_that_would_not_fit_a_narrow_window.md")
    open_run_in(page, demo.url, live.run_id)
    live.log("a_word_without_any_space_in_it_that_would_not_fit_a_narrow_window_" * 3)
    live.progress(30, 100, step="Reading")
    expect(lines_of(page)).to_have_count(1)
    for ended in (False, True):
        if ended:
            live.end()
            expect(page.locator("#entries div")).to_have_count(2)
            page.locator("#open-glossary").click()
        for width, height in [(320, 640), (800, 600), (640, 320)]:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_function("width => innerWidth === width", arg=width)
            assert page.evaluate(TOO_WIDE) == []
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            for name in ("#go", "#status", "#stats div:last-child"):
                page.wait_for_function(IN_REACH, arg=name)


def open_run_in(page: Page, url: str, run_id: int) -> None:
    page.goto(f"{url}#run-{run_id}")
    expect(status_of(page)).to_have_attribute("data-status", "running")


# Languages


def test_a_japanese_browser_gets_japanese(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(locale="ja-JP")
    live = demo.live_run()
    live.log("一行目")
    open_run_in(page, demo.url, live.run_id)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page).to_have_title("実行コンソール")
    expect(page.get_by_role("heading", level=1)).to_have_text("実行コンソール")
    expect(status_of(page)).to_have_text("実行中")
    live.progress(1, 2, step="Reading")
    expect(page.get_by_role("progressbar", name="読み込み")).to_be_visible()
    page.get_by_role("button", name="中止").click()
    expect(status_of(page)).to_have_text("停止処理中")
    live.end()
    expect(page.locator("#outcome")).to_contain_text("秒で中止しました。")
    choose(page, [{"name": "a.png", "mimeType": "image/png", "buffer": b""}])
    expect(page.locator("#refusal")).to_contain_text("読める文書")
    # What is left of English are names, units, and words of the log.
    english = page.evaluate("() => document.body.innerText.match(/[A-Za-z]{3,}/g)")
    assert set(english) - {"English", "texts", "info", "KiB", "markdown", "pyi", "rst", "txt"} == set()


def test_the_language_can_be_changed_and_is_kept(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    live.log("a line")
    open_run(page, demo.url, live.run_id)
    page.get_by_role("button", name="日本語").click()
    expect(status_of(page)).to_have_text("実行中")
    expect(page.locator("#runs .status")).to_have_text("実行中")
    expect(page.locator("#stats dt").first).to_have_text("動作中の実行")
    expect(lines_of(page)).to_have_text(["a line"])
    page.reload()
    expect(status_of(page)).to_have_text("実行中")
    page.get_by_role("button", name="English").click()
    expect(status_of(page)).to_have_text("running")
    expect(page.locator("#since")).to_have_text(re.compile("^Server started"))


# How it looks


def test_a_picture_of_it(open_page: OpenPage, tmp_path: Path) -> None:
    # Into the project, and with a minute of history, only when it is asked for, so that tests leave no trace.
    wanted = "CONSOLE_SCREENSHOT" in os.environ
    picture = PROJECT / "docs/console.png" if wanted else tmp_path / "console.png"
    seconds = 50 if wanted else 1
    folder = tmp_path / "genglossary-runs"
    for part in ("src", "tests/python"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for number in (48, 56):
        Folder(folder).files()[number].write_bytes("Größe".encode("latin-1"))
    with serving_demo(folder, pace=0.25) as demo:
        page, other = open_page(viewport={"width": 1280, "height": 760}, device_scale_factor=2), open_page()
        page.goto(demo.url)
        expect(page.locator("#event-rate")).to_have_text("0 most 0")
        demo.live_run("handbook").end()
        demo.live_run("empty.txt").end(ValueError("There is no text in the files of empty.txt"))
        busy = demo.live_run("notes")
        for second in range(seconds):
            if second == seconds // 4:
                open_run(other, demo.url, busy.run_id)
            if second == seconds * 4 // 5:
                other.close()
            if second == seconds * 2 // 3:
                page.get_by_role("button", name="Start").click()
                page.mouse.move(640, 5)
            for n in range(round(25 + 20 * math.sin(second / 3))):
                busy.progress(n, 100, step="Reading")
            wait_for_chart_to_move(page)
        busy.run.cancel()
        busy.end()
        expect(page.locator("#log-lines .line").first).to_be_visible()
        expect(page.locator("#runs")).to_contain_text("cancelled")
        picture.parent.mkdir(exist_ok=True)
        page.screenshot(path=picture)
    assert picture.stat().st_size > 50_000


def wait_for_chart_to_move(page: Page) -> None:
    line = page.locator("#event-chart .line")
    before = line.get_attribute("d")
    expect(line).not_to_have_attribute("d", before or "")
