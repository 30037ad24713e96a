"""start_run."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.db import runs_repository
from genglossary.db.connection import database_connection, get_connection, immediate_transaction, transaction
from genglossary.db.schema import create_tables
from genglossary.runs.manager import RunManager

from .support import (
    DEADLINE,
    Pipeline,
    add_run,
    broken,
    broken_connection,
    drain,
    in_thread,
    is_closed,
    join,
    log,
    read_to_end,
    row,
    set_status,
    terminal,
    texts,
    wait_for,
)


def count_rows(db_path: str) -> int:
    with database_connection(db_path) as conn:
        return conn.execute("SELECT count(*) FROM runs").fetchone()[0]


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Threads that never begin to run."""
    thread = MagicMock()
    monkeypatch.setattr(module, "Thread", thread)
    return thread


# The row


def test_it_returns_the_id_of_a_pending_row(manager: RunManager, db_path: str, no_thread: MagicMock) -> None:
    run_id = manager.start_run(scope="full")
    assert type(run_id) is int
    stored = row(db_path, run_id)
    assert (stored["scope"], stored["status"], stored["triggered_by"]) == ("full", "pending", "api")
    assert (stored["started_at"], stored["finished_at"], stored["error_message"]) == (None, None, None)


def test_scope_and_trigger_are_stored(manager: RunManager, db_path: str, no_thread: MagicMock) -> None:
    run_id = manager.start_run(scope="extract", triggered_by="auto", document_ids=[1, 2])
    stored = row(db_path, run_id)
    assert (stored["scope"], stored["triggered_by"]) == ("extract", "auto")


