"""`python -m glossary`, as a person or a script runs it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from glossary.command import LONGEST_WAIT, PACE, default_pace, pace_of, parse

from .commands import ID, PATIENCE, PROJECT, environment, run, running

MakeFolder = Callable[..., Path]


def assert_one_line(text: str, pattern: str) -> None:
    assert re.fullmatch(rf"genglossary-runs demo: .*{pattern}.*\n", text)


def assert_holds(printed: str, **stats: int) -> None:
    for name, value in stats.items():
        assert re.search(rf"{name.replace('_', ' ')} +{value} ", printed), printed


@pytest.mark.parametrize("arguments", [("--once",), ()])
def test_it_makes_a_glossary_and_ends(make_folder: MakeFolder, tmp_path: Path, arguments: Sequence[str]) -> None:
    result = run(tmp_path, make_folder(), *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(rf"Run {ID} makes a glossary of texts\n", result.stdout)
    assert re.search(r"\d\d:\d\d:\d\d info +runs\.md: 3 sentences\n", result.stdout)
    assert re.search(r"Reading +\S+ 2/2 ", result.stdout)
    assert re.search(rf"Run {ID} completed\n", result.stdout)
    assert re.search(r"\n  run log  The run log is a bounded list of events\.\n", result.stdout)
    glossary = tmp_path / "genglossary-demo.md"
    assert f"The glossary is in {glossary}\n" in result.stdout
    assert "\n## run log\n\nThe run log is a bounded list of events.\n" in glossary.read_text(encoding="utf-8")
    assert_holds(result.stdout, active_runs=0, subscribed_runs=0, subscribers=0, retained_runs=1)


def test_the_folder_can_come_from_the_environment(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, DOCS=str(make_folder()))
    assert result.returncode == 0
    assert re.search(rf"Run {ID} makes a glossary of texts\n", result.stdout)


def test_without_a_folder_it_reads_this_project(tmp_path: Path) -> None:
    result = run(PROJECT, "--out", tmp_path / "out.md", "--store", "off")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\n## terminal event\n" in (tmp_path / "out.md").read_text(encoding="utf-8")


def test_its_own_glossary_is_not_read_again(make_folder: MakeFolder) -> None:
    folder = make_folder()
    for _ in range(2):
        result = run(folder, ".")
        assert result.returncode == 0
        assert re.search(r"Reading +\S+ 2/2 ", result.stdout)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path / "nowhere")
    assert (result.returncode, result.stdout) == (1, "")
    assert_one_line(result.stderr, "There is no folder .*nowhere")


def test_a_folder_without_text_is_one_line(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder({}))
    assert (result.returncode, result.stdout) == (1, "")
    assert_one_line(result.stderr, "texts has no text files")


def test_files_without_text_fail(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder({"a.txt": ""}))
    assert (result.returncode, result.stderr) == (1, "")
    assert re.search(rf"\nRun {ID} failed: There is no text in the files of texts\n", result.stdout)
    assert not (tmp_path / "genglossary-demo.md").exists()


def test_a_file_that_is_not_utf_8_is_a_warning(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder({"a.txt": b"caf\xe9", "b.txt": "A run is one execution."}))
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"warning +a\.txt is not UTF-8 \(byte 3\); skipped\n", result.stdout)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"caf\xe9", r"a\.txt is not UTF-8 \(byte 3\)"),
        (b"x" * ((4 << 20) + 1), r"a\.txt is larger than 4 MiB"),
    ],
)
def test_one_unreadable_file_alone_fails_without_a_traceback(
    make_folder: MakeFolder, tmp_path: Path, content: bytes, why: str
) -> None:
    with running(tmp_path, make_folder({"a.txt": content})) as command:
        assert command.wait() == 1
    assert "Traceback" not in command.printed
    assert re.search(rf"warning +{why}; skipped\n", command.printed)
    assert re.search(rf"\nRun {ID} failed: There is no text in the files of texts\n", command.printed)


def test_a_port_in_use_is_one_line(make_folder: MakeFolder, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(tmp_path, make_folder(), "--port", port)
    assert (result.returncode, result.stdout) == (1, "")
    assert_one_line(result.stderr, f"Port {port} is in use; choose another with --port {port + 1} ")
    assert f'(with make: DEMO_FLAGS="--port {port + 1}")' in result.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "no name"])
def test_a_foreign_address_is_one_line(make_folder: MakeFolder, tmp_path: Path, host: str) -> None:
    result = run(tmp_path, make_folder(), "--host", host)
    assert (result.returncode, result.stdout) == (1, "")
    assert_one_line(result.stderr, f"{host} is not an address of this machine; choose another with --host")


def test_it_listens_where_it_is_told_to(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    for arguments, host, other in ((), "127.0.0.1", "127.0.0.2"), (("--host", "127.0.0.2"), "127.0.0.2", "127.0.0.1"):
        with running(tmp_path, folder, *arguments, terminal=True) as command:
            url = command.wait_for(r"The run console is at (http://\S+/)\n")[1]
            assert url.startswith(f"http://{host}:")
            with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
                assert "<title>Run console</title>" in client.get(url).text
                with pytest.raises(httpx.ConnectError):
                    client.get(url.replace(host, other))


def test_a_glossary_that_cannot_be_written_is_one_line(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder(), "--out", tmp_path / "nowhere" / "out.md")
    assert result.returncode == 1
    assert_one_line(result.stderr, "cannot be written: No such file or directory; choose another with --out")


@pytest.mark.parametrize(
    "arguments", [("--port", "65536"), ("--port", "x"), ("--pace", "-1"), ("--pace", "nan"), ("--workers", "0")]
)
def test_impossible_options_are_refused(tmp_path: Path, arguments: Sequence[str]) -> None:
    result = run(tmp_path, *arguments)
    assert result.returncode == 2
    assert f"argument {arguments[0]}: " in result.stderr


def test_a_terminal_that_cannot_show_a_text_shows_the_rest(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder(), PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert "??.txt: 3 sentences\n" in result.stdout


def test_texts_and_names_do_not_steer_the_terminal(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder({"\x1b[31mred [bold].txt": "A run is one execution."}))
    assert result.returncode == 0
    assert "\x1b" not in result.stdout
    assert " [31mred [bold].txt: 1 sentence\n" in result.stdout


# A finder that sends Ctrl-C when a module is looked for, and the command as `python -m` runs it.
INTERRUPTED_IMPORT = """
import runpy, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder)
sys.modules.pop(sys.argv[1], None)
runpy.run_module("glossary", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["glossary.command", "httpx", "rich.console", "fastapi", "uvicorn"])
def test_ctrl_c_while_it_is_being_imported_says_nothing(tmp_path: Path, module: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, module],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("terminal", [False, True])
def test_ctrl_c_cancels_the_run_first(make_folder: MakeFolder, tmp_path: Path, terminal: bool) -> None:
    with running(tmp_path, make_folder(), "--pace", 3600, terminal=terminal) as command:
        command.wait_for("Run .* makes a glossary of texts\n")
        command.process.send_signal(signal.SIGINT)
        assert command.wait() == 130
    assert re.search(rf"Cancelling run {ID}\n", command.printed)
    assert re.search(rf"Run {ID} cancelled\n", command.printed)
    assert "Traceback" not in command.printed
    assert_holds(command.printed, active_runs=0, subscribed_runs=0, subscribers=0)
    assert not (tmp_path / "genglossary-demo.md").exists()


