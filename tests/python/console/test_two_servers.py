"""The demo on two servers with one store: the page of one, a run of the other."""

import signal
import sys
from pathlib import Path

from demo.commands import running
from playwright.sync_api import Page, expect
from stores.servers import RedisServer

from .support import copied, open_console, status_of

# The command with leases of seconds, so that a dead server is noticed soon.
COMMAND = [
    sys.executable,
    "-c",
    """
import functools, runpy, glossary.stores
glossary.stores.RedisStore = functools.partial(glossary.stores.RedisStore, lease=2.0)
runpy.run_module("glossary", run_name="__main__", alter_sys=True)
""",
    "--port",
    "0",
]
SERVING = r"Serving until Ctrl-C: (http://\S+/)\n"


def test_a_run_of_another_server_is_followed_and_its_death_is_seen(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "000.txt").write_text("A run is one execution.")
    redis = RedisServer(tmp_path)
    options = (folder, "--store", redis.url, "--pace", "0.1")
    try:
        with (
            running(tmp_path, *options, terminal=True, command=COMMAND) as one,
            running(tmp_path, *options, terminal=True, command=COMMAND) as other,
        ):
            one_url, other_url = one.wait_for(SERVING)[1], other.wait_for(SERVING)[1]
            for n in range(1000):
                (folder / f"{n:03}.txt").write_text("A run is one execution.")
            open_console(page, one_url)
            second = page.context.new_page()
            open_console(second, other_url)
            second.get_by_role("button", name="Start", exact=True).click()
            expect(status_of(second)).to_have_text("running")
            run_id = second.locator("#run-id").text_content()
            page.locator(f"#runs a[href$='{run_id}']").click()
            expect(page.locator("#run-id")).to_have_text(str(run_id))
            expect(page.get_by_text("009.txt: 1 sentence")).to_be_visible()
            assert copied(page)[:10] == [f"{n:03}.txt: 1 sentence" for n in range(10)]
            expect(status_of(page)).to_have_text("running")

            other.process.send_signal(signal.SIGKILL)
            expect(status_of(page)).to_have_text("failed")
            expect(page.locator("#outcome")).to_contain_text("Interrupted: ")
            expect(page.locator("#connection")).to_have_text("Connected")
            second.close()
    finally:
        redis.close()
