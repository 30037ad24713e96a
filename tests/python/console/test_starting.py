"""Runs are started on the page and cancelled there, unless the server refuses."""

import re
import time

from playwright.sync_api import Locator, Page, Route, expect

from .support import (
    Served,
    lines_of,
    open_console,
    open_run,
    runs_of,
    serving,
    status_of,
)


def test_a_run_is_started_and_shown(page: Page, served: Served) -> None:
    open_console(page, served.url)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(status_of(page)).to_have_text("completed")
    expect(lines_of(page)).to_have_text(["started from the page"])
    expect(page.locator("#run-title")).to_have_text("from the page · quick")
    (run,) = served.runner.runs()
    assert page.url == f"{served.url}#run/{run.run_id}"


def test_a_run_is_started_again(page: Page, served: Served) -> None:
    live = served.live_run("the first")
    live.end()
    open_run(page, served.url, live.run_id, "completed")
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#run-title")).to_have_text(f"again {live.run_id} · quick")
    expect(status_of(page)).to_have_text("completed")


def test_a_start_that_is_refused_says_why_in_the_language_of_the_page(page: Page, served: Served) -> None:
    live = served.live_run("from the page")
    open_run(page, served.url, live.run_id)
    page.get_by_role("button", name="Start", exact=True).click()
    refusal = page.locator("#refusal")
    expect(refusal).to_have_text("from the page is still active: cancel it, or wait for its end.")
    page.get_by_role("button", name="日本語").click()
    expect(refusal).to_have_text("from the page がまだ動いています。中止するか、終わるまでお待ちください。")


def test_the_page_of_somebody_who_may_see_nothing_asked_every_second(page: Page) -> None:
    with serving(allow=lambda request, action, run_id: False) as served:
        page.goto(served.url)
        expect(page.locator("#no-runs")).to_contain_text("You are not allowed")
        expect(page.locator("#no-run")).to_be_empty()
        with page.expect_request("**/api/runs?*"):
            pass
        before = time.monotonic()
        with page.expect_request("**/api/runs?*"):
            pass
        # Tests hurry: it is half a minute otherwise, and a fifth of a second here for others.
        assert time.monotonic() - before > 1


def test_a_refusal_that_was_over_came_back_with_another_language(page: Page) -> None:
    rights: set[str] = set()
    with serving(allow=lambda request, action, run_id: action in rights) as served:
        page.goto(served.url)
        expect(page.locator("#no-runs")).to_contain_text("You are not allowed")
        rights |= {"list", "read"}
        expect(page.locator("#no-runs")).to_have_text("No runs yet.")
        # The next look would say it right again.
        looks: list[Route] = []
        page.route("**/api/runs?*", lambda route: looks.append(route))
        page.get_by_role("button", name="日本語").click()
        expect(page.locator("#no-runs")).to_have_text("実行はまだありません。")


def start_without_an_answer(page: Page) -> Locator:
    """Press "Start" once while the server's answer is lost. Returns the button."""
    answers = []
    page.route("**/api/runs", lambda route: answers.append(route.fetch()) or route.abort(), times=1)
    button = page.get_by_role("button", name="Start", exact=True)
    button.click()
    expect(page.locator("#refusal")).to_have_text("The server does not answer. Try again when it is back.")
    return button


def test_an_answer_that_is_lost_starts_no_second_run(page: Page, served: Served) -> None:
    open_console(page, served.url)
    button = start_without_an_answer(page)
    button.click()
    expect(status_of(page)).to_have_text("completed")
    assert len(served.runner.runs()) == 1


def test_a_start_that_took_long_started_a_second_run_at_the_third_try(page: Page, served: Served) -> None:
    """The second try was told that the first was still being answered, and its key was then thrown away."""
    open_console(page, served.url)
    button = start_without_an_answer(page)
    page.route("**/api/runs", lambda route: route.fulfill(status=409, json={"detail": "Still going on"}), times=1)
    button.click()
    expect(page.locator("#refusal")).to_have_text("Still going on")
    button.click()
    expect(status_of(page)).to_have_text("completed")
    assert len(served.runner.runs()) == 1


def test_without_a_start_there_is_no_button(page: Page) -> None:
    with serving(start=None) as served:
        live = served.live_run()
        live.end()
        open_run(page, served.url, live.run_id, "completed")
        expect(page.get_by_role("button", name=re.compile("^Start"))).to_have_count(0)


def test_what_is_not_allowed_is_told(page: Page) -> None:
    with serving(allow=lambda request, action, run_id: action in ("list", "read")) as served:
        live = served.live_run()
        open_run(page, served.url, live.run_id)
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.locator("#refusal")).to_contain_text("You are not allowed to do this")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#run-refusal")).to_contain_text("You are not allowed to do this")
        assert not live.run.cancel_requested


def test_each_refusal_of_a_cancel_was_told_as_a_lack_of_rights_of_all_runs(page: Page, served: Served) -> None:
    """An answer that came late was taken for one about the run that was then shown."""
    first, second = served.live_run("first"), served.live_run("second")
    refused = {"detail": "The store cannot be used"}
    routes: list[Route] = []
    page.route("**/cancel", lambda route: route.fulfill(status=503, json=refused), times=1)
    open_run(page, served.url, first.run_id)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run-refusal")).to_have_text("The store cannot be used")
    runs_of(page).filter(has_text="second").click()
    expect(page.locator("#run-title")).to_have_text("second")
    expect(page.locator("#run-refusal")).to_be_hidden()
    for answer in ({"status": 503, "json": refused}, {"status": 202, "json": {"cancelled": True}}):
        page.route("**/cancel", lambda route: routes.append(route), times=1)
        with page.expect_request("**/cancel"):
            page.get_by_role("button", name="Cancel").click()
        other = first if page.locator("#run-title").text_content() == "second" else second
        runs_of(page).filter(has_text=str(other.run.key)).click()
        expect(page.locator("#run-title")).to_have_text(str(other.run.key))
        with page.expect_response("**/cancel"):
            routes.pop().fulfill(**answer)
        with page.expect_response("**/api/runs?*"):
            pass
        expect(page.locator("#run-refusal")).to_be_hidden()
        expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_enabled()


def test_a_run_that_may_not_be_read_is_none_and_no_lost_connection(page: Page) -> None:
    with serving(allow=lambda request, action, run_id: action == "list") as served:
        live = served.live_run()
        open_console(page, f"{served.url}#run/{live.run_id}")
        expect(page.locator("#no-run")).to_contain_text("There is no run")
        expect(page.locator("#connection")).to_have_text("Connected")
