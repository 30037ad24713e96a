"""The end of a runner."""

import threading

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import RunContext, Runner, RunnerShutDownError

from .support import DEADLINE, Gate, SlowManager, ended, nothing, until_cancelled


def test_shutdown_cancels_and_joins(manager: RunManager) -> None:
    runner = Runner(manager)
    runs = [runner.start(until_cancelled) for _ in range(5)]
    assert runner.shutdown(DEADLINE)
    assert [run.status for run in runs] == ["cancelled"] * 5
    assert runner.shutdown(0)
    with pytest.raises(RuntimeError, match="shut down"):
        runner.start(until_cancelled)


def test_shutdown_gives_up_on_work_that_does_not_stop(
    manager: RunManager, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    runner = Runner(manager)
    run = runner.start(gate)
    assert gate.entered.wait(DEADLINE)
    assert not runner.shutdown(0.01)
    assert f"Run {run.run_id} did not stop" in caplog.text
    gate.opened.set()
    assert runner.shutdown()
    assert run.status == "completed"


def test_the_work_may_shut_the_runner_down(manager: RunManager) -> None:
    runner = Runner(manager)
    started = threading.Event()

    def work(context: RunContext) -> None:
        assert started.wait(DEADLINE)
        with pytest.raises(RuntimeError, match="cannot wait for its own end"):
            runner.shutdown(DEADLINE)
        context.raise_if_cancelled()

    run = runner.start(work)
    started.set()
    assert ended(run).status == "cancelled"


def test_a_shutdown_waited_for_the_store_of_a_start() -> None:
    """With three starts on a store that did not answer, half a second took eight."""
    manager = SlowManager()
    runner = Runner(manager)
    refused: list[RunnerShutDownError] = []

    def start() -> None:
        try:
            runner.start(nothing, run_id="late")
        except RunnerShutDownError as error:
            refused.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    assert manager.asked.wait(DEADLINE)
    ending = threading.Thread(target=runner.shutdown, args=(0.0,), daemon=True)
    ending.start()
    ending.join(DEADLINE)
    was_over = not ending.is_alive()
    manager.may_answer.set()
    starter.join(DEADLINE)
    assert was_over
    assert len(refused) == 1
    assert runner.runs() == []
    assert not runner.manager.is_active("late")
    terminal = runner.manager.terminal_event("late")
    assert terminal is not None
    assert terminal["status"] == "cancelled"
