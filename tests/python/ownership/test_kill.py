"""`kill -9` of the owner, between any two lines of a run and at any moment: the project goes on.

GENGLOSSARY_RUNS_KILL_EVERY=1 kills at each line instead of at some.
"""

import inspect
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from types import FrameType
from typing import Any

import genglossary.runs.manager as manager_module
import pytest
from application.support import join
from genglossary.db import connection, runs_repository
from genglossary.runs.manager import RunManager
from genglossary_runs.application import outcome, ownership, recovery, runs

from .support import (
    Audience,
    Worker,
    active_run,
    assert_each_ended_once,
    hold,
    is_active,
    latest_status,
    rows,
    run,
    start,
    start_and_wait,
    store_terms,
    wait_until_finished,
    wait_until_free,
)

KILL_EVERY = int(os.environ.get("GENGLOSSARY_RUNS_KILL_EVERY", "0"))
TRACED = {
    inspect.getfile(module)
    for module in (manager_module, outcome, ownership, recovery, runs, connection, runs_repository)
}

Way = Callable[[RunManager, Worker], None]


def run_traced(manager: RunManager, fatal: int = 0, act: Callable[[RunManager], object] = run) -> int:
    """Act; be killed before the `fatal`-th line of the manager's and what it calls. How many lines there were."""
    lines = itertools.count(1)

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line" and next(lines) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        act(manager)
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return next(lines) - 1


# Each way takes the manager of this process, where readers are, and another process.


def by_start_here(manager: RunManager, bystander: Worker) -> None:
    manager.start_run(scope="full")
    join(manager._thread)


def by_start_elsewhere(manager: RunManager, bystander: Worker) -> None:
    bystander.call(run)


def by_active_run(manager: RunManager, bystander: Worker) -> None:
    manager.get_active_run()


def by_active_run_elsewhere(manager: RunManager, bystander: Worker) -> None:
    bystander.call(active_run)


def by_latest_run(manager: RunManager, bystander: Worker) -> None:
    manager.get_current_or_latest_run()


def by_new_reader(manager: RunManager, bystander: Worker) -> None:
    for row in rows(manager.db_path)[-1:]:
        manager.register_subscriber(row["id"])


def by_readers_already_there(manager: RunManager, bystander: Worker) -> None:
    wait_until_finished(manager.db_path)


WAYS = [
    by_start_here,
    by_start_elsewhere,
    by_active_run,
    by_active_run_elsewhere,
    by_latest_run,
    by_new_reader,
    by_readers_already_there,
]


@pytest.fixture
def bystander(make_worker: Callable[..., Worker]) -> Worker:
    """Another process, which nobody kills."""
    return make_worker()


def assert_goes_on(way: Way, manager: RunManager, bystander: Worker, audience: Audience) -> None:
    """The owner's death is noticed in this way; the next start works; nobody was told anything wrong."""
    db_path = manager.db_path
    way(manager, bystander)
    assert not is_active(db_path)
    before = rows(db_path)
    assert bystander.call(run) not in [row["id"] for row in before]
    assert rows(db_path)[-1]["status"] == "completed"
    audience.assert_told_once()
    assert_each_ended_once(db_path)
    for row in before:
        assert (row["status"] == "failed") == (row["error_message"] is not None)
        assert row["error_message"] in (None, "Interrupted: the process that ran it ended")
    wait_until_free(db_path)


def some(lines: int, share: int, shares: int, count: int) -> range:
    """About `count` of so many lines, others for each share of the work; all of them if the environment says so."""
    step = KILL_EVERY or max(1, lines // count)
    return range(1 if KILL_EVERY == 1 else 1 + step * share // shares, lines + 1, step)


@pytest.mark.parametrize("way", WAYS)
def test_the_owner_is_killed_between_two_lines(
    make_worker: Callable[..., Worker], manager: RunManager, bystander: Worker, audience: Audience, way: Way
) -> None:
    lines = make_worker().call(run_traced)
    assert lines > 200
    for line in some(lines, WAYS.index(way), len(WAYS), count=8):
        owner = make_worker(watch_interval=0.005)
        owner.ask(run_traced, line)
        owner.wait_until_dead_or_done()
        owner.kill()
        assert_goes_on(way, manager, bystander, audience)


@pytest.mark.parametrize("way", WAYS)
def test_the_owner_is_killed_at_any_moment(
    make_worker: Callable[..., Worker], manager: RunManager, bystander: Worker, audience: Audience, way: Way
) -> None:
    for _ in range(8):
        owner = make_worker(watch_interval=0.005)
        owner.ask(start, store_terms)
        time.sleep(random.uniform(0, 0.04))
        owner.kill()
        assert_goes_on(way, manager, bystander, audience)


@pytest.mark.parametrize("act", [run, active_run, latest_status])
def test_who_notices_a_death_is_killed_too(
    make_worker: Callable[..., Worker],
    manager: RunManager,
    bystander: Worker,
    db_path: str,
    act: Callable[[RunManager], object],
) -> None:
    def die() -> None:
        owner = make_worker()
        owner.call(start_and_wait, hold)
        owner.kill()
        assert is_active(db_path)

    die()
    lines = make_worker().call(run_traced, 0, act)
    assert lines > 50
    for line in some(lines, 0, 1, count=12):
        die()
        with closing(Audience(manager)) as audience:
            heir = make_worker()
            heir.ask(run_traced, line, act)
            heir.wait_until_dead_or_done()
            heir.kill()
            assert_goes_on(by_active_run, manager, bystander, audience)