def test_the_parameters_by_position(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    run_id = manager.start_run("extract", "auto", [1, 2])
    join(manager._thread)
    assert row(db_path, run_id)["triggered_by"] == "auto"
    assert pipeline.jobs[0].document_ids == [1, 2]


def test_the_run_goes_through_to_its_end(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    pipeline.says("用語を抽出しています")
    subscription = manager.register_subscriber(1)
    run_id = manager.start_run(scope="full")
    assert run_id == 1
    assert read_to_end(subscription) == [log(1, "用語を抽出しています"), terminal(1, "completed")]
    assert row(db_path, 1)["status"] == "completed"


def test_runs_follow_each_other(manager: RunManager, db_path: str) -> None:
    for expected in (1, 2, 3):
        assert manager.start_run(scope="full") == expected
        join(manager._thread)
        assert row(db_path, expected)["status"] == "completed"


# One at a time


@pytest.mark.parametrize("status", ["pending", "running"])
def test_an_active_row_is_refused(manager: RunManager, db_path: str, pipeline: Pipeline, status: str) -> None:
    add_run(db_path, "completed")
    active = add_run(db_path, status)
    with pytest.raises(RuntimeError, match=f"^Run already running: {active}$"):
        manager.start_run(scope="full")
    assert count_rows(db_path) == 2
    assert pipeline.jobs == []
    assert len(manager._cancel_events) == 0
    assert manager._thread is None


def test_a_second_start_is_refused_and_leaves_the_first_alone(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    thread = manager._thread
    with pytest.raises(RuntimeError, match=f"^Run already running: {run_id}$"):
        manager.start_run(scope="full")
    assert manager._thread is thread
    assert not manager._cancel_events[run_id].is_set()
    pipeline.release.set()
    join(thread)
    assert row(db_path, run_id)["status"] == "completed"


def test_of_many_starts_at_once_one_wins(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    pipeline.holds()
    barrier = threading.Barrier(8)
    started, refused = [], []

    def start() -> None:
        barrier.wait(30)
        try:
            started.append(manager.start_run(scope="full"))
        except RuntimeError as error:
            refused.append(str(error))

    for thread in [in_thread(start) for _ in range(8)]:
        join(thread)
    assert started == [1]
    assert refused == ["Run already running: 1"] * 7
    assert count_rows(db_path) == 1


def test_one_call_at_a_time_in_the_process(
    make_manager: Callable[..., RunManager], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_thread: MagicMock
) -> None:
    """Managers of other databases wait, too."""
    inside, most, lock = 0, 0, threading.Lock()
    overlap = threading.Event()

    def create_run(conn: sqlite3.Connection, scope: str, triggered_by: str) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside > 1:
                overlap.set()
        overlap.wait(0.05)
        with lock:
            inside -= 1
        return runs_repository.create_run(conn, scope=scope, triggered_by=triggered_by)

    monkeypatch.setattr(module, "create_run", create_run)
    managers = []
    for number in range(4):
        path = str(tmp_path / f"{number}.db")
        create_tables(path)
        managers.append(make_manager(path))
    for thread in [in_thread(manager.start_run, "full") for manager in managers]:
        join(thread)
    assert most == 1
    assert [count_rows(manager.db_path) for manager in managers] == [1] * 4


def test_the_check_and_the_row_are_one_immediate_transaction(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, no_thread: MagicMock
) -> None:
    calls: list[Any] = []

    @contextmanager
    def recorded_transaction(conn: sqlite3.Connection) -> Iterator[None]:
        with immediate_transaction(conn):
            calls.append(("begin", conn))
            yield
        calls.append(("commit", conn))

    def recorded(name: str) -> Callable[..., Any]:
        original = getattr(runs_repository, name)

        def function(conn: sqlite3.Connection, **kwargs: Any) -> Any:
            calls.append((name, conn))
            return original(conn, **kwargs)

        return function

    monkeypatch.setattr(module, "immediate_transaction", recorded_transaction)
    for name in ("get_active_run", "create_run"):
        monkeypatch.setattr(module, name, recorded(name))
    manager.start_run(scope="full")
    assert [name for name, _ in calls] == ["begin", "get_active_run", "create_run", "commit"]
    assert len({id(conn) for _, conn in calls}) == 1


def test_a_database_without_tables_is_an_error_that_leaves_nothing(
    make_manager: Callable[..., RunManager], tmp_path: Path
) -> None:
    manager = make_manager(str(tmp_path / "empty.db"))
    with pytest.raises(sqlite3.OperationalError):
        manager.start_run(scope="full")
    assert manager._thread is None
    assert len(manager._cancel_events) == 0


def test_a_row_that_cannot_be_committed_leaves_nothing(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    @contextmanager
    def locked(conn: sqlite3.Connection) -> Iterator[None]:
        with immediate_transaction(conn):
            yield
            raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(module, "immediate_transaction", locked)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            manager.start_run(scope="full")
    assert count_rows(db_path) == 0
    assert len(manager._cancel_events) == 0
    assert pipeline.jobs == []
    manager.start_run(scope="full")


def test_every_connection_it_opens_is_closed(manager: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def recorded(path: Any) -> sqlite3.Connection:
        opened.append(get_connection(path))
        return opened[-1]

    monkeypatch.setattr(module, "get_connection", recorded)
    manager.start_run(scope="full")
    join(manager._thread)
    assert opened
    assert all(is_closed(conn) for conn in opened)


# A run that was cancelled and has not stopped


def test_a_start_beside_a_run_that_is_still_stopping_is_refused_at_once(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    assert manager.get_active_run() is None

    with pytest.raises(RuntimeError, match=re.escape(f"Run already running: {run_id} (cancelled, still stopping)")):
        manager.start_run(scope="full")
    assert manager._thread is not None
    assert manager._thread.is_alive()
    assert count_rows(db_path) == 1

    pipeline.release.set()
    join(manager._thread)
    assert manager.start_run(scope="full") == run_id + 1


def test_a_manager_made_after_a_change_of_settings_refuses_it_too(
    make_manager: Callable[..., RunManager], db_path: str, pipeline: Pipeline
) -> None:
    """The application replaces its manager as soon as no row is active."""
    pipeline.holds()
    old = make_manager()
    run_id = old.start_run(scope="full")
    pipeline.wait_until_running()
    old.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")

    new = make_manager(llm_model="other")
    with pytest.raises(RuntimeError, match=re.escape(f"Run already running: {run_id} (cancelled, still stopping)")):
        new.start_run(scope="full")
    assert count_rows(db_path) == 1

    pipeline.release.set()
    join(old._thread)
    assert new.start_run(scope="full") == run_id + 1


def test_a_run_that_is_still_stopping_does_not_hold_up_another_database(
    make_manager: Callable[..., RunManager], db_path: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.holds()
    one = make_manager()
    run_id = one.start_run(scope="full")
    pipeline.wait_until_running()
    one.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")

    path = str(tmp_path / "other.db")
    create_tables(path)
    other = make_manager(path)
    assert other.start_run(scope="full") == run_id
    pipeline.wait_until_running(jobs=2)


def test_a_start_is_accepted_as_soon_as_the_row_is_finished(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    """The thread of the run before has a few things left to put away, but nothing more to write."""
    try_update = manager._try_update_status
    starts: list[object] = []

    def start() -> None:
        try:
            starts.append(manager.start_run(scope="full"))
        except RuntimeError as error:
            starts.append(str(error))

    def start_the_next(*args: Any, **kwargs: Any) -> bool:
        written = try_update(*args, **kwargs)
        if len(starts) == 1:
            in_thread(start).join(DEADLINE)
        return written

    manager._try_update_status = start_the_next  # type: ignore[method-assign]
    start()
    join(manager._thread)
    wait_for(lambda: len(starts) == 2)
    join(manager._thread)
    assert starts == [1, 2]
    assert [row(db_path, run_id)["status"] for run_id in (1, 2)] == ["completed", "completed"]


def test_a_start_is_accepted_as_soon_as_the_terminal_event_is_there(manager: RunManager, pipeline: Pipeline) -> None:
    for run_id in range(1, 51):
        subscription = manager.register_subscriber(run_id)
        assert manager.start_run(scope="full") == run_id
        read_to_end(subscription)
    join(manager._thread)


# An earlier life of the id


def test_what_an_earlier_life_of_the_id_left_is_forgotten(
    manager: RunManager, pipeline: Pipeline, db_path: str
) -> None:
    """As when a project's database was deleted and made again: ids begin at 1 once more."""
    pipeline.says("first life")
    assert manager.start_run(scope="full") == 1
    join(manager._thread)
    assert 1 in manager._completed_runs
    with database_connection(db_path) as conn:
        conn.executescript("DELETE FROM runs; DELETE FROM sqlite_sequence;")

    pipeline.holds()
    assert manager.start_run(scope="full") == 1
    assert 1 not in manager._completed_runs
    assert not manager._cancel_events[1].is_set()
    subscription = manager.register_subscriber(1)
    from_start = manager.register_subscriber(1, after="0")
    assert drain(subscription) == drain(from_start) == []
    pipeline.release.set()
    assert read_to_end(subscription) == read_to_end(from_start) == [terminal(1, "completed")]


# The cancel event


def test_the_cancel_event_exists_before_another_thread_can_see_the_run(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, no_thread: MagicMock
) -> None:
    seen = []

    @contextmanager
    def watched(conn: sqlite3.Connection) -> Iterator[None]:
        with immediate_transaction(conn):
            yield
            seen.append(1 in manager._cancel_events)

    monkeypatch.setattr(module, "immediate_transaction", watched)
    assert manager.start_run(scope="full") == 1
    assert seen == [True]


def test_a_cancel_before_the_thread_starts_is_not_lost(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, db_path: str
) -> None:
    @contextmanager
    def cancelled_on_sight(conn: sqlite3.Connection) -> Iterator[None]:
        with immediate_transaction(conn):
            yield
        manager.cancel_run(1)

    monkeypatch.setattr(module, "immediate_transaction", cancelled_on_sight)
    pipeline.polls()
    manager.start_run(scope="full")
    join(manager._thread)
    assert row(db_path, 1)["status"] == "cancelled"


def test_a_cancel_event_put_there_before_is_the_runs(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    event = threading.Event()
    manager._cancel_events[1] = event
    assert manager.start_run(scope="full") == 1
    assert manager._cancel_events[1] is event
    assert pipeline.wait_until_running().context.cancel_event is event


# The thread


def test_the_run_has_a_daemon_thread_on_execute_run(manager: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    execute_run = MagicMock()
    monkeypatch.setattr(manager, "_execute_run", execute_run)
    run_id = manager.start_run(scope="extract", document_ids=[3])
    join(manager._thread)
    assert manager._thread is not None
    assert manager._thread.daemon
    args, kwargs = execute_run.call_args
    assert args[:2] == (run_id, "extract")
    assert [*args[2:], *kwargs.values()] == [[3]]


def test_the_thread_class_is_looked_up_in_the_module(manager: RunManager, no_thread: MagicMock) -> None:
    manager.start_run(scope="full")
    no_thread.assert_called_once()
    assert no_thread.call_args.kwargs["target"] == manager._execute_run
    no_thread.return_value.start.assert_called_once_with()
    assert manager._thread is no_thread.return_value


# A thread that cannot start


@pytest.fixture(params=["constructor", "start"])
def thread_error(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RuntimeError:
    """The error with which the thread does not start."""
    error = RuntimeError("can't start new thread")
    thread = MagicMock()
    if request.param == "constructor":
        thread.side_effect = error
    else:
        thread.return_value.start.side_effect = error
    monkeypatch.setattr(module, "Thread", thread)
    return error


def start_in_vain(manager: RunManager, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        manager.start_run(scope="full")
    assert caught.value is error


def test_a_thread_that_cannot_start_fails_the_run(
    manager: RunManager, db_path: str, thread_error: RuntimeError
) -> None:
    subscription = manager.register_subscriber(1)
    start_in_vain(manager, thread_error)
    stored = row(db_path, 1)
    assert stored["status"] == "failed"
    assert stored["finished_at"] is not None
    assert stored["error_message"] == "Failed to start execution thread: can't start new thread"
    assert manager._thread is None
    assert read_to_end(subscription)[-1] == terminal(1, "failed")
    assert 1 not in manager._cancel_events
    assert 1 not in manager._subscribers
    assert 1 not in manager._executors


def test_its_error_is_sanitized(
    manager: RunManager, db_path: str, thread_error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    sanitize = MagicMock(return_value="what a user may see")
    monkeypatch.setattr(module, "sanitize_error_message", sanitize)
    start_in_vain(manager, thread_error)
    assert row(db_path, 1)["error_message"] == "what a user may see"
    args, kwargs = sanitize.call_args
    assert args[0] is thread_error
    assert [*args[1:], *kwargs.values()] == ["Failed to start execution thread"]


def test_its_row_is_written_in_a_transaction_on_a_connection_of_its_own(
    manager: RunManager, db_path: str, thread_error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, in_transaction, updates = [], [], []

    @contextmanager
    def recorded_connection(path: Any) -> Iterator[sqlite3.Connection]:
        with database_connection(path) as conn:
            opened.append(conn)
            yield conn

    @contextmanager
    def recorded_transaction(conn: sqlite3.Connection) -> Iterator[None]:
        in_transaction.append(conn)
        with transaction(conn):
            yield

    def recorded_update(conn: sqlite3.Connection, run_id: int, status: str, **columns: Any) -> None:
        updates.append((conn, run_id, status))
        assert conn.in_transaction
        assert columns["finished_at"].tzinfo is not None
        runs_repository.update_run_status(conn, run_id, status, **columns)

    monkeypatch.setattr(module, "database_connection", recorded_connection)
    monkeypatch.setattr(module, "transaction", recorded_transaction)
    monkeypatch.setattr(module, "update_run_status", recorded_update)
    start_in_vain(manager, thread_error)
    assert [(run_id, status) for _, run_id, status in updates] == [(1, "failed")]
    assert updates[0][0] in opened
    assert updates[0][0] in in_transaction
    assert row(db_path, 1)["status"] == "failed"


@pytest.mark.parametrize("broken_part", ["update_run_status", "database_connection"])
def test_its_error_is_raised_also_when_the_row_cannot_be_updated(
    manager: RunManager, thread_error: RuntimeError, monkeypatch: pytest.MonkeyPatch, broken_part: str
) -> None:
    replacement = (
        broken_connection
        if broken_part == "database_connection"
        else broken(sqlite3.OperationalError("database is locked"))
    )

    def create_run(conn: sqlite3.Connection, **columns: Any) -> int:
        monkeypatch.setattr(module, broken_part, replacement)  # from now on
        return runs_repository.create_run(conn, **columns)

    monkeypatch.setattr(module, "create_run", create_run)
    subscription = manager.register_subscriber(1)
    start_in_vain(manager, thread_error)
    *logs, last = read_to_end(subscription)
    assert [event["level"] for event in logs] == ["warning"]
    assert "Failed to update run status" in logs[0]["message"]
    assert logs[0]["run_id"] == 1
    assert last == terminal(1, "failed", status_update_failed=True)
    assert manager._thread is None
    assert 1 not in manager._cancel_events
    assert 1 not in manager._subscribers


def test_its_warning_goes_through_broadcast_log(
    manager: RunManager, thread_error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    broadcast = MagicMock()
    manager._broadcast_log = broadcast  # type: ignore[method-assign]
    monkeypatch.setattr(module, "update_run_status", broken(sqlite3.OperationalError("database is locked")))
    start_in_vain(manager, thread_error)
    messages = texts([call.args[1] for call in broadcast.call_args_list])
    assert any("Failed to update run status" in message for message in messages)


def test_the_next_start_works(
    manager: RunManager, db_path: str, thread_error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_in_vain(manager, thread_error)
    monkeypatch.setattr(module, "Thread", threading.Thread)
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    assert row(db_path, run_id)["status"] == "completed"


def test_thread_is_none_after_an_earlier_run_too(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.start_run(scope="full")
    wait_for(lambda: row(db_path, 1)["status"] == "completed")
    join(manager._thread)
    error = RuntimeError("can't start new thread")
    monkeypatch.setattr(module, "Thread", broken(error))
    start_in_vain(manager, error)
    assert manager._thread is None


def test_a_start_that_ctrl_c_interrupts_had_its_run_end_while_the_pipeline_went_on(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(threading.Thread):
        def start(self) -> None:
            super().start()
            pipeline.wait_until_running()
            raise KeyboardInterrupt

    pipeline.holds()
    monkeypatch.setattr(module, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        manager.start_run(scope="full")
    assert row(db_path, 1)["status"] == "running"
    with pytest.raises(RuntimeError, match="Run already running: 1"):
        manager.start_run(scope="full")
    pipeline.release.set()
    join(manager._thread)
    assert row(db_path, 1)["status"] == "completed"
