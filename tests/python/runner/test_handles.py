"""Handles of runs, and how long they are kept."""

import asyncio
import functools
import queue
import signal
import subprocess
import sys
import traceback
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Run, RunCancelledError, RunContext, Runner

from .support import DEADLINE, Gate, ended, nothing, raising, until, until_cancelled


def test_runs_are_found_while_active_and_afterwards(runner: Runner, gate: Gate) -> None:
    first = ended(runner.start(nothing))
    second = runner.start(gate)
    third = ended(runner.start(nothing))
    assert runner.runs() == [first, second, third]
    assert [runner.get(run.run_id) for run in (first, second, third)] == [first, second, third]
    assert runner.get("nobody") is None


@pytest.mark.parametrize("limit", [0, 3])
def test_finished_runs_are_kept_up_to_the_limit(manager: RunManager, limit: int) -> None:
    runner = Runner(manager, finished_runs=limit)
    runs = [ended(runner.start(nothing)) for _ in range(5)]
    assert runner.runs() == (runs[-limit:] if limit else [])
    assert runner.get(runs[0].run_id) is None
    assert runs[0].status == "completed"


def test_a_negative_limit_is_refused(manager: RunManager) -> None:
    with pytest.raises(ValueError, match="-1"):
        Runner(manager, finished_runs=-1)
    with pytest.raises(ValueError, match="finished_runs is -2"):
        Runner(manager, finished_runs=-2)


@pytest.mark.parametrize("timeout", [0.0, 0.001, -1.0])
def test_waiting_ends_with_the_timeout(runner: Runner, gate: Gate, timeout: float) -> None:
    assert not runner.start(gate).wait(timeout)


def test_after_waiting_nothing_is_left_in_the_manager(runner: Runner, manager: RunManager) -> None:
    for work in (nothing, raising(ValueError()), raising(RunCancelledError())) * 50:
        run = ended(runner.start(work))
        assert manager.stats()["active_runs"] == 0
        assert manager.cancel_event(run.run_id) is None


def test_work_cannot_wait_for_itself(runner: Runner) -> None:
    handed: queue.Queue[Run] = queue.Queue()
    run = runner.start(lambda context: handed.get(timeout=DEADLINE).wait())
    handed.put(run)
    assert ended(run).status == "failed"
    assert run.error == f"RuntimeError: Run {run.run_id} cannot wait for its own end"


def test_a_wait_that_ctrl_c_interrupts_can_be_repeated() -> None:
    """`Thread.join` takes a running thread for ended after that."""
    code = """
import signal, sys, threading
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner

opened = threading.Event()
run = Runner(RunManager()).start(lambda context: opened.wait(60))
try:
    print("waiting", flush=True)
    run.wait(60)
except KeyboardInterrupt:
    assert not run.wait(0)
    opened.set()
    assert run.wait(60) and run.status == "completed"
    sys.exit(7)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 7


def test_finished_runs_are_kept_up_to_their_age(manager: RunManager) -> None:
    runner = Runner(manager, finished_age=0.05)
    run = ended(runner.start(nothing))
    until(lambda: runner.runs() == [])
    assert runner.get(run.run_id) is None


@pytest.mark.parametrize("age", [-1.0, float("nan")])
def test_an_impossible_age_is_refused(manager: RunManager, age: float) -> None:
    with pytest.raises(ValueError, match="finished_age"):
        Runner(manager, finished_age=age)


class Job:
    def __call__(self, context: RunContext) -> None:
        """Nothing to do."""

    def method(self, context: RunContext) -> None:
        """Nothing to do."""


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (nothing, "nothing"),
        (functools.partial(functools.partial(nothing)), "nothing"),
        (Job(), "Job"),
        (Job().method, "method"),
        (functools.partial(Job()), "Job"),
    ],
)
def test_a_run_has_a_name(runner: Runner, work: Any, name: str) -> None:
    assert runner.start(work).name == name
    assert runner.start(work, name="Book 7").name == "Book 7"


def test_value_waits_and_gives_the_result(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate)
    with pytest.raises(TimeoutError, match=f"Run {run.run_id} has not ended"):
        run.value(0)
    gate.opened.set()
    assert run.value(DEADLINE) == "through"


def test_value_raises_what_failed(runner: Runner) -> None:
    error = LookupError("no such book")
    run = runner.start(raising(error))
    with pytest.raises(LookupError) as caught:
        run.value(DEADLINE)
    assert caught.value is error
    run = runner.start(until_cancelled)
    run.cancel()
    with pytest.raises(RunCancelledError):
        run.value(DEADLINE)
    run = runner.start(raising(SystemExit(3)))
    with pytest.raises(RuntimeError, match=r"failed: SystemExit: 3"):
        run.value(DEADLINE)


async def test_what_failed_kept_the_frames_of_all_who_had_asked(runner: Runner) -> None:
    """A server that asks for each request kept all requests."""

    def depth(error: BaseException) -> int:
        return sum(1 for _ in traceback.walk_tb(error.__traceback__))

    async def wait() -> None:
        await run

    run = ended(runner.start(raising(LookupError("no such book"))))
    depths = set()
    for _ in range(3):
        for asked in (wait(), asyncio.to_thread(run.value)):
            with pytest.raises(LookupError) as caught:
                await asked
        depths.add(depth(caught.value))
    assert len(depths) == 1


def test_what_people_print(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate, name="Book 7")
    assert repr(run) == f"<Run {run.run_id} 'Book 7': running>"
    run.cancel()
    assert repr(run) == f"<Run {run.run_id} 'Book 7': running, cancel requested>"
    assert repr(runner) == "<Runner: 1 running, 0 queued, 0 finished runs>"
    gate.opened.set()
    ended(run)
    assert repr(run) == f"<Run {run.run_id} 'Book 7': completed>"
    until(lambda: repr(runner) == "<Runner: 0 running, 0 queued, 1 finished runs>")


def test_who_came_while_a_run_ended_got_its_end_and_no_event(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, readers = runner._finish, []

    def read_and_finish(run: Run, *rest: Any) -> None:
        readers.append(runner.subscribe(run.run_id))
        finish(run, *rest)

    monkeypatch.setattr(runner, "_finish", read_and_finish)
    ended(runner.start(lambda context: context.log("a line")))
    assert [event.get("message") for event in readers[0]] == ["a line", None]


def test_events_are_read_from_the_start(runner: Runner) -> None:
    run = ended(runner.start(lambda context: context.log("line")))
    assert [event.get("message") for event in run.events()] == ["line", None]
