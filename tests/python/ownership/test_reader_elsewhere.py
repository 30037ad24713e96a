"""A reader in another process than the run: it is told where the messages are, and when the run has ended."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import genglossary.runs.manager as manager_module
import pytest
from application.support import DEADLINE, add_run, broken, drain, join, row, set_status, terminal, wait_for
from genglossary.db.connection import database_connection
from genglossary.runs.manager import RunManager

from .support import Worker, finish, run, start_and_wait, terminal_events

ELSEWHERE = "This run is executed by another process: its messages are not shown here, but its end is."


def is_polling(manager: RunManager) -> bool:
    """Whether the manager looks at rows."""
    return manager._watcher._thread is not None


def kill(owner: Worker) -> None:
    owner.kill()


def end(owner: Worker) -> None:
    owner.call(finish)


@pytest.mark.parametrize(("how", "status"), [(end, "completed"), (kill, "failed")])
def test_it_is_told_within_a_second(
    make_worker: Callable[..., Worker],
    make_manager: Callable[..., RunManager],
    how: Callable[[Worker], None],
    status: str,
) -> None:
    """With the interval that the application has. One of three must do, as the machine may be busy."""
    manager = make_manager(watch_interval=0.5)
    delays: list[float] = []
    while len(delays) < 3 and not (delays and delays[-1] < 1.0):
        owner = make_worker()
        run_id = owner.call(start_and_wait)
        reader = manager.register_subscriber(run_id)
        assert reader.get_nowait() == {"run_id": run_id, "level": "info", "message": ELSEWHERE}
        how(owner)
        ended = time.monotonic()
        assert reader.get(timeout=30) == terminal(run_id, status)
        delays.append(time.monotonic() - ended)
        assert row(manager.db_path, run_id)["status"] == status
    assert min(delays) < 1.0


def test_each_reader_is_told_once(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    readers = [manager.register_subscriber(run_id) for _ in range(20)]
    owner.call(finish)
    for reader in readers:
        assert reader.get_nowait()["message"] == ELSEWHERE
        assert terminal_events(reader) == [terminal(run_id, "completed")]


def test_a_row_that_cannot_be_read_at_first_is_looked_at_again(
    owner: Worker, manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = owner.call(start_and_wait)
    with monkeypatch.context() as patched:
        patched.setattr(manager_module, "get_run", broken(sqlite3.OperationalError("database is locked")))
        reader = manager.register_subscriber(run_id)
    owner.call(finish)
    assert reader.get(timeout=DEADLINE) == terminal(run_id, "completed")


def test_a_reader_in_the_owner_is_told_nothing_of_that(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    owner.ask(messages, run_id)
    wait_for(owner.has_answered, "the reader in the owner")
    assert owner.answer() == []
    owner.call(finish)


def messages(manager: RunManager, run_id: int) -> list[Any]:
    return drain(manager.register_subscriber(run_id))


def test_the_run_ends_while_its_reader_is_registered(
    owner: Worker, manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row was read as running, and its lock is gone when that is looked at: the reader waited for ever."""
    run_id = owner.call(start_and_wait)

    def get_run(run_id: int) -> Any:
        monkeypatch.undo()
        found = manager.get_run(run_id)
        owner.call(finish)
        return found

    monkeypatch.setattr(manager, "get_run", get_run)
    assert terminal_events(manager.register_subscriber(run_id)) == [terminal(run_id, "completed")]


