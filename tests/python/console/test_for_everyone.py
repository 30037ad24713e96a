"""Keyboards, screen readers, colours, narrow windows, languages; and how it looks."""

import math
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from glossary import server
from glossary.documents import Folder
from playwright.sync_api import Page, expect

from .support import (
    Demo,
    OpenPage,
    choose,
    lines_of,
    log_of,
    open_console,
    open_run,
    serving_demo,
    status_of,
    wait_for_end_in_view,
)

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
    expect(page.get_by_role("radio", name="Problems")).to_be_checked()
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
              - radio "Problems 2"
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


SMALL = [(390, 844), (768, 1024), (640, 400)]


@pytest.mark.parametrize(("width", "height"), SMALL)
def test_the_log_of_a_small_window_is_bounded_and_followed(
    open_page: OpenPage, demo: Demo, width: int, height: int
) -> None:
    page = open_page(viewport={"width": width, "height": height})
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    for n in range(2000):
        live.log(f"line {n}")
    expect(page.locator("#shown")).to_have_text("2,000 lines")
    wait_for_end_in_view(page)
    assert page.evaluate("() => document.querySelector('#log').clientHeight") <= max(height, 300)
    assert page.evaluate("() => document.documentElement.scrollHeight") < 2500
    live.log("the last")
    expect(page.get_by_text("the last")).to_be_visible()
    wait_for_end_in_view(page)


def test_in_a_narrow_window_the_run_comes_first(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    older = demo.live_run("older")
    newer = demo.live_run("newer")
    open_run(page, demo.url, newer.run_id)
    expect(page.locator("#run-title")).to_be_in_viewport()
    expect(page.locator("#go")).not_to_be_in_viewport()
    # It comes back into view where another is chosen below it, or the same again, or a new one is started.
    for run in (older, older, newer):
        page.locator("#runs a", has_text=run.run.key.name).click()  # type: ignore[attr-defined]
        expect(page.locator("#source")).to_have_text(run.run.key.name)  # type: ignore[attr-defined]
        expect(page.locator("#run-title")).to_be_in_viewport()
    page.locator("#go").click()
    expect(page.locator("#source")).to_have_text("texts")
    expect(page.locator("#run-title")).to_be_in_viewport()


# How many runs of the list are seen as a whole, and how many in part.
SEEN_RUNS = """() => {
    const list = document.querySelector('#runs').getBoundingClientRect();
    const seen = [...document.querySelectorAll('#runs a')].map(link => link.getBoundingClientRect())
        .filter(({top, bottom}) => bottom > list.top + 1 && top < list.bottom - 1);
    const whole = seen.filter(({top, bottom}) => top >= list.top - 1 && bottom <= list.bottom + 1);
    return [whole.length, seen.length - whole.length];
}"""


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1280, 690), (1000, 700), *SMALL])
def test_no_run_of_the_list_is_cut(open_page: OpenPage, demo: Demo, width: int, height: int) -> None:
    page = open_page(viewport={"width": width, "height": height})
    for n in range(20):
        demo.live_run(f"text {n}").end()
    open_console(page, demo.url)
    expect(page.locator("#runs li")).to_have_count(20)
    page.wait_for_function(f"() => {{ const [whole, cut] = ({SEEN_RUNS})(); return whole > 0 && whole < 20 && !cut }}")
    page.locator("#runs a").last.focus()
    expect(page.locator("#runs a").last).to_be_in_viewport()
    page.locator("#runs a").first.hover()
    page.mouse.wheel(0, 91)
    page.wait_for_function(f"() => document.querySelector('#runs').scrollTop > 0 && ({SEEN_RUNS})()[1] === 0")


def test_what_fingers_press_is_large_enough(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    choose(page, [{"name": "a.md", "mimeType": "text/plain", "buffer": b"A run is one execution."}])
    for _ in range(30):
        live.log("a line " * 20)
    log_of(page).evaluate("log => log.scrollTop = 0")
    expect(page.locator("#newest")).to_be_visible()
    too_small = """() => [...document.querySelectorAll('button, label, a:not(.skip), input[type="search"]')]
        .filter(node => node.checkVisibility() && node.getBoundingClientRect().height < 40)
        .map(node => node.outerHTML.slice(0, 90))"""
    assert page.evaluate(too_small) == []
    live.end()
    page.locator("#open-glossary").click()
    expect(page.locator("#markdown")).to_be_visible()
    assert page.evaluate(too_small) == []


def open_run_in(page: Page, url: str, run_id: int) -> None:
    open_console(page, f"{url}#run-{run_id}")
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
    assert set(english) - {"English", "texts", "KiB", "markdown", "pyi", "rst", "txt"} == set()


def test_the_short_japanese_status_is_at_the_end_of_its_row(open_page: OpenPage, demo: Demo) -> None:
    page = open_page(locale="ja-JP")
    live = demo.live_run()
    live.run.started_at -= timedelta(hours=11, minutes=11)
    live.end()
    open_console(page, demo.url)
    row = page.locator("#runs a")
    expect(row.locator(".status")).to_have_text("完了")
    expect(row.locator(".length")).to_have_text("11 時間 11 分")
    status, length = (row.locator(name).bounding_box() for name in (".status", ".length"))
    assert status is not None
    assert length is not None
    assert status["width"] < length["width"]
    assert abs(status["x"] + status["width"] - length["x"] - length["width"]) < 1


def test_what_the_page_knows_it_says_in_japanese(open_page: OpenPage, texts: Path) -> None:
    page = open_page(locale="ja-JP")
    (texts / "bad.txt").write_bytes(b"caf\xe9")
    with serving_demo(texts) as demo:
        open_console(page, demo.url)
        page.get_by_role("button", name="開始").click()
        expect(page.locator("#status")).to_have_text("完了")
        expect(lines_of(page)).to_have_text(
            [
                "bad.txt は UTF-8 ではないため（位置 3）、読み飛ばしました",
                "runs.md: 3 文",
                "読者.txt: 3 文",
                "2 個の文書から 4 語",
            ]
        )
        expect(page.locator("#log-lines .level")).to_have_text(["警告", "情報", "情報", "情報"])
        # What the filter finds is what is shown.
        page.locator("#words").fill("3 文")
        expect(lines_of(page)).to_have_count(2)
        page.get_by_role("button", name="English").click()
        expect(page.locator("#nothing")).to_have_text("No line matches.")
        page.locator("#words").fill("")
        expect(lines_of(page).first).to_have_text("bad.txt is not UTF-8 (byte 3); skipped")
        page.get_by_role("button", name="日本語").click()

        choose(page, [{"name": "a.md", "mimeType": "text/plain", "buffer": b""}])
        page.get_by_role("button", name="開始").click()
        expect(page.locator("#outcome")).to_contain_text("失敗しました: a.md のファイルに文章がありません")
        for _ in range(server.MAX_ACTIVE_RUNS):
            demo.live_run()
        page.get_by_role("button", name="開始").click()
        expect(page.locator("#refusal")).to_have_text(
            "4 個の実行が動いています。どれかを中止するか、終わるまでお待ちください。"
        )


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
        open_console(page, demo.url)
        expect(page.locator("#event-rate")).to_have_text("0 peak 0")
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
