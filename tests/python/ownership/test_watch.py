"""The thread that checks runs."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from application.support import DEADLINE, in_thread, join, wait_for
from genglossary.runs.manager import RunManager
from genglossary_runs.application.watch import Watcher

from .support import Worker

INTERVAL = 0.005


class Checks:
    """Counts the checks of each run, and returns what `wanted` returns."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.wanted: Callable[[int], bool] = lambda run_id: True
        self.watcher = Watcher(self, INTERVAL)

    def __call__(self, run_id: int) -> bool:
        self.counts[run_id] = self.counts.get(run_id, 0) + 1
        return self.wanted(run_id)

    def wait_for(self, run_id: int, count: int) -> None:
        wait_for(lambda: self.counts.get(run_id, 0) >= count, f"check {count} of run {run_id}")

    @property
    def thread(self) -> threading.Thread | None:
        return self.watcher._thread

    def wait_until_idle(self) -> None:
        wait_for(lambda: self.thread is None, "the end of the thread")


@pytest.fixture
def checks() -> Iterator[Checks]:
    checks = Checks()
    yield checks
    checks.wanted = lambda run_id: False
    checks.wait_until_idle()


def test_it_checks_again_and_again(checks: Checks) -> None:
    checks.watcher.watch(1)
    checks.watcher.watch(2)
    checks.wait_for(1, 3)
    checks.wait_for(2, 3)


def test_one_thread_that_ends_with_the_last_run(checks: Checks) -> None:
    assert checks.thread is None
    checks.watcher.watch(1)
    thread = checks.thread
    checks.watcher.watch(2)
    checks.watcher.watch(1)
    assert checks.thread is thread
    checks.watcher.forget(1)
    checks.wait_for(2, checks.counts.get(2, 0) + 2)
    checks.watcher.forget(2)
    checks.watcher.forget(3)
    join(thread)
    checks.watcher.watch(1)
    assert checks.thread is not thread
    checks.wait_for(1, checks.counts.get(1, 0) + 1)


def test_the_thread_ends_at_once(checks: Checks) -> None:
    checks.watcher = Watcher(checks, DEADLINE * 10)
    checks.watcher.watch(1)
    thread = checks.thread
    checks.watcher.forget(1)
    join(thread)


def test_it_checks_until_it_has_seen_enough(checks: Checks) -> None:
    checks.wanted = lambda run_id: checks.counts[run_id] < 3
    checks.watcher.watch(1)
    checks.wait_until_idle()
    assert checks.counts == {1: 3}


def test_watched_again_while_it_is_checked(checks: Checks) -> None:
    """A check that had begun before said that it was enough, and nobody checked for the new reader."""
    checking, go_on = threading.Event(), threading.Event()

    def enough(run_id: int) -> bool:
        checking.set()
        assert go_on.wait(DEADLINE)
        return checks.counts[run_id] == 2

    checks.wanted = enough
    checks.watcher.watch(1)
    assert checking.wait(DEADLINE)
    checks.watcher.watch(1)
    go_on.set()
    checks.wait_for(1, 3)


def test_a_check_that_fails_is_repeated_and_logged_once(checks: Checks, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = ["fails", "fails", "succeeds", "fails", "fails"]

    def wanted(run_id: int) -> bool:
        if not outcomes:
            return False
        if outcomes.pop(0) == "fails":
            raise OSError("disk I/O error")
        return True

    checks.wanted = wanted
    checks.watcher.watch(1)
    checks.wait_until_idle()
    assert checks.counts == {1: 6}
    assert caplog.text.count("Could not check run 1") == 2


def test_a_run_whose_check_fails_does_not_stand_in_the_way(checks: Checks) -> None:
    def wanted(run_id: int) -> bool:
        if run_id == 1:
            raise OSError("disk I/O error")
        return True

    checks.wanted = wanted
    checks.watcher.watch(1)
    checks.watcher.watch(2)
    checks.wait_for(2, 3)


def test_no_thread_can_be_had(
    checks: Checks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run continues unwatched, and a later one may get a thread."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot_start)
        checks.watcher.watch(1)
    assert "Run 1 cannot be watched (can't start new thread)" in caplog.text
    assert checks.thread is None
    checks.watcher.watch(2)
    checks.wait_for(1, 1)
    checks.wait_for(2, 1)


def cannot_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_many_threads_watch_and_forget(checks: Checks) -> None:
    def work(run_id: int) -> None:
        for _ in range(300):
            checks.watcher.watch(run_id)
            checks.watcher.forget(run_id)
        checks.watcher.watch(run_id)

    threads = [in_thread(work, run_id) for run_id in range(4)]
    for thread in threads:
        join(thread)
    for run_id in range(4):
        checks.wait_for(run_id, checks.counts.get(run_id, 0) + 1)


def watch_in_child(manager: RunManager) -> int:
    """Fork while a run is checked, so that no lock is held; what becomes of the child's own run."""
    checks, forked = Checks(), threading.Event()
    checks.wanted = lambda run_id: not forked.wait(DEADLINE)
    checks.watcher.watch(1)
    checks.wait_for(1, 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            checks.wanted = lambda run_id: True
            checks.watcher.watch(2)
            checks.wait_for(2, 2)
            status = 0
        finally:
            os._exit(status)
    forked.set()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_forked_child_watches_too(owner: Worker) -> None:
    """The thread of its parent is there in name only."""
    assert owner.call(watch_in_child) == 0
