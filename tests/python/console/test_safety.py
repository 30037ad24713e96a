"""Texts are never markup, nothing foreign is loaded, and other sites change nothing."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from .support import PATIENCE, Demo, choose, lines_of, open_console, open_run, status_of

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


def test_hostile_documents_are_shown_as_text(page: Page, demo: Demo) -> None:
    names = [f"{text.replace('/', '')}.md".replace('"', "'") for text in HOSTILE]
    sentence = "A <script>alert(1)</script> run is one <img src=x onerror=alert(1)> execution of work."
    open_console(page, demo.url)
    choose(page, [{"name": name, "mimeType": "text/markdown", "buffer": sentence.encode()} for name in names])
    page.get_by_role("button", name="Start").click()
    expect(status_of(page)).to_have_text("completed")
    for name in names:
        expect(lines_of(page).filter(has_text=f"{name}: 1 sentence")).to_have_count(1)
    page.get_by_role("button", name="Open the glossary").click()
    expect(page.locator("#entries .where").first).to_be_visible()
    assert_nothing_became_markup(page)


def test_a_hostile_name_of_the_one_file_is_shown_as_text(page: Page, demo: Demo) -> None:
    name = "<img src=x onerror=alert(1)>.md"
    open_console(page, demo.url)
    choose(page, [{"name": name, "mimeType": "text/markdown", "buffer": b"A run is one execution."}])
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#source")).to_have_text(name)
    expect(page.locator("nav .source")).to_have_text(name)
    assert_nothing_became_markup(page)


def test_hostile_events_are_shown_as_text(page: Page, demo: Demo) -> None:
    live = demo.live_run("<b>source</b>")
    open_run(page, demo.url, live.run_id)
    for text in HOSTILE:
        live.log(text, level="line hidden <b>" if "b" in text else "info")
    live.progress(1, 2, step=HOSTILE[1])
    expect(lines_of(page)).to_have_text(HOSTILE)
    expect(page.locator("#step")).to_have_text(HOSTILE[1])
    live.end(RuntimeError(HOSTILE[0]))
    expect(page.locator("#outcome")).to_contain_text("<script>alert(1)")
    assert_nothing_became_markup(page)


def test_characters_that_turn_the_direction_are_written_out(page: Page, demo: Demo) -> None:
    live = demo.live_run("a\u202egpj.md")
    open_run(page, demo.url, live.run_id)
    live.log("b\u2066c\u2069\u200e\u200f.md: 1 sentence\x1b")
    live.progress(1, 2, step="d\u202ce")
    expect(page.locator("#source")).to_have_text(r"a\u202egpj.md")
    expect(page.locator("nav .source")).to_have_text(r"a\u202egpj.md")
    expect(page.locator("nav .source")).to_have_attribute("title", r"a\u202egpj.md")
    expect(lines_of(page)).to_have_text([r"b\u2066c\u2069\u200e\u200f.md: 1 sentence\u001b"])
    expect(page.locator("#step")).to_have_text(r"d\u202ce")
    live.end(RuntimeError("f\u202eg"))
    expect(page.locator("#outcome")).to_contain_text(r"f\u202eg")
    choose(page, [{"name": "h\u202ei.md", "mimeType": "text/plain", "buffer": b"A run is one background execution."}])
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#source")).to_have_text(r"h\u202ei.md")
    expect(page.locator("#entries .where")).to_have_text(r"h\u202ei.md, once")


def test_odd_progress_does_no_harm(page: Page, demo: Demo) -> None:
    live = demo.live_run()
    open_run(page, demo.url, live.run_id)
    for current, total, amount in [
        (0, 0, "0"),
        (5, 2, "5 of 2 (250%)"),
        (-1, 10, "-1 of 10 (-10%)"),
        (0.5, 1.5, "0.5 of 1.5 (33%)"),
        (float("nan"), float("inf"), "0"),  # null, in JSON
    ]:
        live.publish(current, total, step="constructor")
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


def test_the_browser_refuses_to_make_markup_of_text(plain_page: Page, demo: Demo) -> None:
    plain_page.goto(demo.url)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.done = 1'}))",
    ):
        with pytest.raises(Error, match="Trusted"):
            plain_page.evaluate(f"() => {{ {attempt} }}")
    assert plain_page.evaluate("() => [window.done, document.querySelectorAll('b').length]") == [None, 0]


def test_the_browser_runs_no_inline_code(plain_page: Page, demo: Demo) -> None:
    plain_page.goto(demo.url)
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


def test_the_browser_refuses_to_ask_elsewhere(plain_page: Page, demo: Demo, other_site: str) -> None:
    plain_page.goto(demo.url)
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


def test_another_site_starts_and_cancels_nothing(plain_page: Page, demo: Demo, other_site: str) -> None:
    live = demo.live_run()
    # A form, as any site can send it.
    send = """url => {
        const form = document.createElement('form');
        Object.assign(form, {method: 'post', action: url, enctype: 'multipart/form-data'});
        document.body.append(form);
        form.submit();
    }"""
    for path in ("runs", f"runs/{live.run_id}/cancel"):
        # From a document of another site, and from one that names none.
        for site in (other_site, "about:blank"):
            plain_page.goto(site)
            with plain_page.expect_navigation() as answer:
                plain_page.evaluate(send, demo.url + path)
            assert answer.value.status == 403
    assert len(demo.runner.runs()) == 1
    assert not live.run.cancel_requested


def test_another_site_reads_nothing(plain_page: Page, demo: Demo, other_site: str) -> None:
    plain_page.goto(other_site)
    with pytest.raises(Error, match="Failed to fetch"):
        plain_page.evaluate("url => fetch(url)", f"{demo.url}runs")
    framed = """url => new Promise(done => {
        const frame = Object.assign(document.createElement('iframe'), {src: url});
        frame.onload = () => done(frame.contentDocument ? 'readable' : 'opaque');
        document.body.append(frame);
    })"""
    assert plain_page.evaluate(framed, demo.url) == "opaque"
