"""The thread that looks at runs."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest
from application.support import DEADLINE, in_thread, join, wait_for
from genglossary.runs.manager import RunManager
from genglossary_runs.application.watch import Watcher

from .support import Worker

INTERVAL = 0.005


class Looks:
    """Counts the looks at each run, and says what `wanted` says."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.wanted: Callable[[int], bool] = lambda run_id: True
        self.watcher = Watcher(self, INTERVAL)

    def __call__(self, run_id: int) -> bool:
        self.counts[run_id] = self.counts.get(run_id, 0) + 1
        return self.wanted(run_id)

    def wait_for(self, run_id: int, count: int) -> None:
        wait_for(lambda: self.counts.get(run_id, 0) >= count, f"look {count} at run {run_id}")

    @property
    def thread(self) -> threading.Thread | None:
        return self.watcher._thread

    def wait_until_idle(self) -> None:
        wait_for(lambda: self.thread is None, "the end of the thread")


@pytest.fixture
def looks() -> Iterator[Looks]:
    looks = Looks()
    yield looks
    looks.wanted = lambda run_id: False
    looks.wait_until_idle()


def test_it_looks_again_and_again(looks: Looks) -> None:
    looks.watcher.watch(1)
    looks.watcher.watch(2)
    looks.wait_for(1, 3)
    looks.wait_for(2, 3)


def test_one_thread_that_ends_with_the_last_run(looks: Looks) -> None:
    assert looks.thread is None
    looks.watcher.watch(1)
    thread = looks.thread
    looks.watcher.watch(2)
    looks.watcher.watch(1)
    assert looks.thread is thread
    looks.watcher.forget(1)
    looks.wait_for(2, looks.counts.get(2, 0) + 2)
    looks.watcher.forget(2)
    looks.watcher.forget(3)
    join(thread)
    looks.watcher.watch(1)
    assert looks.thread is not thread
    looks.wait_for(1, looks.counts.get(1, 0) + 1)


def test_the_thread_ends_at_once(looks: Looks) -> None:
    looks.watcher = Watcher(looks, DEADLINE * 10)
    looks.watcher.watch(1)
    thread = looks.thread
    looks.watcher.forget(1)
    join(thread)


def test_it_looks_until_it_has_seen_enough(looks: Looks) -> None:
    looks.wanted = lambda run_id: looks.counts[run_id] < 3
    looks.watcher.watch(1)
    looks.wait_until_idle()
    assert looks.counts == {1: 3}


def test_watched_again_while_it_is_looked_at(looks: Looks) -> None:
    """The look that had begun before said that it was enough, and nobody looked for the new reader."""
    looking, go_on = threading.Event(), threading.Event()

    def enough(run_id: int) -> bool:
        looking.set()
        assert go_on.wait(DEADLINE)
        return looks.counts[run_id] == 2

    looks.wanted = enough
    looks.watcher.watch(1)
    assert looking.wait(DEADLINE)
    looks.watcher.watch(1)
    go_on.set()
    looks.wait_for(1, 3)


def test_a_look_that_fails_is_repeated_and_logged_once(looks: Looks, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = ["fails", "fails", "succeeds", "fails", "fails"]

    def wanted(run_id: int) -> bool:
        if not outcomes:
            return False
        if outcomes.pop(0) == "fails":
            raise OSError("disk I/O error")
        return True

    looks.wanted = wanted
    looks.watcher.watch(1)
    looks.wait_until_idle()
    assert looks.counts == {1: 6}
    assert caplog.text.count("Looking at run 1 failed") == 2


def test_a_run_whose_look_fails_does_not_stand_in_the_way(looks: Looks) -> None:
    def wanted(run_id: int) -> bool:
        if run_id == 1:
            raise OSError("disk I/O error")
        return True

    looks.wanted = wanted
    looks.watcher.watch(1)
    looks.watcher.watch(2)
    looks.wait_for(2, 3)


def test_no_thread_can_be_had(looks: Looks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The run that is to be watched goes on, and a later one may have better luck."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot_start)
        looks.watcher.watch(1)
    assert "Run 1 cannot be watched (can't start new thread)" in caplog.text
    assert looks.thread is None
    looks.watcher.watch(2)
    looks.wait_for(1, 1)
    looks.wait_for(2, 1)


def cannot_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_many_threads_watch_and_forget(looks: Looks) -> None:
    def work(run_id: int) -> None:
        for _ in range(300):
            looks.watcher.watch(run_id)
            looks.watcher.forget(run_id)
        looks.watcher.watch(run_id)

    threads = [in_thread(work, run_id) for run_id in range(4)]
    for thread in threads:
        join(thread)
    for run_id in range(4):
        looks.wait_for(run_id, looks.counts.get(run_id, 0) + 1)


def watch_in_child(manager: RunManager) -> int:
    """Fork while a run is looked at, so that no lock is held; what becomes of the child's own run."""
    looks, forked = Looks(), threading.Event()
    looks.wanted = lambda run_id: not forked.wait(DEADLINE)
    looks.watcher.watch(1)
    looks.wait_for(1, 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            looks.wanted = lambda run_id: True
            looks.watcher.watch(2)
            looks.wait_for(2, 2)
            status = 0
        finally:
            os._exit(status)
    forked.set()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_forked_child_watches_too(owner: Worker) -> None:
    """The thread of its parent is there in name only."""
    assert owner.call(watch_in_child) == 0
