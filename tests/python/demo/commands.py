"""The demo's command in processes of its own."""

import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PATIENCE = 60.0
PROJECT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "glossary", "--port", "0"]
ID = "[0-9a-f-]{36}"


def environment(**variables: str) -> dict[str, str]:
    # A proxy of the machine must not matter, nor its terminal's width.
    plain = {key: value for key, value in os.environ.items() if key not in ("DOCS", "STORE", "COLUMNS", "FORCE_COLOR")}
    return (
        plain
        | {
            "PYTHONPATH": str(PROJECT / "examples"),
            "http_proxy": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
        }
        | variables
    )


def run(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Running:
    """The command while it runs, with what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self.process = process
        self.printed = ""
        self._raw = b""
        self._output = output

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until the pattern has been printed."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.printed)):
            assert self._read(deadline), f"{pattern!r} is not in {self.printed!r}"
        return match

    def wait(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            assert selector.select(deadline - time.monotonic()), f"nothing more comes after {self.printed!r}"
        try:
            chunk = os.read(self._output.fileno(), 65536)
        except OSError:  # how a pseudo terminal says that the other end is closed
            return False
        self._raw += chunk
        text = self._raw.decode("utf-8", "replace").replace("\r\n", "\n")
        self.printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)  # colours and movements of the cursor
        return bool(chunk)


@contextmanager
def running(
    folder: Path, *arguments: object, terminal: bool = False, command: Sequence[str] = COMMAND
) -> Iterator[Running]:
    read_end, write_end = os.openpty() if terminal else os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as output:
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=folder,
            env=environment(TERM="xterm"),
            stdout=write_end,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(write_end)
        try:
            yield Running(process, output)
        finally:
            process.kill()
            process.wait(PATIENCE)
