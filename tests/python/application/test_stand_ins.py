"""What tests of the application may put in the place of its parts: the manager takes it as it comes."""

import threading
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.db.connection import get_connection
from genglossary.db.runs_repository import RunUpdateResult, create_run
from genglossary.runs.manager import RunManager

from .support import DEADLINE, Pipeline, join, set_status, terminal


def test_a_connection_with_an_open_transaction(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = get_connection(db_path)
    run_id = create_run(conn, "full")
    monkeypatch.setattr(module, "get_connection", lambda path: conn)
    manager._execute_run(run_id, "full")
    assert manager._completed_runs[run_id] == terminal(run_id, "completed")


def test_a_mock_connection_under_an_immediate_transaction_that_checks(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def strict(conn: Any) -> Any:
        if conn.in_transaction:
            raise RuntimeError("does not nest")
        yield

    monkeypatch.setattr(module, "get_connection", MagicMock())
    monkeypatch.setattr(module, "immediate_transaction", strict)
    monkeypatch.setattr(module, "update_run_status", MagicMock())
    monkeypatch.setattr(module, "update_run_status_if_active", MagicMock(return_value=RunUpdateResult.UPDATED))
    manager._execute_run(1, "full")
    assert manager._completed_runs[1] == terminal(1, "completed")


@pytest.mark.parametrize("found", [{"id": 7}, object(), (7, "full", "running")])
@pytest.mark.parametrize("name", ["get_active_run", "get_current_or_latest_run"])
def test_reads_return_what_the_repository_gives(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, name: str, found: Any
) -> None:
    monkeypatch.setattr(module, name, MagicMock(return_value=found))
    assert getattr(manager, name)() is found


@pytest.mark.parametrize("found", [{"id": 7}, object(), (7, "full", "running")])
def test_a_run_whose_row_is_a_fake(manager: RunManager, monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    monkeypatch.setattr(module, "get_run", MagicMock(return_value=found))
    manager._execute_run(7, "full")
    assert manager._completed_runs[7] == terminal(7, "completed")


def test_threads_replaced_everywhere(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    set_status(db_path, run_id, "completed")
    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", MagicMock())
        with pytest.raises(RuntimeError, match="already running"):
            manager.start_run(scope="full")


def test_a_database_in_memory_is_its_managers_own(make_manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "database_connection", MagicMock())
    monkeypatch.setattr(module, "immediate_transaction", MagicMock())
    monkeypatch.setattr(module, "get_active_run", MagicMock(return_value=None))
    monkeypatch.setattr(module, "create_run", MagicMock(return_value=1))
    release = threading.Event()
    monkeypatch.setattr(RunManager, "_execute_run", lambda *args: release.wait(DEADLINE))
    one, other = make_manager(":memory:"), make_manager(":memory:")
    assert one.start_run(scope="full") == other.start_run(scope="full") == 1
    release.set()
    for manager in (one, other):
        join(manager._thread)