@pytest.mark.parametrize("name", ["get_active_run", "get_current_or_latest_run", "register_subscriber"])
def test_the_owner_dies_after_it_recorded_the_end(
    owner: Worker, manager: RunManager, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The row was read before that: what readers are told must not be that the run was interrupted."""
    run_id = owner.call(start_and_wait)
    reader = manager.register_subscriber(run_id)
    assert manager.get_active_run()["id"] == run_id
    abandoned = manager._ownership.abandoned

    def die_first() -> Any:
        monkeypatch.undo()
        # In this order, or the watcher could find a dead owner whose run has not ended.
        set_status(manager.db_path, run_id, "completed")
        owner.kill()
        return abandoned()

    monkeypatch.setattr(manager._ownership, "abandoned", die_first)
    late = [manager.register_subscriber(run_id)] if name == "register_subscriber" else []
    found = None if late else getattr(manager, name)()
    # The watcher may have been the first to look; then the row is given as it was read.
    assert found is None or found["status"] in ("running", "completed")
    assert row(manager.db_path, run_id)["status"] == "completed"
    for each in [reader, *late]:
        assert terminal_events(each) == [terminal(run_id, "completed")]
    assert row(manager.db_path, run_id)["error_message"] is None


def test_another_manager_of_the_owners_process(make_manager: Callable[..., RunManager]) -> None:
    """The application makes a new one when the project's settings change."""
    one, other = make_manager(), make_manager()
    held, released = threading.Event(), threading.Event()

    def work(job: Any) -> None:
        held.set()
        assert released.wait(30)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager_module.PipelineExecutor, "work", staticmethod(work))
        run_id = one.start_run(scope="full")
        assert held.wait(30)
    reader = other.register_subscriber(run_id)
    assert other.get_active_run()["id"] == run_id
    with pytest.raises(RuntimeError, match=f"^Run already running: {run_id}$"):
        other.start_run(scope="full")
    released.set()
    join(one._thread)
    assert terminal_events(reader) == [terminal(run_id, "completed")]


def test_a_row_that_somebody_else_made_is_left_alone(manager: RunManager, db_path: str) -> None:
    """No file names it, so its owner is unknown, but its readers are still told of its end."""
    run_id = add_run(db_path, "running")
    with pytest.raises(RuntimeError, match=f"^Run already running: {run_id}$"):
        manager.start_run(scope="full")
    assert manager.get_active_run()["id"] == run_id
    reader = manager.register_subscriber(run_id)
    assert drain(reader) == []
    set_status(db_path, run_id, "completed")
    assert terminal_events(reader) == [terminal(run_id, "completed")]


def test_a_row_that_is_deleted_has_ended(owner: Worker, manager: RunManager, db_path: str) -> None:
    run_id = owner.call(start_and_wait)
    reader = manager.register_subscriber(run_id)
    with database_connection(db_path) as conn:
        conn.execute("DELETE FROM runs")
        conn.commit()
    owner.call(finish)
    assert terminal_events(reader) == [terminal(run_id)]


def test_nobody_polls_while_no_run_is_active(owner: Worker, manager: RunManager) -> None:
    manager.get_active_run()
    manager.register_subscriber(1).close()
    run_id = owner.call(run)
    manager.register_subscriber(run_id)
    assert not is_polling(manager)
    wait_for(lambda: not owner.call(is_polling), "the end of the polling in the owner")

    run_id = owner.call(start_and_wait)
    assert owner.call(is_polling)
    assert not is_polling(manager), "a run alone is watched by its owner"
    reader = manager.register_subscriber(run_id)
    assert is_polling(manager)
    owner.call(finish)
    assert terminal_events(reader) == [terminal(run_id, "completed")]
    wait_for(lambda: not is_polling(manager), "the end of the polling")
    wait_for(lambda: not owner.call(is_polling), "the end of the polling in the owner")


def test_polling_ends_with_the_last_reader(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    readers = [manager.register_subscriber(run_id) for _ in range(2)]
    assert is_polling(manager)
    readers.pop().close()
    readers.clear()
    wait_for(lambda: not is_polling(manager), "the end of the polling")
    owner.call(finish)


def test_a_row_that_cannot_be_read_for_a_while(
    owner: Worker, manager: RunManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = owner.call(start_and_wait)
    reader = manager.register_subscriber(run_id)
    with monkeypatch.context() as patch:
        failures = []

        def get_run(run_id: int) -> Any:
            failures.append(run_id)
            raise OSError("disk I/O error")

        patch.setattr(manager, "get_run", get_run)
        with caplog.at_level(logging.WARNING):
            wait_for(lambda: len(failures) > 3, "some checks")
    owner.call(finish)
    assert terminal_events(reader)[-1] == terminal(run_id, "completed")
    assert caplog.text.count(f"Could not check run {run_id}") == 1, "not once a check"
