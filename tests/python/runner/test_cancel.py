"""What a cancel does, and who hears of it."""

import asyncio
import logging
import threading
from datetime import datetime
from typing import Any

import pytest
from genglossary_runs import CancelEvent, RunManager
from genglossary_runs.runner import RunCancelledError, RunContext, Runner

from .support import DEADLINE, Gate, ended, events_of, nothing, raising, until, until_cancelled


def test_work_that_notices_the_cancel_is_cancelled(runner: Runner, manager: RunManager) -> None:
    run = runner.start(until_cancelled)
    assert not run.cancel_requested
    assert run.cancel()
    assert run.cancel_requested
    assert ended(run).status == "cancelled"
    requested, terminal = events_of(manager, run)
    assert datetime.fromisoformat(requested.pop("time"))
    assert requested == {"run_id": run.run_id, "cancel_requested": True}
    assert terminal == {"run_id": run.run_id, "complete": True, "status": "cancelled", "cancel_requested": True}
    assert not run.cancel()


def test_any_error_once_cancelled_is_the_cancel(runner: Runner) -> None:
    def work(context: RunContext) -> None:
        assert context.cancel_event.wait(DEADLINE)
        raise ConnectionError("closed under the work")

    run = runner.start(work)
    assert runner.cancel(run.run_id)
    assert (ended(run).status, run.error) == ("cancelled", None)


def test_a_cancel_that_came_too_late_keeps_the_result(runner: Runner) -> None:
    def work(context: RunContext) -> str:
        assert context.cancel_event.wait(DEADLINE)
        return "done all the same"

    run = runner.start(work)
    run.cancel()
    assert (ended(run).status, run.result, run.cancel_requested) == ("completed", "done all the same", True)


def test_work_may_call_itself_cancelled(runner: Runner) -> None:
    assert ended(runner.start(raising(RunCancelledError()))).status == "cancelled"


def test_an_old_handle_cancelled_a_newer_life_of_its_id(gate: Gate) -> None:
    runner = Runner(RunManager(retained_runs=0), finished_runs=0)
    old = ended(runner.start(nothing, run_id="nightly"))
    until(lambda: runner.get("nightly") is None)
    new = runner.start(gate, run_id="nightly")
    assert not old.cancel()
    assert not new.cancel_requested
    gate.opened.set()
    assert runner.shutdown(DEADLINE)


def test_a_run_that_others_have_finished_could_not_be_cancelled(runner: Runner, manager: RunManager) -> None:
    run = runner.start(until_cancelled)
    manager.finish_run(run.run_id, {"complete": True})
    assert run.cancel()
    assert ended(run).status == "cancelled"


def test_cancel_of_an_unknown_run_is_none(runner: Runner) -> None:
    assert not runner.cancel(10**9)


def test_raise_if_cancelled_lets_an_uncancelled_run_go_on(runner: Runner) -> None:
    run = ended(runner.start(lambda context: context.raise_if_cancelled()))
    assert run.status == "completed"


def test_what_a_cancel_interrupted_goes_to_the_log(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genglossary_runs.runner")

    def work(context: RunContext) -> None:
        assert context.cancel_event.wait(DEADLINE)
        raise ConnectionError("closed")

    run = runner.start(work)
    run.cancel()
    ended(run)
    (record,) = [record for record in caplog.records if record.name == "genglossary_runs.runner"]
    assert record.levelno == logging.INFO
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ConnectionError)


@pytest.mark.parametrize("error", [SystemExit(), SystemExit(1), asyncio.CancelledError(), GeneratorExit()])
def test_a_base_exception_once_cancelled_is_the_cancel(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """It went to `threading.excepthook`, and so to whoever watches for errors."""
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_value))

    def work(context: RunContext) -> None:
        assert context.cancel_event.wait(DEADLINE)
        raise error

    run = runner.start(work)
    run.cancel()
    assert ended(run).status == "cancelled"
    assert run._thread is not None
    run._thread.join(DEADLINE)
    assert seen == []


def test_work_that_goes_on_after_every_exception_stops(runner: Runner) -> None:
    """`RunCancelledError` was an `Exception`."""
    begun = threading.Event()

    def work(context: RunContext) -> None:
        while True:
            try:
                begun.set()
                context.cancel_event.wait(0.01)
                context.raise_if_cancelled()
            except Exception:
                context.log("going on")

    run = runner.start(work)
    assert begun.wait(DEADLINE)
    run.cancel()
    assert ended(run).status == "cancelled"


def test_readers_hear_of_a_cancel_at_once(runner: Runner, manager: RunManager, gate: Gate) -> None:
    """They heard nothing until the work came back from where it was blocked."""
    run = runner.start(gate)
    assert gate.entered.wait(DEADLINE)
    with manager.subscribe(run.run_id) as reader:
        run.cancel()
        run.cancel()
        assert reader.get(timeout=DEADLINE)["cancel_requested"] is True
        assert run.status == "running"
        gate.opened.set()
        terminal = reader.get(timeout=DEADLINE)
    assert (terminal["status"], terminal["cancel_requested"]) == ("completed", True)


@pytest.mark.parametrize("way", ["run", "runner", "manager", "event"])
def test_each_way_to_cancel_is_told(runner: Runner, manager: RunManager, way: str) -> None:
    contexts: list[RunContext] = []
    started = threading.Event()

    def work(context: RunContext) -> None:
        contexts.append(context)
        started.set()
        until_cancelled(context)

    run = runner.start(work)
    assert started.wait(DEADLINE)
    ways = {
        "run": run.cancel,
        "runner": lambda: runner.cancel(run.run_id),
        "manager": lambda: manager.cancel_run(run.run_id),
        "event": contexts[0].cancel_event.set,
    }
    ways[way]()
    ended(run)
    assert [event.get("cancel_requested") for event in events_of(manager, run)] == [True, True]


def test_a_cancel_in_the_event_is_a_cancel_in_the_terminal_event(runner: Runner, manager: RunManager) -> None:
    """However the cancel and the end race, the two agree."""
    for _ in range(200):
        run = runner.start(nothing)
        run.cancel()
        *before, terminal = events_of(manager, ended(run))
        assert len(before) <= 1
        assert bool(before) == ("cancel_requested" in terminal)


@pytest.mark.parametrize("managed", [False, True])
def test_an_end_told_of_a_cancel_that_readers_had_not_heard_of(managed: bool) -> None:
    held, go_on = threading.Event(), threading.Event()

    class Slow(RunManager):
        """The thread that cancels is held up after it has set the event."""

        def open_run(self, run_id: Any, *, key: str | None = None) -> CancelEvent:
            event = super().open_run(run_id, key=key)
            event.add_callback(lambda: (held.set(), go_on.wait(DEADLINE)))
            return event

    manager = Slow()
    if managed:
        with manager.run("run") as context:
            canceller = threading.Thread(target=context.cancel_event.set)
            canceller.start()
            assert held.wait(DEADLINE)
    else:
        run = Runner(manager).start(until_cancelled, run_id="run")
        canceller = threading.Thread(target=run.cancel)
        canceller.start()
        ended(run)
    go_on.set()
    canceller.join(DEADLINE)
    events = list(manager.subscribe("run", "0"))
    assert [event.get("cancel_requested") for event in events] == [True, True]


def test_a_cancel_of_another_run_is_a_failure(runner: Runner) -> None:
    gate = threading.Event()

    def waits_for_another(context: RunContext) -> None:
        other = runner.start(until_cancelled)
        other.cancel()
        gate.set()
        other.value(DEADLINE)

    run = ended(runner.start(waits_for_another))
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.startswith("RunCancelledError: Run ")
