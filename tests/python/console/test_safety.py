"""Texts are never markup, nothing foreign is loaded, and other sites change nothing."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from .support import PATIENCE, Served, lines_of, open_run

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</p></div><svg onload=alert(1)>",
    '" onmouseover="alert(1)',
    "javascript:alert(1)",
    "{{7*7}} ${7*7} &lt;b&gt; &#x41;",
]


def assert_nothing_became_markup(page: Page) -> None:
    found = page.evaluate(
        "() => [...document.querySelectorAll('main *, nav *, form *, aside *')]"
        ".filter(each => each.matches('script, img, iframe, object, b, [onerror], [onload], [onmouseover], "
        '[href^="javascript:"]\'))'
        ".map(each => each.outerHTML)"
    )
    assert found == []


def test_hostile_events_are_shown_as_text(page: Page, served: Served) -> None:
    live = served.live_run("<b>key</b>")
    open_run(page, served.url, live.run_id)
    for text in HOSTILE:
        live.publish(message=text, level="line hidden <b>" if "b" in text else "info", time="<b>")
    live.progress(1, 2, step=HOSTILE[1])
    with live.context.group(HOSTILE[0]):
        live.log("inside")
    expect(lines_of(page)).to_have_text([*HOSTILE, HOSTILE[0], "inside"])
    expect(page.locator("#step")).to_have_text(HOSTILE[1])
    expect(page.locator("#run-title")).to_have_text("<b>key</b>")
    expect(page.get_by_role("navigation").locator(".name")).to_have_text("<b>key</b>")
    page.locator("#words").fill("<img")
    expect(page.locator("mark")).to_have_text("<img")
    live.end({text: [text, {text: text}] for text in HOSTILE})
    expect(page.locator("#result dt")).to_have_count(len(HOSTILE) * 2)
    assert_nothing_became_markup(page)


def test_a_hostile_error_is_shown_as_text(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    live.end(RuntimeError(HOSTILE[0]))
    expect(page.locator("#outcome")).to_contain_text("<script>alert(1)")
    assert_nothing_became_markup(page)


def test_characters_that_turn_the_direction_are_written_out(page: Page, served: Served) -> None:
    live = served.live_run("a\u202egpj.md")
    open_run(page, served.url, live.run_id)
    live.log("b\u2066c\u2069\u200e\u200f.md: 1 sentence\x1b")
    live.progress(1, 2, step="d\u202ce")
    expect(page.locator("#run-title")).to_have_text(r"a\u202egpj.md")
    expect(page.locator("nav .name")).to_have_text(r"a\u202egpj.md")
    expect(lines_of(page)).to_have_text([r"b\u2066c\u2069\u200e\u200f.md: 1 sentence\u001b"])
    expect(page.locator("#step")).to_have_text(r"d\u202ce")
    live.end({"f\u202eg": "h\u202ei"})
    expect(page.locator("#result dt")).to_have_text(r"f\u202eg")
    expect(page.locator("#result dd")).to_have_text(r"h\u202ei")


def test_odd_progress_does_no_harm(page: Page, served: Served) -> None:
    live = served.live_run()
    open_run(page, served.url, live.run_id)
    for current, total, amount in [
        (0, 0, "0"),
        (5, 2, "5 of 2 (250%)"),
        (-1, 10, "-1 of 10 (-10%)"),
        (0.5, 1.5, "0.5 of 1.5 (33%)"),
        (1, float("inf"), "1"),  # null, in JSON
        (float("nan"), 2, "1"),
    ]:
        live.publish(progress_current=current, progress_total=total, step="constructor")
        expect(page.locator("#amount")).to_have_text(amount)
        expect(page.locator("#step")).to_have_text("constructor")
    live.log("after")
    expect(lines_of(page)).to_have_text(["after"])


@pytest.fixture
def plain_page(browser: Browser) -> Iterator[Page]:
    """A window in which things are meant to go wrong."""
    with browser.new_context() as context:
        context.set_default_timeout(1000 * PATIENCE)
        yield context.new_page()


def test_the_browser_refuses_to_make_markup_of_text(plain_page: Page, served: Served) -> None:
    plain_page.goto(served.url)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.done = 1'}))",
    ):
        with pytest.raises(Error, match="Trusted"):
            plain_page.evaluate(f"() => {{ {attempt} }}")
    assert plain_page.evaluate("() => [window.done, document.querySelectorAll('b').length]") == [None, 0]


def test_the_browser_runs_no_inline_code(plain_page: Page, served: Served) -> None:
    plain_page.goto(served.url)
    refused = plain_page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
            const link = Object.assign(document.createElement('a'), {href: 'javascript:window.done = 1'});
            document.body.append(link);
            link.click();
        })"""
    )
    assert refused.startswith("script-src") or refused == "require-trusted-types-for"
    assert plain_page.evaluate("() => window.done") is None


def test_the_browser_refuses_to_ask_elsewhere(plain_page: Page, served: Served, other_site: str) -> None:
    plain_page.goto(served.url)
    with pytest.raises(Error, match="Failed to fetch"):
        plain_page.evaluate(f"() => fetch('{other_site}')")
    assert (
        plain_page.evaluate(
            f"() => new Promise(done => {{ const image = new Image(); image.onload = () => done('loaded');"
            f" image.onerror = () => done('refused'); image.src = '{other_site}'; }})"
        )
        == "refused"
    )


@pytest.fixture
def other_site() -> Iterator[str]:
    """A page of another origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title>")

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/"
        site.shutdown()
        thread.join()


def test_another_site_starts_and_cancels_nothing(plain_page: Page, served: Served, other_site: str) -> None:
    live = served.live_run()
    # A form, as any site can send it.
    send = """url => {
        const form = document.createElement('form');
        Object.assign(form, {method: 'post', action: url, enctype: 'multipart/form-data'});
        document.body.append(form);
        form.submit();
    }"""
    for path in ("api/runs", f"api/runs/{live.run_id}/cancel"):
        # From a document of another site, and from one that names none.
        for site in (other_site, "about:blank"):
            plain_page.goto(site)
            with plain_page.expect_navigation() as answer:
                plain_page.evaluate(send, served.url + path)
            assert answer.value.status == 403
    assert len(served.runner.runs()) == 1
    assert not live.run.cancel_requested


def test_another_site_reads_nothing(plain_page: Page, served: Served, other_site: str) -> None:
    plain_page.goto(other_site)
    with pytest.raises(Error, match="Failed to fetch"):
        plain_page.evaluate("url => fetch(url)", f"{served.url}api/runs")
    framed = """url => new Promise(done => {
        const frame = Object.assign(document.createElement('iframe'), {src: url});
        frame.onload = () => done(frame.contentDocument ? 'readable' : 'opaque');
        document.body.append(frame);
    })"""
    assert plain_page.evaluate(framed, served.url) == "opaque"
