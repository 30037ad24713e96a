"""_execute_run: what it sets up, and what it tears down whatever happened."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY, MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.db.connection import database_connection, get_connection
from genglossary.db.runs_repository import RunUpdateResult, update_run_status
from genglossary.runs.executor import Job, PipelineCancelledException
from genglossary.runs.manager import RunManager

from .support import (
    Pipeline,
    add_run,
    broken,
    broken_connection,
    is_closed,
    log,
    read_to_end,
    row,
    set_status,
    stubborn_connection,
    terminal,
    terms,
    texts,
)


@pytest.fixture
def run_id(db_path: str) -> int:
    """A pending row."""
    return add_run(db_path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that come from `get_connection`."""
    connections: list[sqlite3.Connection] = []

    def recorded(path: Any) -> sqlite3.Connection:
        connections.append(get_connection(path))
        return connections[-1]

    monkeypatch.setattr(module, "get_connection", recorded)
    return connections


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The class of executors, as a mock."""
    mock = MagicMock()
    monkeypatch.setattr(module, "PipelineExecutor", mock)
    return mock


# Called directly


def test_it_runs_in_the_current_thread(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    threads = []
    pipeline.does(lambda job: threads.append(threading.current_thread()))
    manager._execute_run(run_id, "full")
    assert threads == [threading.current_thread()]
    assert manager._thread is None


def test_the_parameters_by_keyword(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    manager._execute_run(run_id=run_id, scope="extract", document_ids=[4, 5])
    assert (pipeline.jobs[0].scope, pipeline.jobs[0].document_ids) == ("extract", [4, 5])


def test_a_missing_cancel_event_is_made(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    inside = []

    def work(job: Job) -> None:
        inside.append(run_id in manager._cancel_events)
        assert not job.context.cancel_event.is_set()
        manager.cancel_run(run_id)
        assert job.context.cancel_event.is_set()
        raise PipelineCancelledException

    pipeline.does(work)
    manager._execute_run(run_id, "full")
    assert inside == [True]
    assert manager._completed_runs[run_id] == terminal(run_id, "cancelled")


def test_a_cancel_event_put_there_before_is_used(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    event = threading.Event()
    manager._cancel_events[run_id] = event
    manager._execute_run(run_id, "full")
    assert pipeline.jobs[0].context.cancel_event is event


def test_a_subscriber_from_before_receives_the_run(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    subscription = manager.register_subscriber(run_id)
    pipeline.says("one", "two")
    manager._execute_run(run_id, "full")
    assert read_to_end(subscription) == [log(run_id, "one"), log(run_id, "two"), terminal(run_id, "completed")]


def test_without_a_row_it_ends_all_the_same(manager: RunManager, pipeline: Pipeline) -> None:
    subscription = manager.register_subscriber(99)
    manager._execute_run(99, "full")
    assert read_to_end(subscription)[-1]["run_id"] == 99
    assert 99 not in manager._cancel_events


# The row


def test_the_row_is_running_while_the_pipeline_runs(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline
) -> None:
    seen = []
    pipeline.does(lambda job: seen.append(row(db_path, run_id)))
    manager._execute_run(run_id, "full")
    assert seen[0]["status"] == "running"
    assert datetime.fromisoformat(seen[0]["started_at"]).tzinfo is not None
    assert seen[0]["finished_at"] is None
    after = row(db_path, run_id)
    assert after["status"] == "completed"
    assert after["started_at"] == seen[0]["started_at"]
    assert after["finished_at"] is not None


def test_the_start_is_written_with_update_run_status(
    manager: RunManager, run_id: int, monkeypatch: pytest.MonkeyPatch, opened: list[sqlite3.Connection]
) -> None:
    update = MagicMock(side_effect=update_run_status)
    monkeypatch.setattr(module, "update_run_status", update)
    manager._execute_run(run_id, "full")
    update.assert_called_once_with(opened[0], run_id, "running", started_at=ANY)
    assert update.call_args.kwargs["started_at"].tzinfo is not None


@pytest.mark.parametrize("status", ["cancelled", "completed", "failed"])
def test_a_finished_row_is_left_alone_and_the_pipeline_skipped(
    manager: RunManager, db_path: str, pipeline: Pipeline, status: str
) -> None:
    run_id = add_run(db_path, status, finished_at="2024-01-01T00:00:00+00:00")
    before = row(db_path, run_id)
    manager._execute_run(run_id, "full")
    assert pipeline.jobs == []
    assert row(db_path, run_id) == before
    assert manager._completed_runs[run_id] == terminal(run_id, status)
    assert run_id not in manager._cancel_events


def test_a_delete_before_the_thread_came_ends_as_cancelled(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Thread", MagicMock())
    run_id = manager.start_run(scope="full")
    subscription = manager.register_subscriber(run_id)
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    manager._execute_run(run_id, "full")
    assert pipeline.jobs == []
    assert row(db_path, run_id)["status"] == "cancelled"
    assert row(db_path, run_id)["started_at"] is None
    events = read_to_end(subscription)
    assert events[-1] == terminal(run_id, "cancelled")
    assert "error" not in [event.get("level") for event in events]


def test_a_delete_at_the_very_start_is_not_overwritten(
    manager: RunManager, run_id: int, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = []

    def delete_first(conn: sqlite3.Connection, run_id: int, status: str, **columns: Any) -> None:
        with database_connection(db_path) as other:
            other.execute("PRAGMA busy_timeout = 0")
            try:
                other.execute("UPDATE runs SET status = 'cancelled' WHERE id = ?", (run_id,))
                other.commit()
                deleted.append(True)
            except sqlite3.OperationalError:  # the run holds the write lock: the DELETE comes after it
                deleted.append(False)
        update_run_status(conn, run_id, status, **columns)

    monkeypatch.setattr(module, "update_run_status", delete_first)
    manager._execute_run(run_id, "full")
    assert row(db_path, run_id)["status"] == ("cancelled" if deleted == [True] else "completed")


# The pipeline's context and executor


def test_the_executor_is_made_of_the_managers_settings(
    make_manager: Callable[..., RunManager], run_id: int, db_path: str, executor: MagicMock
) -> None:
    manager = make_manager(
        doc_root="docs", llm_provider="openai", llm_model="gpt", llm_base_url="http://127.0.0.1:9/v1"
    )
    manager._execute_run(run_id, "full")
    executor.assert_called_once_with(
        provider="openai",
        model="gpt",
        base_url="http://127.0.0.1:9/v1",
        llm_debug=False,
        debug_dir=str(Path(db_path).parent / "llm-debug"),
    )
    assert type(executor.call_args.kwargs["debug_dir"]) is str


def test_no_base_url_is_none(manager: RunManager, run_id: int, executor: MagicMock) -> None:
    manager._execute_run(run_id, "full")
    assert executor.call_args.kwargs["base_url"] is None


@pytest.mark.parametrize("llm_debug", [True, False])
def test_llm_debug_is_that_of_the_config(
    manager: RunManager, run_id: int, executor: MagicMock, monkeypatch: pytest.MonkeyPatch, llm_debug: bool
) -> None:
    monkeypatch.setattr(module, "Config", MagicMock(return_value=MagicMock(llm_debug=llm_debug)))
    manager._execute_run(run_id, "full")
    assert executor.call_args.kwargs["llm_debug"] is llm_debug


def test_it_executes_with_the_connection_the_scope_and_the_context(
    make_manager: Callable[..., RunManager], run_id: int, executor: MagicMock, opened: list[sqlite3.Connection]
) -> None:
    make_manager(doc_root="docs")._execute_run(run_id, "extract", document_ids=[1])
    executor.return_value.execute.assert_called_once_with(opened[0], "extract", ANY, doc_root="docs", document_ids=[1])
    context = executor.return_value.execute.call_args.args[2]
    assert context.run_id == run_id
    assert not context.cancel_event.is_set()


def test_without_document_ids_it_passes_none(manager: RunManager, run_id: int, executor: MagicMock) -> None:
    manager._execute_run(run_id, "full")
    assert executor.return_value.execute.call_args.kwargs == {"doc_root": ".", "document_ids": None}


def test_the_context_is_made_by_keyword(
    manager: RunManager, run_id: int, executor: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = MagicMock()
    monkeypatch.setattr(module, "ExecutionContext", context)
    manager._execute_run(run_id, "full")
    context.assert_called_once_with(run_id=run_id, log_callback=ANY, cancel_event=ANY)
    assert executor.return_value.execute.call_args.args[2] is context.return_value


def test_the_pipelines_logs_go_through_broadcast_log(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    broadcast = MagicMock()
    manager._broadcast_log = broadcast  # type: ignore[method-assign]
    pipeline.says("用語")
    manager._execute_run(run_id, "full")
    broadcast.assert_any_call(run_id, log(run_id, "用語"))


def test_broadcast_log_is_looked_up_when_a_message_comes(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    """A test may replace it while the pipeline runs."""
    broadcast = MagicMock()

    def work(job: Job) -> None:
        manager._broadcast_log = broadcast  # type: ignore[method-assign]
        job.log("late")

    pipeline.does(work)
    manager._execute_run(run_id, "full")
    broadcast.assert_any_call(run_id, log(run_id, "late"))


def test_the_executor_is_there_only_while_the_pipeline_runs(
    manager: RunManager, run_id: int, pipeline: Pipeline
) -> None:
    seen = []
    pipeline.does(lambda job: seen.append(manager._executors[run_id] is job.executor))
    manager._execute_run(run_id, "full")
    assert seen == [True]
    assert run_id not in manager._executors


# The end, whatever failed before it

OUTCOMES = [
    pytest.param(None, "completed", id="completed"),
    pytest.param(ValueError("boom"), "failed", id="failed"),
    pytest.param(PipelineCancelledException(), "cancelled", id="cancelled"),
]


@pytest.mark.parametrize(("error", "status"), OUTCOMES)
def test_everything_is_put_away(
    manager: RunManager,
    run_id: int,
    db_path: str,
    pipeline: Pipeline,
    opened: list[sqlite3.Connection],
    error: Exception | None,
    status: str,
) -> None:
    subscription = manager.register_subscriber(run_id)
    if error:
        pipeline.raises(error)
    else:
        pipeline.does(lambda job: None)
    manager._execute_run(run_id, "full")
    assert pipeline.jobs[0].executor.closed
    assert row(db_path, run_id)["status"] == status
    assert read_to_end(subscription)[-1] == terminal(run_id, status)
    assert run_id not in manager._cancel_events
    assert run_id not in manager._subscribers
    assert run_id not in manager._executors
    assert manager._completed_runs[run_id] == terminal(run_id, status)
    assert all(is_closed(conn) for conn in opened)


@pytest.mark.parametrize(("error", "status"), OUTCOMES)
def test_an_error_of_close_does_not_change_the_outcome(
    manager: RunManager, run_id: int, db_path: str, executor: MagicMock, error: Exception | None, status: str
) -> None:
    executor.return_value.execute.side_effect = error
    executor.return_value.close.side_effect = OSError("close failed")
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    executor.return_value.close.assert_called()
    stored = row(db_path, run_id)
    assert stored["status"] == status
    assert stored["error_message"] == ("boom" if status == "failed" else None)
    assert read_to_end(subscription)[-1] == terminal(run_id, status)


def test_the_status_is_written_before_the_terminal_event(
    manager: RunManager, run_id: int, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    cleanup = RunManager._cleanup_run_resources

    def watched(self: RunManager, run_id: int, *args: Any, **kwargs: Any) -> None:
        seen.append(row(db_path, run_id)["status"])
        cleanup(self, run_id, *args, **kwargs)

    monkeypatch.setattr(RunManager, "_cleanup_run_resources", watched)
    manager._execute_run(run_id, "full")
    assert seen[0] == "completed"


def test_the_end_goes_on_when_writing_the_status_raises(
    manager: RunManager, run_id: int, opened: list[sqlite3.Connection]
) -> None:
    manager._try_update_status = broken(ValueError("unforeseen"))  # type: ignore[method-assign]
    subscription = manager.register_subscriber(run_id)
    with contextlib.suppress(ValueError):
        manager._execute_run(run_id, "full")
    assert read_to_end(subscription)[-1] == terminal(run_id, "completed", status_update_failed=True)
    assert run_id not in manager._cancel_events
    assert run_id not in manager._executors
    assert all(is_closed(conn) for conn in opened)


def test_the_end_goes_on_when_broadcasting_raises(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline, opened: list[sqlite3.Connection]
) -> None:
    pipeline.raises(ValueError("boom"))
    manager._broadcast_log = broken(TypeError("unforeseen"))  # type: ignore[method-assign]
    subscription = manager.register_subscriber(run_id)
    with contextlib.suppress(TypeError):
        manager._execute_run(run_id, "full")
    assert row(db_path, run_id)["status"] == "failed"
    assert read_to_end(subscription) == [terminal(run_id, "failed")]
    assert run_id not in manager._cancel_events
    assert all(is_closed(conn) for conn in opened)


def test_the_connection_is_closed_when_the_cleanup_raises(
    manager: RunManager, run_id: int, opened: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(manager, "_cleanup_run_resources", broken(ValueError("unforeseen")))
        with contextlib.suppress(ValueError):
            manager._execute_run(run_id, "full")
    assert all(is_closed(conn) for conn in opened)


def test_a_connection_that_does_not_close_does_not_change_the_outcome(
    manager: RunManager, run_id: int, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = stubborn_connection(db_path, close=sqlite3.OperationalError("cannot close"))
    monkeypatch.setattr(module, "get_connection", MagicMock(return_value=conn))
    subscription = manager.register_subscriber(run_id)
    with contextlib.suppress(sqlite3.OperationalError):
        manager._execute_run(run_id, "full")
    sqlite3.Connection.close(conn)
    assert read_to_end(subscription)[-1] == terminal(run_id, "completed")
    assert row(db_path, run_id)["status"] == "completed"


# What was left uncommitted


@pytest.mark.parametrize(("error", "status"), OUTCOMES)
def test_only_a_success_keeps_what_was_left_uncommitted(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline, error: Exception | None, status: str
) -> None:
    def work(job: Job) -> None:
        job.conn.execute("INSERT INTO terms VALUES ('committed')")
        job.conn.commit()
        job.conn.execute("INSERT INTO terms VALUES ('uncommitted')")
        if error:
            raise error

    pipeline.does(work)
    manager._execute_run(run_id, "full")
    assert terms(db_path) == (["committed"] if error else ["committed", "uncommitted"])
    assert row(db_path, run_id)["status"] == status


def test_it_is_rolled_back_before_the_status_is_written(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    open_transactions = []
    try_update = manager._try_update_status

    def watched(conn: Any, *args: Any, **kwargs: Any) -> bool:
        open_transactions.append(conn.in_transaction)
        return try_update(conn, *args, **kwargs)

    def work(job: Job) -> None:
        job.conn.execute("INSERT INTO terms VALUES ('uncommitted')")
        raise ValueError("boom")

    manager._try_update_status = watched  # type: ignore[method-assign]
    pipeline.does(work)
    manager._execute_run(run_id, "full")
    assert open_transactions == [False]


@pytest.mark.parametrize("error", [sqlite3.OperationalError("cannot roll back"), RuntimeError("unforeseen")])
def test_a_roll_back_that_fails_does_not_change_the_outcome(
    manager: RunManager,
    run_id: int,
    db_path: str,
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    conn = stubborn_connection(db_path, rollback=error)
    monkeypatch.setattr(module, "get_connection", MagicMock(return_value=conn))
    pipeline.raises(ValueError("boom"))
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert read_to_end(subscription)[-1] == terminal(run_id, "failed")
    assert row(db_path, run_id)["status"] == "failed"


# A failure before the pipeline


def assert_failed_before_the_pipeline(events: list[dict[str, Any]], run_id: int, message: str) -> None:
    *logs, last = events
    assert last == terminal(run_id, "failed")
    errors = [event for event in logs if event["level"] == "error"]
    assert len(errors) == 1
    assert errors[0]["message"] == f"Run failed: {message}"
    assert errors[0]["run_id"] == run_id


@pytest.mark.parametrize(
    "name", ["get_connection", "update_run_status", "Config", "ExecutionContext", "PipelineExecutor"]
)
def test_a_failure_before_the_pipeline_ends_as_failed(
    manager: RunManager, run_id: int, db_path: str, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, name: str
) -> None:
    monkeypatch.setattr(module, name, broken(OSError("out of order")))
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert_failed_before_the_pipeline(read_to_end(subscription), run_id, "out of order")
    stored = row(db_path, run_id)
    assert (stored["status"], stored["error_message"]) == ("failed", "out of order")
    assert stored["finished_at"] is not None
    assert pipeline.jobs == []
    assert run_id not in manager._cancel_events
    assert run_id not in manager._executors


def test_a_database_that_cannot_be_opened_at_all(manager: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "get_connection", broken(sqlite3.OperationalError("unable to open database file")))
    monkeypatch.setattr(module, "database_connection", broken_connection)
    subscription = manager.register_subscriber(5)
    manager._execute_run(5, "full")
    *logs, last = read_to_end(subscription)
    assert last == terminal(5, "failed", status_update_failed=True)
    assert {event["level"] for event in logs} == {"error", "warning"}
    assert any(message.startswith("Run failed: unable to open") for message in texts(logs))
    assert any(message.startswith("Failed to update failed status: ") for message in texts(logs))
    assert 5 not in manager._cancel_events


# A connection that is a mock


@pytest.fixture
def mock_connection(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A mock in the place of every connection, under the application's real repository."""
    conn = MagicMock()

    @contextmanager
    def connection(path: Any) -> Iterator[MagicMock]:
        yield conn

    monkeypatch.setattr(module, "get_connection", MagicMock(return_value=conn))
    monkeypatch.setattr(module, "database_connection", connection)
    return conn


