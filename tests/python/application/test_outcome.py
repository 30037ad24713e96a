"""Completed, failed or cancelled."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.runs.executor import Job, PipelineCancelledException
from genglossary.runs.manager import RunManager

from .support import Pipeline, add_run, broken, join, read_to_end, row, set_status, terminal, terms, texts


class Stop(BaseException):
    """An exception that no `except Exception` catches."""


@pytest.fixture
def run_id(db_path: str) -> int:
    """A pending row."""
    return add_run(db_path)


def outcome(manager: RunManager, run_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Execute the run; its row, and what a subscriber received."""
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    stored = manager.get_run(run_id)
    assert stored is not None
    return dict(stored), read_to_end(subscription)


# Cancelled


def test_a_pipeline_that_saw_the_cancel_is_cancelled(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    pipeline.raises(PipelineCancelledException("stopped at step 2"))
    stored, events = outcome(manager, run_id)
    assert stored["status"] == "cancelled"
    assert stored["error_message"] is None
    assert stored["finished_at"] is not None
    assert events == [terminal(run_id, "cancelled")]


@pytest.mark.parametrize("error", [ConnectionError("closed"), ValueError("boom"), sqlite3.OperationalError("locked")])
def test_any_exception_after_a_cancel_is_cancelled(
    manager: RunManager, run_id: int, pipeline: Pipeline, error: Exception
) -> None:
    def work(job: Job) -> None:
        manager.cancel_run(run_id)
        raise error

    pipeline.does(work)
    stored, events = outcome(manager, run_id)
    assert (stored["status"], stored["error_message"]) == ("cancelled", None)
    assert events == [terminal(run_id, "cancelled")]


def test_a_blocked_call_that_ends_by_the_cancel_is_cancelled(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    pipeline.asks_model()
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    subscription = manager.register_subscriber(run_id)
    manager.cancel_run(run_id)
    join(manager._thread)
    assert (row(db_path, run_id)["status"], row(db_path, run_id)["error_message"]) == ("cancelled", None)
    assert read_to_end(subscription) == [terminal(run_id, "cancelled")]


def test_an_event_put_there_before_counts_as_the_cancel(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    event = threading.Event()
    manager._cancel_events[run_id] = event

    def work(job: Job) -> None:
        event.set()
        raise ValueError("boom")

    pipeline.does(work)
    stored, _ = outcome(manager, run_id)
    assert stored["status"] == "cancelled"


# Failed


def test_any_other_exception_is_a_failure(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    pipeline.raises(ValueError("用語がありません"))
    stored, events = outcome(manager, run_id)
    assert stored["status"] == "failed"
    assert stored["error_message"] == "用語がありません"
    assert stored["finished_at"] is not None
    error, last = events
    assert error["run_id"] == run_id
    assert error["level"] == "error"
    assert error["message"] == "Run failed: 用語がありません"
    assert "Traceback" in error["traceback"]
    assert "ValueError: 用語がありません" in error["traceback"]
    assert last == terminal(run_id, "failed")


def test_the_message_is_sanitized(
    manager: RunManager, run_id: int, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ValueError("no such file: /home/someone/secret.txt")
    sanitize = MagicMock(return_value="no such file")
    monkeypatch.setattr(module, "sanitize_error_message", sanitize)
    pipeline.raises(error)
    stored, events = outcome(manager, run_id)
    assert sanitize.call_args.args[0] is error
    assert stored["error_message"] == "no such file"
    assert events[0]["message"] == "Run failed: no such file"


def test_an_error_without_a_text_has_a_message(manager: RunManager, run_id: int, pipeline: Pipeline) -> None:
    pipeline.raises(ValueError())
    stored, _ = outcome(manager, run_id)
    assert stored["error_message"]


@pytest.mark.parametrize("error", [Stop("stop"), KeyboardInterrupt("stop"), SystemExit("stop"), GeneratorExit("stop")])
def test_a_base_exception_is_a_failure_and_raised_again(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline, error: BaseException
) -> None:
    def work(job: Job) -> None:
        job.conn.execute("INSERT INTO terms VALUES ('uncommitted')")
        raise error

    pipeline.does(work)
    subscription = manager.register_subscriber(run_id)
    with pytest.raises(type(error)) as caught:
        manager._execute_run(run_id, "full")
    assert caught.value is error
    stored = row(db_path, run_id)
    assert (stored["status"], stored["error_message"]) == ("failed", "stop")
    assert terms(db_path) == []
    log, last = read_to_end(subscription)
    assert (log["level"], log["message"]) == ("error", "Run failed: stop")
    assert type(error).__name__ in log["traceback"]
    assert last == terminal(run_id, "failed")
    assert run_id not in manager._cancel_events
    assert run_id not in manager._executors
    assert pipeline.jobs[0].executor.closed


def test_a_base_exception_is_raised_again_when_the_status_cannot_be_written(
    manager: RunManager, run_id: int, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "update_run_status_if_active", broken(sqlite3.OperationalError("database is locked")))
    pipeline.raises(Stop("stop"))
    subscription = manager.register_subscriber(run_id)
    with pytest.raises(Stop):
        manager._execute_run(run_id, "full")
    assert read_to_end(subscription)[-1] == terminal(run_id, "failed", status_update_failed=True)


# Completed


def test_no_exception_is_a_success(manager: RunManager, run_id: int) -> None:
    stored, events = outcome(manager, run_id)
    assert (stored["status"], stored["error_message"]) == ("completed", None)
    assert events == [terminal(run_id, "completed")]


def test_a_cancel_that_came_too_late_keeps_the_result(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline
) -> None:
    def work(job: Job) -> None:
        job.conn.execute("INSERT INTO terms VALUES ('result')")
        manager.cancel_run(run_id)

    pipeline.does(work)
    stored, events = outcome(manager, run_id)
    assert (stored["status"], stored["error_message"]) == ("completed", None)
    assert events == [terminal(run_id, "completed")]
    assert terms(db_path) == ["result"]


# What the terminal event says of the row


@pytest.mark.parametrize("error", [None, ValueError("boom"), PipelineCancelledException()])
@pytest.mark.parametrize("status", ["cancelled", "completed", "failed"])
def test_a_status_already_terminal_stays_and_is_what_subscribers_hear(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline, error: Exception | None, status: str
) -> None:
    def work(job: Job) -> None:
        set_status(db_path, run_id, status)
        if error:
            raise error

    pipeline.does(work)
    stored, events = outcome(manager, run_id)
    assert stored["status"] == status
    assert events[-1] == terminal(run_id, status)


def test_a_delete_during_the_run_is_what_subscribers_hear(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    subscription = manager.register_subscriber(run_id)
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    pipeline.release.set()
    events = read_to_end(subscription)
    assert "Completed skipped: run not in expected state" in texts(events)
    assert events[-1] == terminal(run_id, "cancelled")
    assert row(db_path, run_id)["status"] == "cancelled"


@pytest.mark.parametrize(("written", "extra"), [(True, {}), (False, {"status_update_failed": True})])
def test_a_replaced_try_update_status_decides(
    manager: RunManager, run_id: int, written: bool, extra: dict[str, Any]
) -> None:
    replacement = MagicMock(return_value=written)
    manager._try_update_status = replacement  # type: ignore[method-assign]
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    replacement.assert_called_once()
    assert replacement.call_args.args[1:3] == (run_id, "completed")
    assert read_to_end(subscription)[-1] == terminal(run_id, "completed", **extra)


def test_a_row_that_cannot_be_read_again_leaves_the_outcome(
    manager: RunManager, run_id: int, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(job: Job) -> None:
        set_status(db_path, run_id, "cancelled")
        monkeypatch.setattr(module, "get_run", broken(sqlite3.OperationalError("disk I/O error")))

    pipeline.does(work)
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert read_to_end(subscription)[-1]["db_status"] in ("completed", "cancelled")


# _finalize_run_status

FINALIZED: list[Any] = [
    (None, "completed"),
    (PipelineCancelledException(), "cancelled"),
    (ValueError("boom"), "failed"),
]


@pytest.mark.parametrize(("error", "status"), FINALIZED)
@pytest.mark.parametrize("with_connection", [True, False])
def test_finalize_says_what_it_wrote(
    manager: RunManager,
    db_path: str,
    connect: Callable[[], sqlite3.Connection],
    error: BaseException | None,
    status: str,
    with_connection: bool,
) -> None:
    run_id = add_run(db_path, "running")
    conn = connect() if with_connection else None
    assert manager._finalize_run_status(conn, run_id, pipeline_error=error) == (status, True)
    stored = row(db_path, run_id)
    assert (stored["status"], stored["error_message"]) == (status, "boom" if status == "failed" else None)


@pytest.mark.parametrize(("error", "status"), FINALIZED)
def test_finalize_says_when_nothing_was_written(
    manager: RunManager, run_id: int, error: BaseException | None, status: str
) -> None:
    manager._try_update_status = MagicMock(return_value=False)  # type: ignore[method-assign]
    assert manager._finalize_run_status(MagicMock(), run_id, pipeline_error=error) == (status, False)


def test_finalize_reports_a_failure_with_the_traceback_it_is_given(manager: RunManager, db_path: str) -> None:
    run_id = add_run(db_path, "running")
    subscription = manager.register_subscriber(run_id)
    manager._finalize_run_status(
        None, run_id, pipeline_error=ValueError("boom"), pipeline_traceback="Traceback: the text"
    )
    event = subscription.get_nowait()
    assert event == {
        "run_id": run_id,
        "level": "error",
        "message": "Run failed: boom",
        "traceback": "Traceback: the text",
    }


def test_finalize_after_a_cancel_is_cancelled(manager: RunManager, db_path: str) -> None:
    run_id = add_run(db_path, "running")
    manager._cancel_events[run_id] = threading.Event()
    manager.cancel_run(run_id)
    assert manager._finalize_run_status(None, run_id, pipeline_error=ConnectionError("closed")) == ("cancelled", True)


def test_finalize_reports_a_failure_through_broadcast_log(manager: RunManager, run_id: int) -> None:
    broadcast = MagicMock()
    manager._broadcast_log = broadcast  # type: ignore[method-assign]
    manager._finalize_run_status(None, run_id, pipeline_error=ValueError("boom"))
    assert [call.args[0] for call in broadcast.call_args_list] == [run_id]
    assert broadcast.call_args.args[1]["message"] == "Run failed: boom"


def test_finalize_of_a_success_is_never_recorded_as_a_failure(
    manager: RunManager, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = MagicMock(side_effect=sqlite3.OperationalError("database is locked"))
    monkeypatch.setattr(module, "update_run_status_if_active", update)
    assert manager._finalize_run_status(None, run_id, pipeline_error=None) == ("completed", False)
    assert {call.args[2] for call in update.call_args_list} == {"completed"}