def test_sigterm_stops_the_run_and_the_server(make_folder: MakeFolder, tmp_path: Path) -> None:
    with running(tmp_path, make_folder(), "--pace", 3600) as command:
        command.wait_for("Run .* makes a glossary of texts\n")
        command.process.terminate()
        assert command.wait() == 128 + signal.SIGTERM
    assert "Traceback" not in command.printed


SERVING = r"Serving until Ctrl-C: (http://127\.0\.0\.1:\d+)/\n"


def test_in_a_terminal_it_goes_on_serving_until_ctrl_c(make_folder: MakeFolder, tmp_path: Path) -> None:
    with running(tmp_path, make_folder(), terminal=True) as command:
        url = command.wait_for(SERVING)[1]
        assert re.search(r"Reading +\S+ 2/2 ", command.printed)
        with httpx.Client(base_url=f"{url}/api", trust_env=False, timeout=PATIENCE) as client:
            (run,) = client.get("/runs").json()["runs"]
            assert run["status"] == "completed"
            assert "event: complete" in client.get(f"/runs/{run['id']}/events").text
            another = client.post("/runs", json={}).json()["id"]
            assert "event: complete" in client.get(f"/runs/{another}/events").text
        command.process.send_signal(signal.SIGINT)
        assert command.wait() == 0


