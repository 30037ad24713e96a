"""The end of a runner."""

import threading

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import RunContext, Runner

from .support import DEADLINE, Gate, ended, until_cancelled


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
