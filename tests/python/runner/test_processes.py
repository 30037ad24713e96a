"""Runs and forks: the child's runner is empty and can be used, and handles of the parent's runs say whose they are."""

import copy
import pickle
from typing import Any

import pytest
from core.support import run_python
from genglossary_runs import errors
from genglossary_runs.errors import AlreadyRunningError, RunCancelledError
from genglossary_runs.runner import Runner

from .support import Gate, ended

PRELUDE = """
import os, sys, threading, time
from genglossary_runs import RunManager
from genglossary_runs.errors import OtherProcessError
from genglossary_runs.runner import Runner, current_run

manager = RunManager()
runner = Runner(manager, max_active=2)
release = threading.Event()

def in_child(function):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            if code:
                import traceback
                traceback.print_exc()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def refused(function):
    try:
        function()
    except OtherProcessError as error:
        assert "forked from" in str(error)
    else:
        raise AssertionError("not refused")
"""


def test_the_childs_runner_is_empty_and_can_be_used() -> None:
    run_python(
        PRELUDE
        + """
runs = [runner.start(lambda context: release.wait(60), key=number) for number in range(3)]
def child():
    assert runner.runs() == [] and runner.get(runs[0].run_id) is None
    for number in range(5):
        assert runner.start(lambda context: "done", key=number).value(30) == "done"
    assert runner.shutdown(30)
in_child(child)
release.set()
assert [run.value(30) for run in runs] == [True] * 3
"""
    )


def test_the_child_of_a_runner_that_was_shut_down_can_use_it() -> None:
    run_python(PRELUDE + "runner.shutdown()\nin_child(lambda: runner.start(lambda context: 1).value(30))\n")


def test_handles_say_whose_run_it_is() -> None:
    run_python(
        PRELUDE
        + """
import asyncio
async def wait(run): await run
ended = runner.start(lambda context: "done"); ended.wait(30)
run, other = [runner.start(lambda context: release.wait(60), name="work") for _ in range(2)]
queued = runner.start(lambda context: 1)
def child():
    for each in (run, queued):
        for use in (lambda: each.status, each.cancel, lambda: each.wait(0), lambda: each.value(0), each.events,
                    lambda: asyncio.run(wait(each))):
            refused(use)
    assert "of the parent process" in repr(run)
    assert (ended.status, ended.value()) == ("completed", "done") and ended.wait(0)
in_child(child)
release.set()
assert run.value(30) and queued.value(30) == 1
"""
    )


def test_a_context_in_a_child_is_refused() -> None:
    """What it said was lost without a word, and the cancel was never seen."""
    run_python(
        PRELUDE
        + """
def work(context):
    def child():
        assert current_run() is context
        for use in (lambda: context.log("x"), lambda: context.progress(1, 2), context.raise_if_cancelled,
                    lambda: list(context.track([1]))):
            refused(use)
    in_child(child)
    return "parent"
assert runner.start(work).value(30) == "parent"
"""
    )


def test_a_child_that_returns_from_the_work_ends_nothing() -> None:
    run_python(
        PRELUDE
        + """
def work(context):
    pid = os.fork()
    if pid == 0:
        return "child"
    os.waitpid(pid, 0)
    return "parent"
run = runner.start(work)
assert run.value(30) == "parent"
"""
    )


def test_forks_while_another_thread_starts_runs() -> None:
    """The child found the runner's lock locked, for ever."""
    run_python(
        PRELUDE
        + """
def busy():
    while not release.is_set():
        runner.get("nobody"), runner.runs(), runner.cancel("nobody"), repr(runner)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(100):
    in_child(lambda: (runner.runs(), runner.get("nobody"), repr(runner)))
release.set()
for thread in threads: thread.join()
"""
    )


# Pickling


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith(("Error", "Ended"))])
def test_every_exception_can_be_pickled(name: str) -> None:
    """`AlreadyRunningError` could not, and broke the pool that it was raised in."""
    error = getattr(errors, name)("what happened")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_what_an_exception_says_survives_pickling(runner: Runner, gate: Gate) -> None:
    key: Any = ("book", 7)
    run = runner.start(gate, key=key)
    with pytest.raises(AlreadyRunningError) as refused:
        runner.start(gate, key=key)
    for again in (pickle.loads(pickle.dumps(refused.value)), copy.copy(refused.value)):
        assert (str(again), again.key, again.run_id, again.run) == (str(refused.value), key, run.run_id, None)
    cancelled = pickle.loads(pickle.dumps(RunCancelledError("cancelled", run_id=7)))
    assert (str(cancelled), cancelled.run_id) == ("cancelled", 7)
    unpicklable = AlreadyRunningError("x", key=lambda: None, run_id=1)
    assert pickle.loads(pickle.dumps(unpicklable)).key is None


def test_handles_and_contexts_say_why_they_cannot_be_pickled(runner: Runner) -> None:
    run = ended(runner.start(lambda context: context))
    with pytest.raises(TypeError, match="send its run_id"):
        pickle.dumps(run)
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        pickle.dumps(run.result)
