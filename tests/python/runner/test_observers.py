"""Observers of runs, and a store that takes its time."""

import threading
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Run, RunContext, Runner, RunnerShutDownError

from .support import DEADLINE, Gate, SlowManager, ended, nothing, raising


class Notes:
    """An observer that keeps what it is told, and the thread."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any, str]] = []

    def began(self, run: Run) -> None:
        self.all.append(("began", run.run_id, threading.current_thread().name))

    def ended(self, run: Run) -> None:
        assert run.finished_at is not None
        self.all.append(("ended", run.run_id, threading.current_thread().name))


def test_observers_are_told_of_each_run_before_those_who_wait(runner: Runner) -> None:
    notes = Notes()
    runner.observe(notes)
    for work in (nothing, raising(ValueError("no"))):
        run = ended(runner.start(work))
        name = f"run-{run.run_id}"
        assert notes.all == [("began", run.run_id, name), ("ended", run.run_id, name)]
        notes.all.clear()


def test_a_run_that_is_cancelled_in_the_queue_ends_without_having_begun(manager: RunManager, gate: Gate) -> None:
    runner, notes = Runner(manager, max_active=1), Notes()
    runner.start(gate)
    assert gate.entered.wait(DEADLINE)
    runner.observe(notes)
    queued = runner.start(nothing)
    queued.cancel()
    assert notes.all == [("ended", queued.run_id, "MainThread")]
    gate.opened.set()
    assert runner.shutdown(DEADLINE)


def test_a_run_that_ended_while_it_was_cancelled_ended_twice(manager: RunManager, gate: Gate) -> None:
    runner, notes = Runner(manager), Notes()
    runner.observe(notes)
    run = runner.start(gate)
    assert gate.entered.wait(DEADLINE)

    class Lock:
        """Its thread is held up after it has let go of the lock that it took to note the cancel."""

        def __init__(self, lock: Any) -> None:
            self._lock, self._depth = lock, 0

        def __enter__(self) -> None:
            self._lock.acquire()
            self._depth += 1

        def __exit__(self, *exc: object) -> None:
            self._depth -= 1
            is_last = self._depth == 0
            self._lock.release()
            if is_last and threading.current_thread() is threading.main_thread():
                gate.opened.set()
                ended(run)

    run._context._outlet.lock = Lock(run._context._outlet.lock)  # type: ignore[assignment]
    run.cancel()
    assert [moment for moment, _, _ in notes.all] == ["began", "ended"]
    assert runner.shutdown(DEADLINE)


def test_an_observer_that_fails_is_logged(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def began(self, run: Run) -> None:
            raise ValueError("no")

        ended = began

    notes = Notes()
    runner.observe(Failing())
    runner.observe(notes)
    run = ended(runner.start(nothing))
    assert run.status == "completed"
    assert [moment for moment, _, _ in notes.all] == ["began", "ended"]
    assert caplog.text.count(f"An observer of run {run.run_id} failed") == 2


def test_an_event_loop_that_lists_runs_waited_for_the_store_of_a_start() -> None:
    manager = SlowManager()
    runner = Runner(manager)
    starter = threading.Thread(target=runner.start, args=(nothing,), daemon=True)
    starter.start()
    assert manager.asked.wait(DEADLINE)
    listed: list[Any] = []
    lister = threading.Thread(target=lambda: listed.append((runner.runs(), runner.queued(), runner.get("x"))))
    lister.start()
    lister.join(DEADLINE)
    assert listed == [([], [], None)]
    manager.may_answer.set()
    starter.join(DEADLINE)
    assert len(runner.runs()) == 1
    assert runner.shutdown(DEADLINE)


def test_a_shutdown_leaves_no_start_behind() -> None:
    context_of: list[RunContext] = []
    runner = Runner(RunManager())
    starters = [threading.Thread(target=_start_until_refused, args=(runner, context_of)) for _ in range(4)]
    for starter in starters:
        starter.start()
    assert runner.shutdown(DEADLINE)
    for starter in starters:
        starter.join(DEADLINE)
    assert runner.manager.stats()["active_runs"] == 0


def _start_until_refused(runner: Runner, context_of: list[RunContext]) -> None:
    try:
        while True:
            runner.start(context_of.append)
    except RunnerShutDownError:
        pass
