"""Nothing is left of subscribers that were abandoned, in whatever way.

The same check runs against the design that this project replaced, to show that it would be caught.
"""

import ctypes
import gc
import json
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any, Protocol

import genglossary.runs.manager as module
import genglossary_runs
import pytest
from genglossary.db.connection import get_connection
from genglossary.runs.manager import RunManager

from .support import DEADLINE, Pipeline, add_run, in_thread, join, log, wait_for

RUNS = 1000
MESSAGES = 20
BATCH = 100
"""Runs that are under way at the same time; each has a thread that is killed."""


class Killed(BaseException):
    """What ends a thread in the middle of its `get`."""


class Subject(Protocol):
    """A run manager, as the check needs it."""

    def open(self, run_id: int) -> None:
        """Begin the run."""

    def subscribe(self, run_id: int) -> Any:
        """Register a reader."""

    def publish(self, run_id: int, message: dict[str, Any]) -> None:
        """Send a message to the run's readers."""

    def finish(self, run_id: int) -> None:
        """End the run."""

    def entries(self) -> int:
        """How many entries it holds for runs and their readers, those of retention aside."""

    def bytes_held(self) -> int:
        """How many bytes of messages it holds."""


def check_for_leaks(subject: Subject, deadline: float = DEADLINE) -> list[Any]:
    """1,000 runs with 5 subscribers each that are abandoned in every way.

    Returns:
        The subscribers that are still referenced.

    Raises:
        AssertionError: something was left behind.
    """
    kept: list[Any] = []
    for first in range(0, RUNS, BATCH):
        run_ids = range(first, first + BATCH)
        threads = []
        for run_id in run_ids:
            subject.open(run_id)
            never_read = subject.subscribe(run_id)
            kept.append(never_read)
            subject.subscribe(run_id)  # dropped at once
            read_once = subject.subscribe(run_id)
            kept.append(read_once)
            kept.append(stream(subject.subscribe(run_id)))  # never started, so that no `finally` of it would run
            threads.append(in_thread(read_until_killed, subject.subscribe(run_id)))
            for number in range(MESSAGES):
                subject.publish(run_id, log(run_id, f"line {number}"))
            read_once.get_nowait()
        kill(threads)
        for run_id in run_ids:
            subject.finish(run_id)
            subject.publish(run_id, log(run_id, "too late"))
    gc.collect()
    left = subject.entries()
    assert left == 0, f"{left} entries were left behind after {RUNS} runs"
    wait_for(lambda: subject.bytes_held() == 0, "the last byte to go", deadline)
    return kept


async def stream(subscription: Any) -> AsyncIterator[Any]:
    """As an SSE route reads."""
    while True:
        yield subscription.get(timeout=1)


def read_until_killed(subscription: Any) -> None:
    """Read what comes, for ever."""
    try:
        while True:
            try:
                subscription.get(timeout=0.05)
            except queue.Empty:
                pass
    except Killed:
        pass


def kill(threads: list[threading.Thread]) -> None:
    """Raise `Killed` in each of the threads, wherever it is."""
    for thread in threads:
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Killed))
    for thread in threads:
        join(thread)


class Generic:
    """The generic manager, with a retention short enough to be waited for."""

    def __init__(self) -> None:
        self.manager = genglossary_runs.RunManager(retention=0.2)

    def open(self, run_id: int) -> None:
        self.manager.open_run(run_id)

    def subscribe(self, run_id: int) -> Any:
        return self.manager.subscribe(run_id)

    def publish(self, run_id: int, message: dict[str, Any]) -> None:
        self.manager.publish(run_id, message)

    def finish(self, run_id: int) -> None:
        self.manager.finish_run(run_id, {"run_id": run_id, "complete": True})

    def entries(self) -> int:
        stats = self.manager.stats()
        return stats["active_runs"] + stats["subscribed_runs"] + stats["subscribers"]

    def bytes_held(self) -> int:
        stats = self.manager.stats()
        return stats["bytes_held"] + stats["events_held"] + stats["retained_runs"]


class Original:
    """The design that was replaced: a list of queues a run, which only `unregister` ever shortens."""

    def __init__(self, clears_on_finish: bool = False) -> None:
        self._clears_on_finish = clears_on_finish
        self._lock = threading.Lock()
        self._subscribers: dict[int, list[queue.Queue[dict[str, Any]]]] = {}
        self._completed_runs: dict[int, dict[str, Any]] = {}

    def open(self, run_id: int) -> None:
        pass

    def subscribe(self, run_id: int) -> Any:
        subscriber: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1000)
        with self._lock:
            self._subscribers.setdefault(run_id, []).append(subscriber)
        return subscriber

    def publish(self, run_id: int, message: dict[str, Any]) -> None:
        with self._lock:
            subscribers = list(self._subscribers.get(run_id, []))
        for subscriber in subscribers:
            try:
                subscriber.put_nowait(message)
            except queue.Full:
                pass

    def finish(self, run_id: int) -> None:
        self.publish(run_id, {"run_id": run_id, "complete": True})
        with self._lock:
            self._completed_runs[run_id] = {"run_id": run_id, "complete": True}
            if self._clears_on_finish:
                self._subscribers.pop(run_id, None)

    def entries(self) -> int:
        with self._lock:
            return sum(len(subscribers) for subscribers in self._subscribers.values())

    def bytes_held(self) -> int:
        with self._lock:
            waiting = [m for readers in self._subscribers.values() for reader in readers for m in reader.queue]
            return sum(len(json.dumps(message)) for message in [*waiting, *self._completed_runs.values()])


