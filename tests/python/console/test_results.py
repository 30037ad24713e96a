"""Results are shown, and an update of the page changes only what is new."""

import re

from playwright.sync_api import Page, Route, expect

from .support import (
    RESULT,
    Served,
    open_run,
    runs_of,
)


def test_a_result_of_json_is_a_table_and_is_saved_from_above_it(page: Page, served: Served) -> None:
    live = served.live_run()
    live.end()
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("button", name="Open the result").click()
    expect(page.get_by_role("columnheader")).to_have_text(["term", "definition", "count"])
    expect(page.get_by_role("cell").first).to_have_text("run log")
    expect(page.get_by_role("term").first).to_have_text("source")
    save = page.get_by_role("link", name="Save")
    save_box, table_box = save.bounding_box(), page.get_by_role("table").bounding_box()
    assert save_box is not None
    assert table_box is not None
    assert save_box["y"] < table_box["y"]
    with page.expect_download() as download:
        save.click()
    assert '"実行ログ"' in download.value.path().read_text(encoding="utf-8")


def test_a_result_may_be_text_or_a_link(page: Page, served: Served) -> None:
    live = served.live_run()
    live.end("two <b>lines</b>\nof text")
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("tab", name="Result").click()
    expect(page.locator("#result pre")).to_have_text("two <b>lines</b>\nof text")
    link = served.live_run()
    link.end("https://example.org/report")
    page.goto(f"{served.url}#run/{link.run_id}")
    page.get_by_role("tab", name="Result").click()
    expect(page.locator("#result a")).to_have_attribute("href", f"api/runs/{link.run_id}/result")


def test_a_path_in_a_table_pushed_its_other_columns_out_of_sight(page: Page, served: Served) -> None:
    live = served.live_run()
    live.end([{"source": "/".join(["a_folder_of_documents"] * 8), "is_defined": True}])
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("tab", name="Result").click()
    expect(page.locator("#result td").last).to_be_in_viewport(ratio=1)


def test_a_result_that_was_refused_was_asked_for_again_and_again(page: Page, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    live = served.live_run()
    live.end(object())
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("tab", name="Result").click()
    expect(page.locator("#no-result")).to_have_text("The result has no JSON form, so it cannot be shown here.")
    for _ in range(2):
        with page.expect_response(re.compile("/api/runs?")):
            pass
    assert [url for url in asked if url.endswith("/result")] == [f"{served.url}api/runs/{live.run_id}/result"]


def test_a_result_that_took_over_ten_seconds_was_never_shown(page: Page, served: Served) -> None:
    # A twentieth of the time in which requests have to be answered.
    page.add_init_script(
        "const { timeout } = AbortSignal; AbortSignal.timeout = (after) => timeout.call(AbortSignal, after / 20);"
    )
    routes: list[Route] = []
    page.route("**/result", lambda route: routes.append(route))
    live = served.live_run()
    live.end("a text")
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("tab", name="Result").click()
    expect(page.locator("#no-result")).to_have_text("Loading…")
    page.evaluate("() => new Promise((over) => AbortSignal.timeout(10_000).addEventListener('abort', over))")
    routes[-1].continue_()
    expect(page.locator("#result")).to_have_text("a text")


def test_what_was_unfolded_in_a_result_was_folded_again_with_the_next_look(page: Page, served: Served) -> None:
    live = served.live_run()
    live.end({"one": {"two": {"three": {"four": "deep inside"}}}})
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("tab", name="Result").click()
    page.locator("#result summary").first.click()
    expect(page.locator("#result")).to_contain_text("deep inside")
    # Each of these is seen with a look at the runs.
    later = served.live_run("later")
    expect(runs_of(page)).to_have_count(2)
    later.end()
    expect(runs_of(page).filter(has_text="later")).to_contain_text("completed")
    expect(page.locator("#result")).to_contain_text("deep inside")
    page.get_by_role("button", name="日本語").click()
    expect(page.locator("#result summary").first).to_contain_text("件")


def test_looks_at_the_runs_made_parts_of_the_page_anew_that_had_not_changed(page: Page, served: Served) -> None:
    live = served.live_run()
    with live.context.group("Reading"):
        live.log("a line")
    for name in ("Reading", "Counting", "Writing"):
        live.progress(1, 1, step=name)
    live.end(ValueError("no such page"))
    open_run(page, served.url, live.run_id, "failed")
    page.locator("#earlier summary").click()
    expect(page.locator("#steps li")).to_have_count(2)

    def look() -> None:
        for path in ("**/api/stats", "**/api/runs?*"):
            with page.expect_response(path):
                pass

    # The figures of this very page's connections have come to rest.
    expect(page.locator("#readers")).to_contain_text("0 peak")
    look()
    page.evaluate("""() => {
        window.made = [];
        const watch = new MutationObserver((records) => {
            const nodes = records.flatMap(({ addedNodes }) => [...addedNodes]);
            window.made.push(...nodes.map((node) => `${node.parentElement?.id} ${node.textContent}`));
        });
        watch.observe(document.body, { childList: true, subtree: true });
    }""")
    look()
    look()
    assert page.evaluate("() => window.made.filter((made) => !made.startsWith('news'))") == []


def test_a_step_that_went_on_made_the_list_of_earlier_steps_anew(page: Page, served: Served) -> None:
    live = served.live_run()
    for name in ("Reading", "Counting"):
        live.progress(1, 3, step=name)
    open_run(page, served.url, live.run_id)
    page.locator("#earlier summary").click()
    expect(page.locator("#steps li")).to_have_text([re.compile("Reading")])
    page.evaluate("() => getSelection().selectAllChildren(document.querySelector('#steps li'))")
    live.progress(2, 3, step="Counting")
    expect(page.locator("#amount")).to_contain_text("2")
    assert "Reading" in page.evaluate("() => String(getSelection())")
    live.progress(1, 3, step="Writing")
    expect(page.locator("#steps li")).to_have_text([re.compile("Reading"), re.compile("Counting")])
    live.progress(3, 3, step="Reading")
    expect(page.locator("#steps li")).to_have_text([re.compile("Counting"), re.compile("Writing")])


def test_each_run_shows_its_own_result(page: Page, served: Served) -> None:
    done, running = served.live_run("done"), served.live_run("going on")
    done.end()
    open_run(page, served.url, done.run_id, "completed")
    expect(page.locator("#result tbody tr")).to_have_count(2)
    runs_of(page).nth(0).click()
    expect(page.locator("#run-title")).to_have_text("going on")
    expect(page.locator("#result tbody tr")).to_have_count(0)
    running.end([1, [2, {"a": [3]}], True, None])
    expect(page.locator("#result > .parts > ol > li")).to_have_count(4)
    assert RESULT