def test_ctrl_c_while_serving_cancels_what_others_started(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    with running(tmp_path, folder, "--pace", 0.5, terminal=True) as command:
        url = command.wait_for(SERVING)[1]
        for number in range(200):
            (folder / f"{number}.txt").write_text("A run is one execution.")
        with (
            httpx.Client(base_url=f"{url}/api", trust_env=False, timeout=PATIENCE) as client,
            client.stream("GET", f"/runs/{client.post('/runs', json={}).json()['id']}/events") as stream,
        ):
            lines = stream.iter_lines()
            assert any("Reading" in line for line in lines)
            command.process.send_signal(signal.SIGINT)
            assert any('"cancelled"' in line for line in lines)
        assert command.wait() == 130


def test_its_runs_are_kept_in_a_folder_of_their_own(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    for _ in range(2):
        assert run(tmp_path, folder, "--once").returncode == 0
    assert (tmp_path / "genglossary-demo-runs" / "runs.db").is_file()
    with running(tmp_path, folder, terminal=True) as command:
        url = command.wait_for(SERVING)[1]
        with httpx.Client(base_url=f"{url}/api", trust_env=False, timeout=PATIENCE) as client:
            assert [each["status"] for each in client.get("/runs").json()["runs"]] == ["completed"] * 3


def test_two_workers_serve_the_same_runs(make_folder: MakeFolder, tmp_path: Path) -> None:
    with running(tmp_path, make_folder(), "--workers", 2, terminal=True) as command:
        url = command.wait_for(SERVING)[1]
        shown, processes = set(), set()
        for _ in range(200):
            # A client of its own each time, and so a connection.
            with httpx.Client(base_url=f"{url}/api", trust_env=False, timeout=PATIENCE) as client:
                processes.add(client.get("/stats").json()["process"])
                shown.add(tuple(run["status"] for run in client.get("/runs").json()["runs"]))
            if len(processes) == 2:
                break
        assert (len(processes), shown) == (2, {("completed",)})
        command.process.send_signal(signal.SIGINT)
        assert command.wait() == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_workers_without_a_store_are_refused(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder(), "--workers", 2, "--store", "off")
    assert result.returncode == 1
    assert_one_line(result.stderr, "Workers need a store")


@pytest.mark.parametrize(("store", "why"), [("/proc/nowhere", "Runs cannot be kept"), ("redis://", "cannot be kept")])
def test_a_store_that_cannot_be_used_is_one_line(make_folder: MakeFolder, tmp_path: Path, store: str, why: str) -> None:
    result = run(tmp_path, make_folder(), "--store", store)
    assert (result.returncode, result.stdout) == (1, "")
    assert_one_line(result.stderr, f"{why}.*choose another --store")


def test_without_a_store_it_keeps_nothing(make_folder: MakeFolder, tmp_path: Path) -> None:
    assert run(tmp_path, make_folder(), "--store", "off").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["genglossary-demo.md", "texts"]


def test_once_ends_in_a_terminal_too(make_folder: MakeFolder, tmp_path: Path) -> None:
    with running(tmp_path, make_folder(), "--once", terminal=True) as command:
        assert command.wait() == 0
    assert re.search(rf"Run {ID} completed\n", command.printed)
    assert command.printed.endswith("\nThe run is over, and the server has stopped (--once)\n")


def test_it_says_that_the_server_whose_address_it_gave_has_gone(make_folder: MakeFolder, tmp_path: Path) -> None:
    result = run(tmp_path, make_folder())
    assert result.stdout.endswith("\nThe run is over, and the server has stopped (the output is not a terminal)\n")


def test_the_progress_never_tells_of_documents_that_are_not_there(make_folder: MakeFolder, tmp_path: Path) -> None:
    files = {f"{n}.txt": "A run is one execution." for n in range(13)}
    with running(tmp_path, make_folder(files), "--once", terminal=True) as command:
        assert command.wait() == 0
    assert set(re.findall(r"\d+/(\d+)", command.printed)) == {"13"}


def test_there_is_something_to_watch_but_not_for_long() -> None:
    assert default_pace(1) == default_pace(190) == PACE > 0
    assert default_pace(10_000) * 10_000 <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("arguments", "is_terminal", "expected"),
    [
        ((), True, PACE),
        ((), False, 0.0),
        (("--once",), True, 0.0),
        (("--once", "--pace", "2"), True, 2.0),
        (("--pace", "0"), True, 0.0),
        (("--pace", "2"), False, 2.0),
    ],
)
def test_only_who_watches_waits(arguments: Sequence[str], is_terminal: bool, expected: float) -> None:
    assert pace_of(parse(arguments), is_terminal, documents=2) == expected
