"""The command: serves the demo, makes a glossary through its own HTTP interface, and keeps serving."""

import argparse
import errno
import io
import ipaddress
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from genglossary_runs import StoreError
from genglossary_runs.client import FollowError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from glossary import workers
from glossary.documents import Folder, UnreadableError
from glossary.follow import Follower, printable
from glossary.pipeline import Glossary
from glossary.server import create_app, serving
from glossary.stores import DEFAULT_FOLDER, OFF
from glossary.terms import Entry

HOST = "127.0.0.1"
PACE = 0.05
"""Seconds to wait before each document in a terminal."""
LONGEST_WAIT = 10.0
"""Seconds that the waits may take for all documents together."""
SHOWN_ENTRIES = 5
"""Entries of the glossary that the terminal shows."""
INTERRUPTED = 130
"""The exit code that shells report for a command that Ctrl-C ended."""


class RefusedError(Exception):
    """The command cannot do what it was asked to; the message says why in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line if None.

    Returns:
        The exit code.
    """
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        return _run(parse(arguments))
    except (RefusedError, UnreadableError, FollowError, httpx.HTTPError) as error:
        print(f"genglossary-runs demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # characters that the terminal cannot show become question marks
    logging.getLogger("genglossary_runs.runner").addFilter(_is_unexpected)
    console = Console()
    ends = options.once or not console.is_terminal
    source = Folder(options.folder, without=options.out)
    pace = pace_of(options, console.is_terminal, documents=len(source.files()))
    with _listen(options.host, options.port) as listener, _serving(options, source, pace, listener) as stopped:
        url = _url(listener)
        console.print(f"The run console is at {url}/", soft_wrap=True)
        # Proxies in the environment are for other hosts.
        with httpx.Client(base_url=f"{url}/api", trust_env=False, timeout=30.0) as client:
            code = watch_run(client, console, source.name, options.out)
            if not code and not ends:
                console.print(f"Serving until Ctrl-C: {url}/", soft_wrap=True)
                return _serve(stopped, client)
    why = " (--once)" if options.once else "" if console.is_terminal else " (the output is not a terminal)"
    console.print(f"The run is over, and the server has stopped{why}", soft_wrap=True)
    return code


def _serving(
    options: argparse.Namespace, source: Folder, pace: float, listener: socket.socket
) -> AbstractContextManager[threading.Event]:
    if options.workers == 1:
        try:
            app = create_app(source, pace=pace, store=options.store, host_name=options.host)
        except (OSError, StoreError, ValueError) as error:
            raise RefusedError(f"Runs cannot be kept in {options.store}: {error}; choose another --store") from error
        return serving(app, listener)
    if options.store == OFF:
        raise RefusedError("Workers need a store to see each other's runs; leave out --store off")
    settings = workers.Settings(
        folder=str(options.folder),
        without=str(options.out),
        pace=pace,
        store=options.store,
        host_name=options.host,
        workers=options.workers,
    )
    return workers.serving(settings, listener)


def pace_of(options: argparse.Namespace, is_terminal: bool, documents: int) -> float:
    """Seconds to wait before each document; without --pace none, unless somebody may be watching."""
    if options.pace is not None:
        return float(options.pace)
    return default_pace(documents) if is_terminal and not options.once else 0.0


def default_pace(documents: int) -> float:
    """Seconds to wait before each of so many documents: enough to watch, but not for long."""
    return min(PACE, LONGEST_WAIT / documents)


def _is_unexpected(record: logging.LogRecord) -> bool:
    """True if a failure needs its traceback; an `UnreadableError` says everything in the run's outcome."""
    return not (record.exc_info and isinstance(record.exc_info[1], UnreadableError))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m glossary",
        description="Make a glossary of the text files in a folder, in a run that you can follow.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=_default_folder(),
        help="folder to read (default: DOCS, or this project)",
    )
    parser.add_argument("--host", default=HOST, help="where to listen; anything but %(default)s lets others start runs")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen on; 0 for any free one (%(default)s)")
    parser.add_argument(
        "--store",
        default=os.environ.get("STORE") or DEFAULT_FOLDER,
        help="folder to keep runs in, so that a restart shows them, or the URL of a server of Redis, as "
        f"redis://127.0.0.1:6379; {OFF} for none (default: STORE, or {DEFAULT_FOLDER})",
    )
    parser.add_argument("--workers", type=_count, default=1, help="processes that serve (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("genglossary-demo.md"), help="the file to write (%(default)s)")
    parser.add_argument("--once", action="store_true", help="stop after the run; implied if output is not a terminal")
    parser.add_argument(
        "--pace",
        type=_seconds,
        help="seconds to wait before each document, so that there is something to watch"
        f" (default: {PACE}, less for many documents, 0 if it stops after the run)",
    )
    return parser.parse_args(arguments)


def _default_folder() -> Path:
    project = Path(__file__).resolve().parents[2]
    is_checkout = (project / "pyproject.toml").is_file()
    return Path(os.environ.get("DOCS") or (project if is_checkout else "."))


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return port


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 64")
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600")
    return seconds


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except socket.gaierror as error:
        raise RefusedError(f"{host} is not an address of this machine; choose another with --host") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = f"--port {port + 1 if port < 65535 else 0}"
            raise RefusedError(
                f'Port {port} is in use; choose another with {other} (with make: DEMO_FLAGS="{other}"); '
                "--port 0 takes any free one"
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise RefusedError(f"{host} is not an address of this machine; choose another with --host") from error
        raise RefusedError(f"Port {port} cannot be used: {error.strerror}") from error


def _url(listener: socket.socket) -> str:
    """The URL at which this machine itself can reach the server."""
    host, port, *_ = listener.getsockname()
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address(HOST if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


def watch_run(client: httpx.Client, console: Console, source: str, out: Path) -> int:
    """Start a run, follow it, write its glossary, and show what is left of it.

    Args:
        client: its base URL is that of the API.
        console: where to show the run.
        source: what the glossary is made of.
        out: the file to write.

    Returns:
        The exit code.
    """
    answer = client.post("/runs", json={})
    if answer.status_code == httpx.codes.CONFLICT:
        # Another server or worker of the same store makes it.
        run_id, makes = answer.json()["run_id"], "already makes"
    else:
        run_id, makes = answer.raise_for_status().json()["id"], "makes"
    code = 0
    follower = Follower(client, console, run_id)
    try:
        said = f"Run {run_id} {makes} a glossary of {printable(source)}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        outcome = follower.follow()
    except KeyboardInterrupt:
        console.print(f"Cancelling run {run_id}", highlight=False)
        client.post(f"/runs/{run_id}/cancel").raise_for_status()
        outcome = follower.follow()
        code = INTERRUPTED
    console.print(f"Run {run_id} {_told(outcome)}", markup=False, highlight=False, soft_wrap=True)
    if outcome["status"] == "completed":
        glossary = Glossary.from_json(client.get(f"/runs/{run_id}/result").raise_for_status().json())
        _write(out, glossary.to_markdown())
        console.print(
            f"The glossary is in {printable(str(out.resolve()))}", markup=False, highlight=False, soft_wrap=True
        )
        _show_some(console, glossary.entries)
    console.print(_table(client.get("/stats").raise_for_status().json()["manager"]))
    return code or int(outcome["status"] != "completed")


def _told(outcome: dict[str, Any]) -> str:
    # The type of an expected error adds nothing to its message.
    error = re.sub(r"^(NoText|Unreadable)Error: ", "", outcome.get("error", ""))
    return printable(f"{outcome['status']}: {error}" if error else outcome["status"])


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"{out} cannot be written: {error.strerror}; choose another with --out") from error


def _show_some(console: Console, entries: list[Entry]) -> None:
    """Show the most frequent terms that have a definition, one a line."""
    entries = sorted(entries, key=lambda entry: (entry.is_defined, entry.count), reverse=True)
    for entry in entries[:SHOWN_ENTRIES]:
        line = Text.assemble("  ", (printable(entry.term), "bold"), "  ", printable(entry.definition))
        console.print(line, no_wrap=True, overflow="ellipsis")


def _table(stats: dict[str, int]) -> Table:
    # No frame: its corners come apart in some fonts.
    table = Table("What the manager holds", Column(justify="right"), box=SIMPLE_HEAD)
    for name, value in stats.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    return table


def _serve(stopped: threading.Event, client: httpx.Client) -> int:
    """Wait for Ctrl-C. The exit code tells whether it cancels a run."""
    try:
        stopped.wait()
        return 1
    except KeyboardInterrupt:
        active = client.get("/runs", params={"status": "running", "limit": 1}).raise_for_status().json()["runs"]
        return INTERRUPTED if active else 0


if __name__ == "__main__":
    sys.exit(main())
