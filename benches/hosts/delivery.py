"""Events from a host that publishes to a host that reads, each a process with its own connections."""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hosts.server import RedisServer


@dataclass(frozen=True)
class Load:
    """What is published, and to how many clients of each run."""

    runs: int
    rate: int
    events: int
    clients: int = 1


@dataclass(frozen=True)
class Delivery:
    """What was measured: milliseconds, and µs of CPU of a delivered event."""

    p50: float
    p99: float
    loop: float
    engine: float
    server: float


class Host:
    """A program of this folder, in a process of its own."""

    def __init__(self, program: str, task: dict[str, Any]) -> None:
        command = [sys.executable, str(Path(__file__).with_name(program)), json.dumps(task)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    def hear(self) -> str:
        """The next line that it says."""
        line = self._pipe(self._process.stdout).readline()
        if not line:
            sys.exit(f"{self._process.args!r} ended")
        return line

    def tell(self) -> None:
        """Have it go on."""
        pipe = self._pipe(self._process.stdin)
        pipe.write("\n")
        pipe.flush()

    def wait(self) -> None:
        """Wait until it has ended."""
        if self._process.wait(60) != 0:
            sys.exit(f"{self._process.args!r} failed")


def deliver(kind: str, load: Load, server: RedisServer, url: str | None = None) -> Delivery:
    """Publish and read with a store ("store") at `url`, by default the server's, or with redis-py ("redis-py")."""
    server.empty()
    expected = load.events * load.clients
    task = {"kind": kind, "url": url or server.url, "runs": load.runs, "clients": load.clients, "batch": 1}
    publisher = Host("publisher.py", {**task, "rate": load.rate, "events": load.events})
    publisher.hear()
    reader = Host("reader.py", {**task, "expected": expected})
    reader.hear()
    before = server.cpu()
    publisher.tell()
    measured = json.loads(reader.hear())
    took = server.cpu() - before
    publisher.hear()
    publisher.tell()
    publisher.wait()
    reader.wait()
    assert measured["received"] == expected
    delays = measured["delays"]
    each = 1e6 / expected
    return Delivery(
        p50=statistics.median(delays),
        p99=delays[min(len(delays) - 1, int(0.99 * len(delays)))],
        loop=measured["loop"] * each,
        engine=measured["engine"] * each,
        server=took * each,
    )


def store(kind: str, events: int, url: str, batch: int = 1) -> float:
    """Seconds until every one of many events of a run is stored, by redis-py in batches, from the first publish."""
    task = {"kind": kind, "url": url, "runs": 1, "rate": 0, "events": events, "batch": batch}
    publisher = Host("publisher.py", task)
    publisher.hear()
    begin = time.perf_counter()
    publisher.tell()
    publisher.hear()
    seconds = time.perf_counter() - begin
    publisher.tell()
    publisher.wait()
    return seconds


def median(deliveries: list[Delivery]) -> Delivery:
    """The median of each figure."""
    names = ("p50", "p99", "loop", "engine", "server")
    return Delivery(**{name: statistics.median(getattr(one, name) for one in deliveries) for name in names})
