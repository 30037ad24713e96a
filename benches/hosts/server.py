"""A Redis server of its own, on a port of its own, that writes nothing to the disk."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

COMMAND = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """Runs until it is closed."""

    def __init__(self) -> None:
        if COMMAND is None:
            sys.exit("This needs a Redis server: install redis-server or valkey-server.")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = tempfile.TemporaryDirectory()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder.name]
        self._process = subprocess.Popen([COMMAND, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.info()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _ask(self, command: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(f"{command}\r\nQUIT\r\n".encode())
            return connection.makefile(newline="\r\n").read()

    def info(self) -> dict[str, str]:
        """What INFO tells: names and values."""
        lines = self._ask("INFO").split("\r\n")
        return {name: value for name, separator, value in (line.partition(":") for line in lines) if separator}

    def cpu(self) -> float:
        """Seconds of CPU it has taken."""
        info = self.info()
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def memory(self) -> int:
        """Bytes that its data take."""
        return int(self.info()["used_memory"])

    def empty(self) -> None:
        """Remove everything."""
        self._ask("FLUSHALL")

    def stop(self) -> None:
        """Have it answer nothing until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, after those that use it have left it."""
        deadline = time.monotonic() + 10
        while int(self.info()["connected_clients"]) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        self._process.kill()
        self._process.wait(30)
        self._folder.cleanup()
