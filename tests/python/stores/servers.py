"""A Redis server of the tests' own."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

COMMAND = shutil.which("redis-server") or shutil.which("valkey-server")


def need_redis() -> str:
    """The command that starts a server. Without one the test is skipped, but never where checks must be complete."""
    if COMMAND is None:
        assert "CI" not in os.environ, "these checks need a Redis server: run scripts/install-redis.sh"
        pytest.skip("no redis-server is installed; see scripts/install-redis.sh")
    return COMMAND


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A server on a port of its own, which it keeps when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.port = folder, options, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = [
            need_redis(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--save",
            "",
        ]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while self.ask("PING") != "+PONG":
            assert time.monotonic() < deadline, "the server does not start"
            assert self.process.poll() is None, "the server ended"
            time.sleep(0.01)

    def ask(self, *words: str) -> str:
        """The first line of its answer; nothing if it has none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
                connection.sendall("".join(parts).encode())
                return connection.makefile(newline="\r\n").readline().rstrip()
        except OSError:
            return ""

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
