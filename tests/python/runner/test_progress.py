"""Of progress that comes faster than readers can use it, they get the newest, and in time."""

import itertools
import threading
import time
from typing import Any

import pytest
from core.support import run_python
from genglossary_runs import RunManager
from genglossary_runs.runner import Run, RunContext, Runner

from .support import DEADLINE, ended, events_of, until

INTERVAL = 0.05
LONG = 3600.0
"""An interval that does not pass during a test."""


def amounts(events: list[dict[str, Any]]) -> list[Any]:
    """What is told, in order: amounts and messages."""
    return [event.get("message", event.get("progress_current", event.get("status"))) for event in events]


def run_with(manager: RunManager, interval: float, work: Any) -> Run:
    return ended(Runner(manager, progress_interval=interval).start(work))


def test_progress_does_not_push_the_log_out() -> None:
    """20,000 calls left a late reader 0 of 2 log lines."""
    manager = RunManager(history=100)

    def work(context: RunContext) -> None:
        context.log("begun")
        for number in range(20_000):
            context.progress(number, 20_000, step=f"step {number % 3}")

    told = amounts(events_of(manager, run_with(manager, LONG, work)))
    assert told == ["begun", 0, 19_999, "completed"]


def test_there_is_one_event_in_each_interval(manager: RunManager) -> None:
    def work(context: RunContext) -> float:
        begun = time.monotonic()
        for number in itertools.count():
            context.progress(number, None)
            if time.monotonic() - begun > 10 * INTERVAL:
                return time.monotonic() - begun
        raise AssertionError

    run = run_with(manager, INTERVAL, work)
    updates = [event for event in events_of(manager, run) if "progress_current" in event]
    assert 2 <= len(updates) <= run.result / INTERVAL + 2


def test_the_newest_is_sent_though_the_work_goes_silent(manager: RunManager) -> None:
    sent = threading.Event()

    def work(context: RunContext) -> None:
        for number in range(100):
            context.progress(number, 100)
        assert sent.wait(DEADLINE)

    run = Runner(manager, progress_interval=INTERVAL).start(work)
    reader = manager.subscribe(run.run_id, "0")
    assert reader.get(timeout=DEADLINE)["progress_current"] == 0
    while reader.get(timeout=DEADLINE)["progress_current"] != 99:
        pass
    sent.set()
    ended(run)


def test_a_log_line_comes_after_the_progress_before_it(manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        for number in range(4):
            context.progress(number, 10)
        context.log("half")
        context.progress(5, 10)
        context.progress(6, 10, message="line", level="info")
        context.progress(7, 10)

    assert amounts(events_of(manager, run_with(manager, LONG, work))) == [0, 3, "half", "line", 7, "completed"]


def test_the_end_comes_after_the_last_progress(manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        context.progress(1, 3)
        context.progress(2, 3)
        context.progress(3, 3)
        raise ValueError

    assert amounts(events_of(manager, run_with(manager, LONG, work))) == [1, 3, "failed"]


def test_progress_that_is_a_line_is_never_left_out(manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        for number in range(5):
            context.progress(number, 5, message=f"line {number}")

    assert amounts(events_of(manager, run_with(manager, LONG, work)))[:-1] == [f"line {n}" for n in range(5)]


def test_interval_0_sends_each(manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        for number in range(50):
            context.progress(number, 50)

    assert amounts(events_of(manager, run_with(manager, 0, work))) == [*range(50), "completed"]


def test_threads_that_tell_progress_and_lines_at_once() -> None:
    """Each line is sent, in the order of its thread, and the newest progress is the last."""
    manager = RunManager(history=10_000)

    def work(context: RunContext) -> None:
        def lines(name: int) -> None:
            for number in range(200):
                context.progress(number, 200, thread=name)
                context.log(f"{name} {number}")

        threads = [threading.Thread(target=lines, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        context.progress(200, 200)

    events = events_of(manager, run_with(manager, 0.001, work))
    for name in range(4):
        lines = [event["message"] for event in events if event.get("message", "").startswith(f"{name} ")]
        assert lines == [f"{name} {number}" for number in range(200)]
    assert events[-2]["progress_current"] == 200


@pytest.mark.parametrize("interval", [-1, 3601, float("nan"), float("inf")])
def test_an_impossible_interval_is_refused(manager: RunManager, interval: float) -> None:
    with pytest.raises(ValueError, match="progress_interval"):
        Runner(manager, progress_interval=interval)


def flushers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "genglossary-runs-progress"]


def test_there_is_no_thread_where_nothing_is_held_back(manager: RunManager) -> None:
    until(lambda: not flushers())
    run_with(manager, LONG, lambda context: context.progress(1, 2))
    assert not flushers()

    def work(context: RunContext) -> None:
        for number in range(10):
            context.progress(number, 10)
        assert len(flushers()) == 1

    assert run_with(manager, INTERVAL, work).error is None
    until(lambda: not flushers())


def test_a_value_whose_repr_exits_ended_the_thread_that_sends_the_progress_of_all_runs(manager: RunManager) -> None:
    class Exiting:
        def __repr__(self) -> str:
            raise SystemExit(1)

    told = threading.Event()

    def work(context: RunContext) -> None:
        context.progress(1, 4)
        context.progress(2, 4, page=Exiting())
        until(lambda: context._outlet._held is None)
        context.progress(3, 4)
        context.progress(4, 4)
        assert told.wait(DEADLINE)

    run = Runner(manager, progress_interval=INTERVAL).start(work)
    reader = manager.subscribe(run.run_id, "0")
    try:
        while reader.get(timeout=DEADLINE)["progress_current"] < 4:
            pass
    finally:
        told.set()
    assert ended(run).error is None


def test_where_no_thread_can_be_started_nothing_is_held_back(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: not flushers())
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "genglossary-runs-progress":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)

    def work(context: RunContext) -> None:
        context.progress(1, 3)
        context.progress(2, 3)

    assert amounts(events_of(manager, run_with(manager, INTERVAL, work))) == [1, 2, "completed"]


def test_a_forked_child_holds_progress_back_too() -> None:
    """The thread that sends it is not in the child, and its lock may be locked there."""
    run_python("""
import os, sys, threading
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner

manager = RunManager()
runner = Runner(manager, progress_interval=0.05)
stop = threading.Event()

def work(context):
    while not stop.is_set():
        for number in range(100):
            context.progress(number, 100)

def in_child():
    def work(context):
        for number in range(10):
            context.progress(number, 10)
        released.wait(30)
    released = threading.Event()
    run = runner.start(work)
    reader = manager.subscribe(run.run_id, "0")
    while reader.get(timeout=30)["progress_current"] != 9:
        pass
    released.set()
    return run.wait(30)

run = runner.start(work)
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if in_child() else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
run.wait(30)
""")
