"""_try_update_status: the final status into the row."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.db.connection import database_connection
from genglossary.db.runs_repository import RunUpdateResult, create_run, update_run_status_if_active
from genglossary.runs.manager import RunManager

from .support import (
    Pipeline,
    add_run,
    broken,
    broken_connection,
    drain,
    read_to_end,
    row,
    stubborn_connection,
    terminal,
    terms,
    texts,
)

LOCKED = sqlite3.OperationalError("database is locked")
Connect = Callable[[], sqlite3.Connection]


@pytest.fixture
def run_id(db_path: str) -> int:
    """A running row."""
    return add_run(db_path, "running")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that come from `database_connection`."""
    connections: list[sqlite3.Connection] = []

    @contextmanager
    def recorded(path: Any) -> Iterator[sqlite3.Connection]:
        with database_connection(path) as conn:
            connections.append(conn)
            yield conn

    monkeypatch.setattr(module, "database_connection", recorded)
    return connections


def fails_first(monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[Any]:
    """Let the update fail so often; the connections it was tried on."""
    tried: list[Any] = []

    def update(conn: Any, run_id: int, status: str, error_message: str | None = None) -> RunUpdateResult:
        tried.append(conn)
        if len(tried) <= times:
            raise LOCKED
        return update_run_status_if_active(conn, run_id, status, error_message)

    monkeypatch.setattr(module, "update_run_status_if_active", update)
    return tried


# The first try


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_it_writes_and_commits(
    manager: RunManager, run_id: int, db_path: str, connect: Connect, opened: list[sqlite3.Connection], status: str
) -> None:
    assert manager._try_update_status(connect(), run_id, status) is True
    stored = row(db_path, run_id)
    assert (stored["status"], stored["error_message"]) == (status, None)
    assert stored["finished_at"] is not None
    assert opened == []


def test_it_stores_the_error_message(manager: RunManager, run_id: int, db_path: str, connect: Connect) -> None:
    assert manager._try_update_status(connect(), run_id, "failed", error_message="boom")
    assert row(db_path, run_id)["error_message"] == "boom"


def test_the_error_message_by_position(manager: RunManager, run_id: int, db_path: str, connect: Connect) -> None:
    assert manager._try_update_status(connect(), run_id, "failed", "boom")
    assert row(db_path, run_id)["error_message"] == "boom"


def test_it_updates_and_then_commits_on_the_connection_it_is_given(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = MagicMock()
    update = MagicMock(return_value=RunUpdateResult.UPDATED)
    monkeypatch.setattr(module, "update_run_status_if_active", update)
    conn.attach_mock(update, "update")
    assert manager._try_update_status(conn, 1, "completed") is True
    assert update.call_args.args[:3] == (conn, 1, "completed")
    names = [name for name, _, _ in conn.mock_calls]
    assert names.index("update") < names.index("commit")
    conn.commit.assert_called_once_with()
    conn.rollback.assert_not_called()


def test_it_does_not_use_transaction(
    manager: RunManager, run_id: int, db_path: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside an open transaction that would only release a savepoint."""
    monkeypatch.setattr(module, "transaction", broken(AssertionError("transaction was used")))
    conn = connect()
    conn.execute("BEGIN")
    assert manager._try_update_status(conn, run_id, "completed")
    assert not conn.in_transaction
    assert row(db_path, run_id)["status"] == "completed"


def test_uncommitted_rows_are_kept(manager: RunManager, db_path: str, connect: Connect) -> None:
    conn = connect()
    run_id = create_run(conn, "full")
    conn.execute("INSERT INTO terms VALUES ('result')")
    assert conn.in_transaction
    assert manager._try_update_status(conn, run_id, "completed") is True
    assert row(db_path, run_id)["status"] == "completed"
    assert terms(db_path) == ["result"]


# The second try


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_exception_leads_to_one_more_try_on_a_new_connection(
    manager: RunManager,
    run_id: int,
    db_path: str,
    connect: Connect,
    opened: list[sqlite3.Connection],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
) -> None:
    tried = fails_first(monkeypatch)
    subscription = manager.register_subscriber(run_id)
    opened.clear()
    conn = connect()
    assert manager._try_update_status(conn, run_id, status, error_message="text") is True
    assert tried == [conn, *opened]
    assert len(opened) == 1
    assert (row(db_path, run_id)["status"], row(db_path, run_id)["error_message"]) == (status, "text")
    assert subscription.empty()


def test_a_commit_that_fails_leads_to_the_second_try(manager: RunManager, run_id: int, db_path: str) -> None:
    conn = stubborn_connection(db_path, commit=LOCKED)
    assert manager._try_update_status(conn, run_id, "completed") is True
    assert row(db_path, run_id)["status"] == "completed"
    conn.close()


def test_the_second_try_is_not_locked_out_by_what_the_first_left_open(
    manager: RunManager, run_id: int, db_path: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_first(monkeypatch)
    conn = connect()
    conn.execute("INSERT INTO terms VALUES ('uncommitted')")
    assert manager._try_update_status(conn, run_id, "completed") is True
    assert row(db_path, run_id)["status"] == "completed"


def test_a_lock_that_is_released_in_between(
    manager: RunManager, run_id: int, db_path: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    locker, conn = connect(), connect()
    conn.execute("PRAGMA busy_timeout = 0")
    locker.execute("BEGIN IMMEDIATE")

    @contextmanager
    def once_unlocked(path: Any) -> Iterator[sqlite3.Connection]:
        locker.rollback()
        with database_connection(path) as new:
            yield new

    monkeypatch.setattr(module, "database_connection", once_unlocked)
    assert manager._try_update_status(conn, run_id, "completed") is True
    assert row(db_path, run_id)["status"] == "completed"


def test_a_closed_connection_leads_to_the_second_try(
    manager: RunManager, run_id: int, db_path: str, connect: Connect
) -> None:
    conn = connect()
    conn.close()
    assert manager._try_update_status(conn, run_id, "failed", "boom") is True
    assert row(db_path, run_id)["status"] == "failed"


def test_without_a_connection_there_is_one_try_on_a_new_one(
    manager: RunManager, run_id: int, db_path: str, monkeypatch: pytest.MonkeyPatch, opened: list[sqlite3.Connection]
) -> None:
    tried = fails_first(monkeypatch, times=0)
    assert manager._try_update_status(None, run_id, "cancelled") is True
    assert tried == opened
    assert len(tried) == 1
    assert row(db_path, run_id)["status"] == "cancelled"


# Both failed


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_when_both_tries_fail_there_is_a_warning(
    manager: RunManager, run_id: int, db_path: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    tried = fails_first(monkeypatch, times=9)
    subscription = manager.register_subscriber(run_id)
    assert manager._try_update_status(connect(), run_id, status) is False
    assert len(tried) == 2
    (event,) = drain(subscription)
    assert (event["run_id"], event["level"]) == (run_id, "warning")
    assert event["message"].startswith(f"Failed to update {status} status: ")
    assert "database is locked" in event["message"]
    assert row(db_path, run_id)["status"] == "running"


def test_without_a_connection_one_failure_is_enough(
    manager: RunManager, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fails_first(monkeypatch, times=9)
    subscription = manager.register_subscriber(run_id)
    assert manager._try_update_status(None, run_id, "completed") is False
    assert len(tried) == 1
    assert [event["level"] for event in drain(subscription)] == ["warning"]


def test_a_new_connection_that_cannot_be_opened_is_a_failure(
    manager: RunManager, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = manager.register_subscriber(run_id)
    monkeypatch.setattr(module, "database_connection", broken_connection)
    assert manager._try_update_status(None, run_id, "completed") is False
    (event,) = drain(subscription)
    assert event["message"].startswith("Failed to update completed status: ")


def test_the_warning_goes_through_broadcast_log(manager: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = MagicMock()
    manager._broadcast_log = broadcast  # type: ignore[method-assign]
    fails_first(monkeypatch, times=9)
    assert manager._try_update_status(MagicMock(), 1, "completed") is False
    broadcast.assert_called_once()
    assert broadcast.call_args.args[0] == 1
    assert broadcast.call_args.args[1]["level"] == "warning"


# Results other than UPDATED


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (RunUpdateResult.NOT_FOUND, "run not found"),
        (RunUpdateResult.NOT_IN_EXPECTED_STATE, "run not in expected state"),
    ],
)
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("with_connection", [True, False])
def test_another_result_is_no_failure(
    manager: RunManager,
    run_id: int,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    result: RunUpdateResult,
    reason: str,
    status: str,
    with_connection: bool,
) -> None:
    update = MagicMock(return_value=result)
    monkeypatch.setattr(module, "update_run_status_if_active", update)
    subscription = manager.register_subscriber(run_id)
    conn = connect() if with_connection else None
    assert manager._try_update_status(conn, run_id, status) is True
    assert update.call_count == 1
    assert drain(subscription) == [
        {"run_id": run_id, "level": "info", "message": f"{status.capitalize()} skipped: {reason}"}
    ]


def test_a_run_that_is_not_there(manager: RunManager, connect: Connect) -> None:
    subscription = manager.register_subscriber(77)
    assert manager._try_update_status(connect(), 77, "completed") is True
    assert texts(drain(subscription)) == ["Completed skipped: run not found"]


@pytest.mark.parametrize("before", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_terminal_status_is_never_overwritten(
    manager: RunManager, db_path: str, connect: Connect, before: str, status: str
) -> None:
    run_id = add_run(db_path, before, finished_at="2024-01-01T00:00:00+00:00", error_message="first")
    stored = row(db_path, run_id)
    assert manager._try_update_status(connect(), run_id, status, "second") is True
    assert row(db_path, run_id) == stored


def test_the_info_goes_through_broadcast_log(manager: RunManager, connect: Connect) -> None:
    broadcast = MagicMock()
    manager._broadcast_log = broadcast  # type: ignore[method-assign]
    manager._try_update_status(connect(), 77, "cancelled")
    broadcast.assert_called_once()
    assert broadcast.call_args.args[1]["message"] == "Cancelled skipped: run not found"


# A whole run


def test_a_success_is_never_recorded_as_a_failure_because_the_database_was_locked(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    run_id = add_run(db_path)
    statuses = []

    def locked(conn: Any, run_id: int, status: str, error_message: str | None = None) -> RunUpdateResult:
        statuses.append(status)
        raise LOCKED

    monkeypatch.setattr(module, "update_run_status_if_active", locked)
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert statuses == ["completed", "completed"]
    *logs, last = read_to_end(subscription)
    assert [event["level"] for event in logs] == ["warning"]
    assert last == terminal(run_id, "completed", status_update_failed=True)
    assert row(db_path, run_id)["status"] == "running"


def test_a_lock_during_the_first_try_does_not_lose_the_status_of_a_run(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add_run(db_path)
    fails_first(monkeypatch)
    manager._execute_run(run_id, "full")
    assert row(db_path, run_id)["status"] == "completed"
    assert manager._completed_runs[run_id] == terminal(run_id, "completed")
