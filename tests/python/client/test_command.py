"""`python -m genglossary_runs`, in a terminal and without one."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from genglossary_runs import RunManager
from genglossary_runs.__main__ import main
from genglossary_runs.client.addresses import list_urls, run_url
from genglossary_runs.console import router
from genglossary_runs.runner import Run, RunContext, Runner
from runner.support import until_cancelled
from streams.servers import Site

from .conftest import TOKEN, make_app
from .proxy import Proxy
from .support import DEADLINE, Speaker, wait_until

COMMAND = [sys.executable, "-m", "genglossary_runs"]


def failing(context: RunContext) -> None:
    raise ValueError("no such page")


def last_id(run: Run) -> str:
    """The id of the terminal event."""
    events = run.events()
    assert [*events]
    return events.last_event_id


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other side has closed
            while data := os.read(self._ours, 65536):
                self.text += data.decode(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until it shows this."""
        wait_until(lambda: text in self.text or self.process.poll() is not None)
        assert text in self.text

    def write(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, 2)

    def code(self) -> int:
        """The exit code."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        os.close(self._ours)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


def test_a_run_is_shown_with_bars_in_a_terminal(runner: Runner, proxy: Proxy, terminals: list[Terminal]) -> None:
    go_on = threading.Event()

    def work(context: RunContext) -> None:
        context.log("[bold]no markup[/bold] \x1b[31mno colour")
        context.progress(3, 10, step="reading")
        assert go_on.wait(DEADLINE)

    run = runner.start(work)
    terminal = Terminal("follow", f"{proxy.url}/api/runs/{run.run_id}/events")
    terminals.append(terminal)
    terminal.wait_for("reading")
    terminal.wait_for("3/10")
    go_on.set()
    assert terminal.code() == 0
    assert "[bold]no markup[/bold]" in terminal.text
    assert "\ufffd[31mno colour" in terminal.text
    assert "Run completed" in terminal.text


@pytest.mark.parametrize(
    ("answer", "code", "status"), [("c", 130, "cancelled"), ("l", 3, "running"), ("", 0, "completed")]
)
def test_ctrl_c_asks_once_whether_to_cancel_or_to_leave(
    runner: Runner, proxy: Proxy, terminals: list[Terminal], answer: str, code: int, status: str
) -> None:
    done = threading.Event()

    def work(context: RunContext) -> None:
        context.log("begun")
        while not done.is_set():
            context.raise_if_cancelled()
            done.wait(0.01)

    run = runner.start(work)
    terminal = Terminal("follow", f"{proxy.url}/api/runs/{run.run_id}")
    terminals.append(terminal)
    terminal.wait_for("begun")
    terminal.interrupt()
    terminal.wait_for("ancel, [l]eave")
    terminal.write(answer + "\n")
    if status == "completed":
        done.set()
    assert terminal.code() == code
    assert run.status == status
    # What had been shown is not shown again.
    assert "begun" not in terminal.text.partition("[l]eave")[2]
    done.set()


def test_without_a_terminal_it_writes_plain_lines(
    runner: Runner, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(context: RunContext) -> None:
        for number in (0, 5, 50, 55, 56, 100):
            context.progress(number, 100, step="reading", message="")
        context.log("Two\nlines", level="warning")

    run = runner.start(work)
    assert main(["follow", f"{proxy.url}/api/runs/{run.run_id}/events"]) == 0
    lines = [line[9:] for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if "reading" in line] == [f"reading: {percent} %" for percent in (0, 50, 100)]
    assert lines[-3:] == ["WARNING Two", "WARNING lines", "INFO    Run completed"]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_in_no_numbers_ended_the_command(
    runner: Runner,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)

    def work(context: RunContext) -> None:
        for current in ("3/10", [3], None, 10**400, 1.7e308, -3):
            for total in ("unknown", 10**400, 1e-10, 0, None):
                runner.manager.publish(context.run_id, {"progress_current": current, "progress_total": total})
        context.log("all the same")

    run = runner.start(work)
    assert main(["follow", f"{proxy.url}/api/runs/{run.run_id}/events"]) == 0
    assert "all the same" in capsys.readouterr().out


def test_the_exit_code_tells_the_outcome(
    runner: Runner, site: Site, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = runner.start(failing)
    assert failed.wait(DEADLINE)
    assert len(site.complaints) == 1
    site.complaints.clear()
    assert main(["follow", f"{proxy.url}/api/runs/{failed.run_id}"]) == 1
    assert "Run failed: ValueError: no such page" in capsys.readouterr().out
    cancelled = runner.start(until_cancelled)
    assert main(["cancel", f"{proxy.url}/api/runs/{cancelled.run_id}/events"]) == 0
    assert main(["follow", f"{proxy.url}/api/runs/{cancelled.run_id}"]) == 130
    assert main(["cancel", f"{proxy.url}/api/runs/{cancelled.run_id}"]) == 1
    for command in ("follow", "cancel"):
        assert main([command, f"{proxy.url}/api/runs/nowhere"]) == 2
        assert "404" in capsys.readouterr().err
    assert main(["list", "http://127.0.0.1:1/"]) == 2
    capsys.readouterr()
    for command in ("follow", "list", "cancel"):
        assert main([command, "no address"]) == 2
        assert main([command, f"http://me:hunter2@127.0.0.1:{proxy.port}/nothing?token=hunter2"]) == 2
        assert main([command, "http://me:hunter2@127.0.0.1:port/"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_a_failed_run_whose_end_had_been_received_before_had_succeeded(
    runner: Runner, site: Site, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    for work, code in ((failing, 1), (lambda context: None, 0)):
        run = runner.start(work)
        last = last_id(run)
        for url in (f"{proxy.url}/api/runs/{run.run_id}/events", f"{proxy.url}/#run/{run.run_id}"):
            assert main(["follow", url, "--after", last]) == code
    site.complaints.clear()
    assert capsys.readouterr().out == ""


def test_the_outcome_of_a_stream_without_a_record_is_unknown(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    app, run = FastAPI(), runner.start(lambda context: None)

    async def stream(request: Request) -> Response:
        return runner.stream(run.run_id, request)

    app.add_route("/stream", stream)
    last = last_id(run)
    with Site(app) as site:
        assert main(["follow", f"http://127.0.0.1:{site.port}/stream", "--after", last]) == 2
    assert "no record of how the run ended" in capsys.readouterr().err


def test_a_page_of_a_proxy_in_place_of_an_answer_ended_in_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    app.add_api_route("/api/runs/7/cancel", lambda: PlainTextResponse("Log in, please"), methods=["POST"])
    with Site(app) as site:
        assert main(["cancel", f"http://127.0.0.1:{site.port}/api/runs/7"]) == 2
    assert "something other than a JSON object" in capsys.readouterr().err


def test_a_server_that_was_away_was_tried_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["follow", "http://127.0.0.1:1/api/runs/x", "--give-up", "0.2"]) == 2
    assert "http://127.0.0.1:1/api/runs/x has not been reached for" in capsys.readouterr().err


def test_runs_are_listed(
    runner: Runner, site: Site, proxy: Proxy, speaker: Speaker, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner.start(failing, key="book")
    assert run.wait(DEADLINE)
    site.complaints.clear()
    runner.start(speaker)
    for url in (f"{proxy.url}/", f"{proxy.url}/api", f"{proxy.url}/api/runs"):
        assert main(["list", url]) == 0
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [row[1] for row in rows] == ["running", "failed"]
        assert rows[1][0] == run.run_id
        assert rows[1][4:] == ["book · failing", "ValueError: no such page"]
    assert main(["list", proxy.url, "--status", "failed", "--json"]) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["runs"]] == [run.run_id]
    assert main(["list", proxy.url, "--search", "nothing"]) == 0
    assert capsys.readouterr().out == ""


def test_a_list_ended_at_the_first_page_that_was_cut_short(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("genglossary_runs.console.listing._MOST_HIDDEN", 2)
    for run_id in ("mine 1", "mine 2", "theirs 1", "theirs 2", "theirs 3", "mine 3"):
        assert runner.start(lambda context: None, run_id=run_id).wait(DEADLINE)
    app = FastAPI()
    app.include_router(router(runner, allow=lambda request, action, run_id: not (run_id or "").startswith("theirs")))
    with Site(app) as site:
        assert main(["list", f"http://127.0.0.1:{site.port}/runs", "--limit", "2"]) == 0
    assert [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["mine 3", "mine 2"]


def test_more_runs_than_a_page_has_could_not_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(RunManager(), finished_runs=600)
    for number in range(503):
        assert runner.start(lambda context: None, run_id=number).wait(DEADLINE)
    with Site(make_app(runner)) as site:
        assert main(["list", f"http://127.0.0.1:{site.port}/", "--limit", "502"]) == 0
    assert [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(number) for number in range(502, 0, -1)
    ]


def test_headers_are_sent(runner: Runner, proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    runner.start(lambda context: None, run_id="secret")
    url = f"{proxy.url}/api/runs/secret"
    assert main(["follow", url]) == 2
    assert main(["follow", url, "--header", f"Authorization: {TOKEN}"]) == 0
    with pytest.raises(SystemExit):
        main(["follow", url, "--header", "no colon"])


def test_addresses_of_consoles_are_understood(runner: Runner) -> None:
    assert run_url("https://a.example/runs/#run/import%2F7/12") == "https://a.example/runs/api/runs/import%2F7"
    assert run_url("https://a.example/runs/api/runs/7/events") == "https://a.example/runs/api/runs/7"
    assert run_url("https://a.example/runs/api/runs/7") == "https://a.example/runs/api/runs/7"
    assert list_urls("https://a.example/runs/#run/7") == [
        "https://a.example/runs/api/runs",
        "https://a.example/runs/runs",
        "https://a.example/runs",
    ]
    app = FastAPI()
    console = FastAPI()
    console.include_router(router(runner), prefix="/api")
    app.mount("/runs", console)
    run = runner.start(lambda context: None, run_id="a/b c")
    assert run.wait(DEADLINE)
    with Site(app) as site:
        page = f"http://127.0.0.1:{site.port}/runs/"
        assert main(["list", page]) == 0
        assert main(["follow", f"{page}#run/a%2Fb%20c/3"]) == 0


@pytest.mark.parametrize("run_id", ["a?b", "a#b", "100%25", "x/"])
def test_an_id_that_a_url_has_to_encode_was_invalid_or_that_of_another_run(
    runner: Runner, proxy: Proxy, run_id: str
) -> None:
    assert runner.start(lambda context: None, run_id=run_id).wait(DEADLINE)
    url = f"{proxy.url}/api/runs/{quote(run_id, safe='')}"
    for end in ("", "/events"):
        assert main(["follow", f"{url}{end}"]) == 0
        assert main(["cancel", f"{url}{end}"]) == 1
    assert str(list_urls("https://a.example/a%3Fb/")[0]) == "https://a.example/a%3Fb/api/runs"


@pytest.mark.parametrize("query", ["?token=1", "/events?last_event_id=3"])
def test_a_cancel_went_into_the_query_of_the_address(
    runner: Runner, proxy: Proxy, speaker: Speaker, query: str
) -> None:
    run = runner.start(speaker)
    assert main(["cancel", f"{proxy.url}/api/runs/{run.run_id}{query}"]) == 0
    assert run.cancel_requested
    assert run_url("https://a.example/api/runs/7/events?token=1") == "https://a.example/api/runs/7?token=1"


def test_one_sentence_says_what_is_missing() -> None:
    script = "import sys; sys.modules['httpx_sse'] = None; import runpy; sys.argv[1:] = ['list', 'x']; "
    script += "runpy.run_module('genglossary_runs', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'genglossary_runs.client needs httpx_sse: pip install "genglossary-runs[client]"\n'