@pytest.mark.parametrize("result", list(RunUpdateResult))
def test_a_mock_connection_will_do(
    manager: RunManager,
    mock_connection: MagicMock,
    monkeypatch: pytest.MonkeyPatch,
    executor: MagicMock,
    result: RunUpdateResult,
) -> None:
    update = MagicMock(return_value=result)
    monkeypatch.setattr(module, "update_run_status", MagicMock())
    monkeypatch.setattr(module, "update_run_status_if_active", update)
    subscription = manager.register_subscriber(1)
    manager._execute_run(1, "full")
    executor.return_value.execute.assert_called_once_with(mock_connection, "full", ANY, doc_root=".", document_ids=None)
    assert update.call_args.args[1:3] == (1, "completed")
    mock_connection.commit.assert_called()
    mock_connection.close.assert_called()
    assert read_to_end(subscription)[-1] == terminal(1, "completed")


@pytest.mark.parametrize("error", [None, ValueError("boom"), PipelineCancelledException()])
def test_a_mock_connection_will_do_for_every_outcome(
    manager: RunManager, mock_connection: MagicMock, executor: MagicMock, error: Exception | None
) -> None:
    executor.return_value.execute.side_effect = error
    subscription = manager.register_subscriber(1)
    manager._execute_run(1, "full")
    executor.return_value.close.assert_called()
    mock_connection.close.assert_called()
    assert read_to_end(subscription)[-1]["run_id"] == 1
    assert 1 not in manager._cancel_events
