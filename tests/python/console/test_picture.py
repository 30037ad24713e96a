"""The picture of the console, as the README shows it."""

import math
import os
from pathlib import Path

from playwright.sync_api import Page, expect

from .support import OpenPage, lines_of, open_console, open_run, serving, stat

PROJECT = Path(__file__).resolve().parents[3]

ERROR = "BookError: page 31 has no text; scan it again"


def test_a_picture_of_it(open_page: OpenPage, tmp_path: Path) -> None:
    # Into the project, and with a minute of history, only when it is asked for, so that tests leave no trace.
    wanted = "CONSOLE_SCREENSHOT" in os.environ
    picture = PROJECT / "docs/console.png" if wanted else tmp_path / "console.png"
    seconds = 50 if wanted else 1
    with serving() as served:
        page = open_page(viewport={"width": 1280, "height": 760}, device_scale_factor=2, reduced_motion="reduce")
        other = open_page()
        open_console(page, served.url)
        expect(page.locator("#event-rate")).to_have_text("0 peak 0")
        served.live_run("handbook").end()
        served.live_run("letters").end(ValueError(ERROR))
        cancelled = served.live_run("appendix")
        cancelled.run.cancel()
        cancelled.end()
        served.live_run("preface").end()
        busy = served.live_run("notes")
        for second in range(seconds):
            if second == seconds // 4:
                open_run(other, served.url, busy.run_id)
            if second == seconds * 4 // 5:
                other.close()
            for n in range(round(25 + 20 * math.sin(second / 3))):
                busy.publish(message=f"note {n}")
            wait_for_chart_to_move(page)
        live = served.live_run("novel")
        page.get_by_role("navigation").get_by_role("link").filter(has_text="novel").click()
        expect(page.locator("#run-title")).to_have_text("novel")
        for chapter in range(1, 4):
            with live.context.group(f"Chapter {chapter}"):
                for number in range(chapter * 10 - 9, chapter * 10 + 1):
                    live.log(f"page {number}: \x1b[32m{12 + number * 7 % 9} sentences\x1b[0m")
                if chapter == 3:
                    live.log("page 31 is upside down; turned", level="warning")
        live.log(ERROR, level="error")
        live.progress(300, 300, step="Scanning")
        live.progress(31, 300, step="Reading")
        expect(lines_of(page).last).to_have_text(ERROR)
        expect(page.locator("#amount")).to_contain_text("31 of 300")
        expect(stat(page, "Active runs")).to_have_text("2")
        expect(stat(page, "Written by the core")).to_have_text("1")
        page.mouse.move(640, 5)
        picture.parent.mkdir(exist_ok=True)
        page.screenshot(path=picture)
    assert picture.stat().st_size > 50_000


def wait_for_chart_to_move(page: Page) -> None:
    line = page.locator("#event-chart .line")
    before = line.get_attribute("d")
    expect(line).not_to_have_attribute("d", before or "")
