"""What the tests of the core share."""

import gc
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from genglossary_runs import Subscription

DEADLINE = 60.0
"""Seconds after which something that should have happened will not."""


def wait_until(condition: Callable[[], object], timeout: float = DEADLINE) -> None:
    """Return as soon as `condition()` is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout:.0f} s in vain"
        time.sleep(0.001)


def wait_until_collected(condition: Callable[[], object]) -> None:
    """Collect garbage until `condition()` is true."""
    wait_until(lambda: gc.collect() >= 0 and condition(), timeout=20.0)


class Background(threading.Thread):
    """A daemon thread that runs a function, and keeps what it returned or raised."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._function, self._args = function, args
        self._outcome: Future[Any] = Future()
        self.start()

    def run(self) -> None:
        try:
            self._outcome.set_result(self._function(*self._args))
        except BaseException as error:
            self._outcome.set_exception(error)
        finally:
            del self._function, self._args

    def result(self) -> Any:
        """Wait for what the function returns, or raise what it raised."""
        result = self._outcome.result(DEADLINE)
        self.join(DEADLINE)
        return result

    def wait_until_parked(self) -> None:
        """Wait until the thread sleeps without end, as far as the system can tell."""
        status = Path(f"/proc/self/task/{self.native_id}/status")
        if not status.exists():
            return
        last: list[str] = []

        def sleeps_on() -> bool:
            nonlocal last
            time.sleep(0.02)
            before, last = last, [line for line in status.read_text().splitlines() if "State" in line or "ctxt" in line]
            # A thread that waits for the GIL wakes up every 5 ms, which is counted as a switch.
            return before == last and "sleeping" in last[0]

        wait_until(sleeps_on)


def drain(reader: Subscription) -> list[dict[str, Any]]:
    """All that can be read without waiting."""
    events = []
    while True:
        try:
            events.append(reader.get_nowait())
        except queue.Empty:
            return events


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """The `n` of each event."""
    return [event["n"] for event in events]


def run_python(script: str, timeout: float = DEADLINE) -> str:
    """Run a script in an interpreter of its own, which must end well and without a word of complaint; its output."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"exit code {done.returncode}\n{done.stderr}"
    return done.stdout
