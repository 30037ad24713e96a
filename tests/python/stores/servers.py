"""A Redis server of the tests' own."""

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from ports import held_port
from programs import need


def need_redis() -> str:
    """The command that starts a server."""
    return need("redis-server", "redis-server", "valkey-server")


def ask(port: int, *words: object) -> Any:
    """The answer of the server at a port: str, int, list or None. Raises OSError, or ValueError for an error."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        request = [f"*{len(words)}\r\n".encode()]
        for word in words:
            encoded = str(word).encode()
            request.append(b"$%d\r\n%s\r\n" % (len(encoded), encoded))
        connection.sendall(b"".join(request))
        with connection.makefile("rb") as answer:
            return parse(answer)


def parse(answer: BinaryIO) -> Any:
    """The next answer of a connection."""
    line = answer.readline().decode().rstrip()
    kind, rest = line[:1], line[1:]
    if kind == "":
        raise ConnectionError("the server closed the connection")
    if kind == "-":
        raise ValueError(rest)
    if kind == "+":
        return rest
    if kind == ":":
        return int(rest)
    if int(rest) < 0:
        return None
    if kind == "*":
        return [parse(answer) for _ in range(int(rest))]
    return answer.read(int(rest) + 2)[:-2].decode()


class RedisServer:
    """A server on a port of its own, which it keeps when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self._command = folder, options, need_redis()
        self._held = ExitStack()
        self.port = self._held.enter_context(held_port())
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = [
            self._command,
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
        while not self.answers():
            assert time.monotonic() < deadline, "the server does not start"
            assert self.process.poll() is None, "the server ended"
            time.sleep(0.01)

    def ask(self, *words: object) -> Any:
        return ask(self.port, *words)

    def answers(self) -> bool:
        try:
            return bool(self.ask("PING") == "PONG")
        except (OSError, ValueError):
            return False

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        self._held.close()
