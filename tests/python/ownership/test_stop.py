"""The owner is stopped: it is not dead, however long that lasts.

GENGLOSSARY_RUNS_STOP_SECONDS=10 stops it for longer.
"""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import genglossary.runs.manager as manager_module
import genglossary_runs.application.ownership as ownership_module
import pytest
from application.support import join, wait_for
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager
from genglossary_runs import Subscription

from .support import (
    Worker,
    active_run,
    assert_each_ended_once,
    finish,
    history,
    hold,
    latest_status,
    ping,
    rows,
    start,
    start_and_wait,
    store_terms,
    terminal_events,
)

STOP_SECONDS = float(os.environ.get("GENGLOSSARY_RUNS_STOP_SECONDS", "0.7"))


def stop() -> None:
    """Stop this process here and now. A signal to the process would let this thread go on for a while."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def stop_before(name: str) -> Callable[..., Any]:
    """A wrapper of a function of the manager's module that stops the process first, once."""
    function = getattr(manager_module, name)

    def stop_first(*args: Any, **kwargs: Any) -> Any:
        setattr(manager_module, name, function)
        stop()
        return function(*args, **kwargs)

    return stop_first


def start_and_stop_before(manager: RunManager, name: str) -> int:
    """A whole run that stops before this step."""
    setattr(manager_module, name, stop_before(name))
    return start(manager, store_terms)


def hold_with_open_transaction(job: Job) -> None:
    """Go on until `finish`, while nobody else can write."""
    job.conn.execute("INSERT INTO terms (term) VALUES ('not committed')")
    hold(job)


def assert_refused_and_untouched(manager: RunManager, bystander: Worker) -> None:
    """As long as the owner is stopped, everybody sees that the run is active."""
    db_path = manager.db_path
    (before,) = rows(db_path)
    reader = manager.register_subscriber(before["id"])
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        with pytest.raises(RuntimeError, match=r"^Run already running: 1\b"):
            manager.start_run(scope="full")
        with pytest.raises(RuntimeError, match=r"^Run already running: 1\b"):
            bystander.call(start)
        assert manager.get_active_run()["id"] == before["id"]
        assert bystander.call(active_run) == before["id"]
        assert bystander.call(latest_status) == before["status"]
        assert_open(reader)
        assert rows(db_path) == [before]


def assert_open(reader: Subscription) -> None:
    """Nothing but log messages for this reader so far."""
    try:
        while True:
            assert "complete" not in reader.get(timeout=0.05)
    except queue.Empty:
        return


@pytest.mark.parametrize("work", [hold, hold_with_open_transaction])
def test_the_owner_is_stopped_while_the_pipeline_runs(
    make_worker: Callable[..., Worker], manager: RunManager, owner: Worker, work: Callable[[Job], None]
) -> None:
    run_id = owner.call(start_and_wait, work)
    owner.signal(signal.SIGSTOP)
    owner.ask(ping)
    assert_refused_and_untouched(manager, make_worker())
    assert not owner.has_answered(), "it was stopped all the time"
    reader = manager.register_subscriber(run_id)
    owner.signal(signal.SIGCONT)
    assert owner.answer() == "pong"
    owner.call(finish)
    assert history(manager.db_path, run_id) == ["pending", "running", "completed"]
    assert [event["db_status"] for event in terminal_events(reader)] == ["completed"]


@pytest.mark.parametrize("step", ["Thread", "get_connection"])
def test_a_pending_run_is_its_creators(
    make_worker: Callable[..., Worker], manager: RunManager, owner: Worker, step: str
) -> None:
    """Stopped between the creation of the row and the start of its thread, or between that and the first status."""
    owner.ask(start_and_stop_before, step)
    wait_for(lambda: rows(manager.db_path), "the row")
    owner.wait_until_stopped()
    assert_refused_and_untouched(manager, make_worker())
    owner.signal(signal.SIGCONT)
    assert owner.answer() == 1
    owner.call(finish)
    assert_each_ended_once(manager.db_path)
    assert rows(manager.db_path)[0]["status"] == "completed"


def start_and_stop_before_release(manager: RunManager) -> int:
    """A whole run that stops when everything is done, but for the lock."""

    ownership_module.Claim.release = lambda claim: stop()  # type: ignore[method-assign]
    return start(manager, store_terms)


def test_an_owner_that_is_stopped_after_its_run(
    manager: RunManager, owner: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may yet do something: the next start waits for it, and then gives up."""
    owner.ask(start_and_stop_before_release)
    wait_for(lambda: [row["status"] for row in rows(manager.db_path)] == ["completed"], "the end of the run")
    monkeypatch.setattr(manager_module, "HANDOVER", 0.2)
    with pytest.raises(RuntimeError, match=r"^Run already running: 1 \(completed, still stopping\)$"):
        manager.start_run(scope="full")
    assert manager.get_active_run() is None
    owner.kill()
    assert manager.start_run(scope="full") == 2
    join(manager._thread)
    assert_each_ended_once(manager.db_path)