def test_abandoned_subscribers_leave_nothing() -> None:
    kept = check_for_leaks(Generic())
    assert len(kept) == 3 * RUNS


def test_the_original_is_caught() -> None:
    with pytest.raises(AssertionError, match=rf"^{5 * RUNS} entries were left behind after {RUNS} runs"):
        check_for_leaks(Original())


def test_the_original_with_queues_cleared_on_finish_is_caught() -> None:
    """A manager that keeps finished runs for ever fails."""
    with pytest.raises(AssertionError, match=r"waited .* s for the last byte to go"):
        check_for_leaks(Original(clears_on_finish=True), deadline=1.0)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="measures with glibc and /proc")
def test_readers_that_are_kept_do_not_hold_the_messages_of_runs_that_retention_let_go() -> None:
    """Measured from outside, in a process of its own: 100 runs of 1 MB, whose readers are all kept."""
    code = """
import ctypes, json, time
import genglossary_runs

def resident():
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

def rounds(manager, kept, count):
    for run_id in range(count):
        manager.open_run(run_id)
        kept.extend(manager.subscribe(run_id) for _ in range(5))
        for _ in range(100):
            manager.publish(run_id, {"run_id": run_id, "message": "x" * 10_000})
        manager.finish_run(run_id, {"run_id": run_id, "complete": True})

manager, kept = genglossary_runs.RunManager(retention=0.5), []
rounds(manager, [], 3)
before = resident()
rounds(manager, kept, 100)
end = time.monotonic() + 30
while manager.stats()["bytes_held"] and time.monotonic() < end:
    time.sleep(0.05)
print(json.dumps({"held": manager.stats()["bytes_held"], "grown": resident() - before, "kept": len(kept)}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    measured = json.loads(done.stdout)
    assert measured["kept"] == 500
    assert measured["held"] == 0
    assert measured["grown"] < 20_000_000


# The application's manager


class Application:
    """The application's manager. Its retention is bounded by count, and what it keeps is the terminal events."""

    def __init__(self, manager: RunManager) -> None:
        self.manager = manager

    def open(self, run_id: int) -> None:
        self.manager._cancel_events[run_id] = threading.Event()

    def subscribe(self, run_id: int) -> Any:
        return self.manager.register_subscriber(run_id)

    def publish(self, run_id: int, message: dict[str, Any]) -> None:
        self.manager._broadcast_log(run_id, message)

    def finish(self, run_id: int) -> None:
        self.manager._cleanup_run_resources(run_id, db_status="completed")

    def entries(self) -> int:
        stats = self.manager.stats()
        return (
            stats["active_runs"]
            + stats["subscribed_runs"]
            + stats["subscribers"]
            + len(self.manager._cancel_events)
            + len(self.manager._executors)
            + sum(run_id in self.manager._subscribers for run_id in range(RUNS))
        )

    def bytes_held(self) -> int:
        """Past what retention is allowed to hold."""
        stats = self.manager.stats()
        allowed = 256 * 10_000
        return max(0, stats["bytes_held"] - allowed) + max(0, stats["retained_runs"] - 256)


def test_abandoned_subscribers_of_the_applications_manager_leave_nothing(manager: RunManager) -> None:
    kept = check_for_leaks(Application(manager))
    assert len(kept) == 3 * RUNS


def test_whole_runs_leave_nothing(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 runs through the database, more than retention keeps, their subscribers never read."""

    def without_fsync(path: Any) -> sqlite3.Connection:
        conn = get_connection(path)
        conn.execute("PRAGMA synchronous = OFF")
        return conn

    monkeypatch.setattr(module, "get_connection", without_fsync)
    pipeline.says("one", "two", "three")
    kept = []
    for _ in range(300):
        run_id = add_run(db_path)
        kept.extend(manager.register_subscriber(run_id) for _ in range(5))
        manager._execute_run(run_id, "full")
    assert Application(manager).entries() == 0
    stats = manager.stats()
    assert stats["retained_runs"] == 256
    assert stats["events_held"] == 4 * 256
    assert len(kept) == 1500


def test_start_run_leaves_no_thread_and_no_entry(
    manager: RunManager, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    for _ in range(20):
        manager.start_run(scope="full")
        join(manager._thread)
    wait_for(lambda: threading.active_count() <= before, "the threads to end")
    assert Application(manager).entries() == 0
