"""What the tests of stores share."""

import contextlib
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from genglossary_runs import RunManager, Subscription

from .kinds import LEASE, make

DEADLINE = 60.0
"""Seconds after which something that should have happened will not."""

WORKER = Path(__file__).with_name("worker.py")

INTERRUPTED = "Interrupted: the process that ran it ended"


class Refused(Exception):
    """What a worker raised."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply['error']}: {reply['message']}")
        self.kind = reply["error"]
        self.message = reply["message"]
        self.run_id = reply["run_id"]


class Worker:
    """Another process with a manager on the store."""

    def __init__(self, kind: str, where: str, store: dict[str, Any], options: dict[str, Any]) -> None:
        settings = json.dumps(store), json.dumps(options)
        command = [sys.executable, "-X", "faulthandler", str(WORKER), kind, where, *settings]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout
        self._lines: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._out:
            self._lines.put(line)
        self._lines.put("")

    def send(self, *command: Any) -> None:
        """Tell it what to do."""
        self._in.write(json.dumps(command) + "\n")
        self._in.flush()

    def receive(self) -> Any:
        """The answer to what it was told first."""
        line = self._lines.get(timeout=DEADLINE)
        assert line, f"the worker ended with code {self.process.wait(DEADLINE)}"
        reply = json.loads(line)
        if "error" in reply:
            raise Refused(reply)
        return reply["answer"]

    def ask(self, *command: Any) -> Any:
        """Tell it what to do, and wait for its answer."""
        self.send(*command)
        return self.receive()

    def lines(self) -> Iterator[str]:
        """What it wrote, to its end."""
        while line := self._lines.get(timeout=DEADLINE):
            yield line

    def kill(self) -> None:
        """End it as a power switch would."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def exit(self) -> int:
        """Let it end as a program does."""
        self._in.close()
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        """Kill it if it runs, and leave nothing behind."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        self._listener.join(DEADLINE)
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        self._out.close()


class Place:
    """Where a store is, with the processes that use it."""

    def __init__(self, kind: str, where: str, **store: Any) -> None:
        self.kind, self.where, self.store = kind, where, store
        self.workers: list[Worker] = []

    @property
    def folder(self) -> Path:
        """The folder of a store that is a file."""
        return Path(self.where)

    @property
    def lease(self) -> float:
        """Seconds after which a dead owner is suspected."""
        return float(self.store.get("lease", LEASE[self.kind]))

    def worker(self, **options: Any) -> Worker:
        worker = Worker(self.kind, self.where, self.store, options)
        self.workers.append(worker)
        return worker

    def manager(self, **options: Any) -> RunManager:
        """A manager of this process."""
        return RunManager(store=make(self.kind, self.where, **self.store), **options)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def wait_until(condition: Callable[[], object], timeout: float = DEADLINE) -> None:
    """Return as soon as `condition()` is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout:.0f} s in vain"
        time.sleep(0.002)


class Publisher:
    """Publishes in this thread, and counts what that costs. The machine may be busy, so no clock on the wall is read.

    Attributes:
        times: the thread's own seconds for each event.
        waits: how often it has waited for something.
    """

    def __init__(self, manager: RunManager, run_id: int) -> None:
        self._manager, self._run_id = manager, run_id
        self.times: list[float] = []
        self.waits = 0

    def publish(self, event: dict[str, Any]) -> None:
        waits, began = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw, time.thread_time()
        self._manager.publish(self._run_id, event)
        self.times.append(time.thread_time() - began)
        self.waits += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - waits

    def check(self) -> None:
        """Publishing has not waited for the store, and took less than a millisecond."""
        # A thread waits for the GIL, or for a lock of the core, now and then.
        assert self.waits <= len(self.times) // 20, self.waits
        # One in a hundred may have met a garbage collection, or a machine that lends its processor to others.
        assert sorted(self.times)[-1 - len(self.times) // 100] < 0.001, sorted(self.times)[-20:]


def read_to_end(subscription: Subscription) -> list[tuple[str, dict[str, Any]]]:
    """Everything to the end, each event with its id."""
    events = []
    end = time.monotonic() + DEADLINE
    while True:
        try:
            event = subscription.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            assert subscription.ended, "the reader waits for ever"
            return events
        events.append((subscription.last_event_id, event))


def seq(event_id: str) -> int:
    return int(event_id.split("-")[1])


def check_complete(events: list[tuple[str, dict[str, Any]]], first: int = 1) -> tuple[int, int]:
    """Each seq from `first` on was told of once, the terminal event last; how many came, and how many were missed."""
    expected, received, missed = first, 0, 0
    for number, (event_id, event) in enumerate(events):
        if gap := event.get("gap"):
            assert gap["from"] == expected, event
            expected, missed = gap["to"] + 1, missed + gap["missed"]
        else:
            assert seq(event_id) == expected, (event_id, expected)
            expected, received = expected + 1, received + 1
        assert bool(event.get("complete")) == (number == len(events) - 1), events[-3:]
    return received, missed
