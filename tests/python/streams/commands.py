"""Server processes that a command starts, as in production."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from core.support import DEADLINE, wait_until

from .servers import listen


@dataclass(frozen=True)
class Command:
    """A process that serves `streams.served` on a port, itself or as a proxy."""

    process: "subprocess.Popen[bytes]"
    port: int

    def ask(self, method: str, path: str) -> httpx.Response:
        """Send a request on a connection of its own."""
        url = f"http://127.0.0.1:{self.port}{path}"
        # It speaks no TLS, and reading the system's certificates takes long.
        return httpx.request(method, url, trust_env=False, verify=False, timeout=DEADLINE).raise_for_status()

    def state(self) -> dict[str, Any]:
        """What `served.state` tells."""
        state: dict[str, Any] = self.ask("GET", "/state").json()
        return state

    def answers(self) -> bool:
        """Whether it serves."""
        with suppress(httpx.TransportError, httpx.HTTPStatusError):
            return bool(self.state())
        return False


@contextmanager
def start(command: list[str], port: int, pass_fds: tuple[int, ...] = ()) -> Iterator[Command]:
    """Run a command until the block is left, which begins when it serves on `port`."""
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, pass_fds=pass_fds, env=environment, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        for inherited in pass_fds:
            # Else connections would be accepted after its end.
            os.close(inherited)
        started = Command(process, port)
        try:
            wait_until(lambda: started.answers() or process.poll() is not None)
            if process.poll() is not None:
                raise AssertionError(process.communicate()[1].decode())
            yield started
        finally:
            # With its workers, which are processes of their own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def start_server(*command: str) -> Iterator[Command]:
    """Run a Python module as a server; `{fd}` in its options is the descriptor of a listening socket."""
    listener = listen(None)
    port = listener.getsockname()[1]
    fd = listener.detach()
    options = [option.format(fd=fd) for option in command]
    with start([sys.executable, "-m", *options, "streams.served:app"], port, (fd,)) as server:
        yield server
