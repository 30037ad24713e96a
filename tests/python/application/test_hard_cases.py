"""What a run, a start and a cancel do where other things happen at the same time, or have happened before."""

import os
import signal
import sqlite3
import threading
from typing import Any
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.db.connection import database_connection
from genglossary.db.runs_repository import RunUpdateResult, get_run, update_run_status_if_active
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager

from .support import DEADLINE, Pipeline, add_run, drain, in_thread, join, read_to_end, row, set_status, terminal, terms

# Starting a run forgets whatever an earlier life of its id left.


def test_a_cancel_event_put_there_goes_with_its_life(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    put = threading.Event()
    run_id = add_run(db_path)
    manager._cancel_events[run_id] = put
    manager.cancel_run(run_id)
    manager._cleanup_run_resources(run_id)
    manager._execute_run(run_id, "full")
    assert pipeline.jobs[0].context.cancel_event is not put
    assert manager._completed_runs[run_id] == terminal(run_id, "completed")


def test_an_earlier_life_whose_thread_never_ran_is_forgotten(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "Thread", MagicMock())
        assert manager.start_run(scope="full") == 1
    reader = manager.register_subscriber(1)
    manager.cancel_run(1)
    with database_connection(db_path) as conn:
        conn.executescript("DELETE FROM runs; DELETE FROM sqlite_sequence;")
    assert manager.start_run(scope="full") == 1
    join(manager._thread)
    assert not pipeline.jobs[0].context.cancel_event.is_set()
    assert row(db_path, 1)["status"] == "completed"
    assert drain(reader) == [terminal(1)]


# The replacement refuses, at once.


def test_a_start_beside_a_run_executed_directly_is_refused_while_it_stops(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    pipeline.holds()
    run_id = add_run(db_path)
    thread = in_thread(manager._execute_run, run_id, "full")
    pipeline.wait_until_running()
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    with pytest.raises(RuntimeError, match=rf"^Run already running: {run_id} \(cancelled, still stopping\)$"):
        manager.start_run(scope="full")
    pipeline.release.set()
    join(thread)


# If the thread cannot start: the original exception is raised.


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), SystemExit("stop")])
def test_a_thread_that_is_interrupted_as_it_starts_fails_the_run(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(module, "Thread", MagicMock(return_value=MagicMock(start=MagicMock(side_effect=error))))
    subscription = manager.register_subscriber(1)
    with pytest.raises(type(error)) as caught:
        manager.start_run(scope="full")
    assert caught.value is error
    assert manager._thread is None
    assert row(db_path, 1)["status"] == "failed"
    assert drain(subscription) == [terminal(1, "failed")]
    assert 1 not in manager._cancel_events


# An `error` log with a `traceback` text.


def test_finalize_without_a_traceback_has_a_text_all_the_same(manager: RunManager, db_path: str) -> None:
    run_id = add_run(db_path, "running")
    subscription = manager.register_subscriber(run_id)
    manager._finalize_run_status(None, run_id, pipeline_error=ValueError("boom"))
    assert isinstance(subscription.get_nowait()["traceback"], str)


# When the status could not be written, the outcome that should have been.


def test_a_status_that_could_not_be_written_is_the_outcome_whatever_the_row_says(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    run_id = add_run(db_path)
    pipeline.does(lambda job: set_status(db_path, run_id, "cancelled"))
    manager._try_update_status = MagicMock(return_value=False)  # type: ignore[method-assign]
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert read_to_end(subscription) == [terminal(run_id, "completed", status_update_failed=True)]


# A run that is live here wins over a finished row.


def test_a_run_that_opens_after_its_finished_row_was_read_wins(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add_run(db_path, "cancelled")

    def read_then_open(conn: Any, run_id: int) -> Any:
        found = get_run(conn, run_id)
        manager.open_run(run_id)
        return found

    monkeypatch.setattr(module, "get_run", read_then_open)
    subscription = manager.register_subscriber(run_id)
    assert subscription.empty()
    assert run_id in manager._cancel_events


def test_refused_at_once_though_the_stopping_pipeline_holds_the_write_lock(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    cancelled, locked = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        assert cancelled.wait(DEADLINE)
        job.conn.execute("INSERT INTO terms VALUES ('uncommitted')")
        locked.set()
        assert pipeline.release.wait(DEADLINE)

    pipeline.does(work)
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    cancelled.set()
    assert locked.wait(DEADLINE)
    with pytest.raises(RuntimeError, match=rf"^Run already running: {run_id} \(cancelled, still stopping\)$"):
        manager.start_run(scope="full")


def test_registered_until_unregistered(manager: RunManager) -> None:
    manager.register_subscriber(1)
    assert 1 in manager._subscribers
    manager._cleanup_run_resources(1)
    assert 1 not in manager._subscribers


@pytest.mark.parametrize("text", ["bad str", "exit", "surrogate"])
def test_any_exception_is_recorded(manager: RunManager, db_path: str, pipeline: Pipeline, text: str) -> None:
    class Error(Exception):
        def __str__(self) -> str:
            if text == "surrogate":
                return "file \udce3.txt"
            raise SystemExit(1) if text == "exit" else ValueError("no text")

    run_id = add_run(db_path)
    pipeline.raises(Error())
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert row(db_path, run_id)["status"] == "failed"
    error, last = read_to_end(subscription)
    assert error["level"] == "error"
    assert last == terminal(run_id, "failed")


def test_refused_by_whatever_name_the_database_goes(
    make_manager: Any, db_path: str, pipeline: Pipeline, tmp_path: Any
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(db_path)
    pipeline.holds()
    old, new = make_manager(), make_manager(str(link))
    run_id = old.start_run(scope="full")
    pipeline.wait_until_running()
    old.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    with pytest.raises(RuntimeError, match="still stopping"):
        new.start_run(scope="full")


def test_an_event_put_for_a_finished_row_goes_with_it(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    run_id, put = add_run(db_path, "completed"), threading.Event()
    put.set()
    manager._cancel_events[run_id] = put
    manager.register_subscriber(run_id)  # the terminal event clears the entry
    set_status(db_path, run_id, "pending")
    manager._execute_run(run_id, "full")
    assert pipeline.jobs[0].context.cancel_event is not put


def test_db_status_agrees_with_the_row_when_the_pipeline_closed_its_connection(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    run_id = add_run(db_path)

    def work(job: Job) -> None:
        set_status(db_path, run_id, "cancelled")
        job.conn.close()

    pipeline.does(work)
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert read_to_end(subscription)[-1] == terminal(run_id, "cancelled")


def test_a_result_is_kept_when_the_first_try_fails(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def flaky(*args: Any, **kwargs: Any) -> RunUpdateResult:
        tries.append(args)
        if len(tries) == 1:
            raise sqlite3.OperationalError("database is locked")
        return update_run_status_if_active(*args, **kwargs)

    run_id = add_run(db_path)
    monkeypatch.setattr(module, "update_run_status_if_active", flaky)
    pipeline.does(lambda job: job.conn.execute("INSERT INTO terms VALUES ('result')"))
    manager._execute_run(run_id, "full")
    assert row(db_path, run_id)["status"] == "completed"
    assert terms(db_path) == ["result"]


# A fork copies one thread, and the locks as they are.


def test_a_child_that_was_forked_during_a_watch_hung_in_the_next(manager: RunManager) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        locks = manager._executors_lock, manager._cancel_events_lock, manager._subscribers_lock
        with manager._watcher._changed, locks[0], locks[1], locks[2]:
            held.set()
            assert done.wait(DEADLINE)

    manager._executors[1] = MagicMock()
    holder = in_thread(hold)
    assert held.wait(DEADLINE)
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(int(DEADLINE))
        try:
            manager._watcher.watch(1)
            manager.cancel_run(1)
            with manager._cancel_events_lock, manager._subscribers_lock:
                # The parent's executor has the parent's connections.
                code = int(manager._executors != {})
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    join(holder)
    manager._executors.clear()
