"""The database cannot be written when a run ends: the outcome is recorded as soon as it can be."""

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import genglossary.runs.manager as manager_module
import genglossary_runs.application.ownership as ownership_module
import pytest
from application.support import DEADLINE, add_run, broken, join, row, set_status, terminal, terms, wait_for
from genglossary.db.connection import get_connection
from genglossary.runs.executor import Job, PipelineCancelledException, PipelineExecutor
from genglossary.runs.manager import RunManager

from .support import (
    Worker,
    active_run,
    assert_each_ended_once,
    hold,
    lock_file,
    release,
    rows,
    run,
    start_and_wait,
    store_terms,
    terminal_events,
    wait_until_free,
)


class Lock:
    """Another program, which locks the database for as long as the test wants."""

    def __init__(self, db_path: str) -> None:
        self._conn = sqlite3.connect(db_path, isolation_level=None, check_same_thread=False)

    def take(self) -> None:
        self._conn.execute("BEGIN IMMEDIATE")

    def let_readers_in_only(self) -> None:
        """Let writers write, but not commit."""
        self._conn.execute("BEGIN")
        self._conn.execute("SELECT * FROM runs").fetchall()

    def release(self) -> None:
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")

    def close(self) -> None:
        self.release()
        self._conn.close()


@pytest.fixture
def lock(db_path: str) -> Iterator[Lock]:
    lock = Lock(db_path)
    yield lock
    lock.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of this process that soon give up on a locked database."""
    monkeypatch.setattr(manager_module, "get_connection", connect)
    monkeypatch.setattr(manager_module, "database_connection", connection)


def connect(path: str) -> sqlite3.Connection:
    conn = get_connection(path)
    conn.execute("PRAGMA busy_timeout = 20")
    return conn


@contextmanager
def connection(path: str) -> Iterator[sqlite3.Connection]:
    conn = connect(path)
    try:
        yield conn
    finally:
        conn.close()


def raises(error: BaseException | None, lock: Lock) -> Callable[[Job], None]:
    """A pipeline that ends like this, and finds the database locked."""

    def work(job: Job) -> None:
        lock.take()
        if error is not None:
            raise error

    return work


ENDS = [
    pytest.param(None, "completed", None, id="completed"),
    pytest.param(ValueError("用語がありません"), "failed", "用語がありません", id="failed"),
    pytest.param(PipelineCancelledException(), "cancelled", None, id="cancelled"),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("error", "status", "message"), ENDS)
@pytest.mark.parametrize("with_locks", [True, False], ids=["", "without file locks"])
def test_the_outcome_is_recorded_once_the_database_can_be_written(
    manager: RunManager,
    lock: Lock,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
    status: str,
    message: str | None,
    with_locks: bool,
) -> None:
    """Nobody asks: the row stayed active until somebody looked, and then became `failed: Interrupted`."""
    if not with_locks:
        none = broken(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)))
        monkeypatch.setattr(ownership_module, "OwnerLock", type("OwnerLock", (), {"acquire": none, "look": none}))
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(raises(error, lock)))
    run_id = manager.start_run(scope="full")
    reader = manager.register_subscriber(run_id)
    assert terminal_events(reader) == [terminal(run_id, status, status_update_failed=True)]
    join(manager._thread)
    assert row(manager.db_path, run_id)["status"] == "running"
    lock.release()
    wait_for(lambda: row(manager.db_path, run_id)["status"] != "running", "the outcome to be recorded")
    stored = row(manager.db_path, run_id)
    assert (stored["status"], stored["error_message"]) == (status, message)
    wait_for(lambda: manager._watcher._thread is None, "the end of the trying")
    assert_each_ended_once(manager.db_path)


@pytest.mark.usefixtures("impatient")
def test_a_run_that_recorded_the_one_before_it_was_not_named_in_the_file(
    manager: RunManager, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before wrote its own name over it, and a crash would not have been noticed."""
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(raises(None, lock)))
    clean_up, go_on = manager._cleanup_run_resources, threading.Event()
    first: list[threading.Thread] = []

    def start_the_next(*args: Any) -> None:
        """As a reader may who is told the end."""
        clean_up(*args)
        lock.release()
        monkeypatch.setattr(manager, "_cleanup_run_resources", clean_up)
        monkeypatch.setattr(PipelineExecutor, "work", staticmethod(lambda job: go_on.wait(DEADLINE)))
        manager.start_run(scope="full")
        first.append(threading.current_thread())

    monkeypatch.setattr(manager, "_cleanup_run_resources", start_the_next)
    run_id = manager.start_run(scope="full")
    wait_for(lambda: first, "the next start")
    join(first[0])
    named = json.loads(Path(lock_file(manager.db_path)).read_text(encoding="utf-8"))["runs"]
    go_on.set()
    join(manager._thread)
    assert run_id + 1 in named
    assert_each_ended_once(manager.db_path)


@pytest.mark.usefixtures("impatient")
def test_a_start_that_failed_is_recorded_too(manager: RunManager, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: object) -> None:
        lock.take()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(manager_module, "Thread", lambda **kwargs: type("T", (), {"start": start})())
        with pytest.raises(RuntimeError, match="can't start new thread"):
            manager.start_run(scope="full")
    assert row(manager.db_path, 1)["status"] == "pending"
    lock.release()
    wait_for(lambda: row(manager.db_path, 1)["status"] == "failed", "the outcome to be recorded")
    assert row(manager.db_path, 1)["error_message"] == "Failed to start execution thread: can't start new thread"


# `kill -9` between the end of a run and its record. The connections of the owner wait for the lock.


def start_elsewhere(manager: RunManager, bystander: Worker) -> None:
    bystander.call(run)


def active_run_elsewhere(manager: RunManager, bystander: Worker) -> None:
    assert bystander.call(active_run) is None


def active_run_here(manager: RunManager, bystander: Worker) -> None:
    assert manager.get_active_run() is None


def new_reader(manager: RunManager, bystander: Worker) -> None:
    assert terminal_events(manager.register_subscriber(1)) == [terminal(1, "completed")]


def nobody_asks(manager: RunManager, bystander: Worker) -> None:
    wait_for(lambda: rows(manager.db_path)[0]["status"] != "running", "the watcher")


@pytest.mark.parametrize("way", [start_elsewhere, active_run_elsewhere, active_run_here, new_reader, nobody_asks])
def test_the_owner_is_killed_between_the_end_and_the_record(
    make_worker: Callable[..., Worker],
    manager: RunManager,
    lock: Lock,
    way: Callable[[RunManager, Worker], None],
) -> None:
    owner, bystander = make_worker(), make_worker()
    run_id = owner.call(start_and_wait, hold)
    reader = manager.register_subscriber(run_id)
    lock.take()
    owner.call(release)
    wait_for(lambda: ended(manager.db_path), "the outcome in the lock file")
    owner.kill()
    lock.release()
    way(manager, bystander)
    stored = row(manager.db_path, run_id)
    assert (stored["status"], stored["error_message"]) == ("completed", None)
    assert terminal_events(reader)[-1] == terminal(run_id, "completed")
    assert manager.start_run(scope="full") > run_id
    join(manager._thread)
    assert_each_ended_once(manager.db_path)
    wait_until_free(manager.db_path)


def ended(db_path: str) -> dict[str, Any]:
    """What the lock file says of runs that have ended; nothing while it is being written."""
    try:
        return json.loads(Path(lock_file(db_path)).read_text()).get("ended", {})
    except ValueError:
        return {}


def hold_and_store(job: Job) -> None:
    """Leave the result to be committed with the status."""
    hold(job)
    job.conn.execute("INSERT INTO terms (term) VALUES ('result')")


def test_a_result_that_was_not_committed_is_not_recorded_as_completed(
    make_worker: Callable[..., Worker], manager: RunManager, lock: Lock, db_path: str
) -> None:
    """The owner is killed while it waits for the commit: with it the result is lost, and the run was interrupted."""
    owner, bystander = make_worker(), make_worker()
    run_id = owner.call(start_and_wait, hold_and_store)
    wait_for(lambda: row(db_path, run_id)["status"] == "running", "the first status")
    lock.let_readers_in_only()
    owner.call(release)
    wait_for(lambda: bystander.call(commit_is_waiting), "the commit")
    owner.kill()
    lock.release()
    assert manager.get_active_run() is None
    stored = row(db_path, run_id)
    assert (stored["status"], stored["error_message"]) == ("failed", "Interrupted: the process that ran it ended")
    assert terms(db_path) == []


def commit_is_waiting(manager: RunManager) -> bool:
    """SQLite keeps other processes out while a commit waits for the readers to leave."""
    conn = sqlite3.connect(manager.db_path, timeout=0)
    try:
        conn.execute("SELECT * FROM runs").fetchall()
    except sqlite3.OperationalError:
        return True
    finally:
        conn.close()
    return False


# What is not to be recorded any more


@pytest.mark.usefixtures("impatient")
def test_a_database_that_vanishes_ends_the_trying(
    manager: RunManager, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(raises(None, lock)))
    manager.start_run(scope="full")
    join(manager._thread)
    lock.release()
    os.remove(manager.db_path)
    wait_for(lambda: manager._watcher._thread is None, "the end of the trying")
    assert not os.path.exists(manager.db_path)


@pytest.mark.usefixtures("impatient")
def test_a_status_set_meanwhile_stays(manager: RunManager, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(raises(ValueError("boom"), lock)))
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    lock._conn.execute("UPDATE runs SET status = 'cancelled', finished_at = 'now'")
    lock._conn.execute("COMMIT")
    wait_for(lambda: manager._watcher._thread is None, "the end of the trying")
    assert (row(manager.db_path, run_id)["status"], row(manager.db_path, run_id)["error_message"]) == (
        "cancelled",
        None,
    )


@pytest.mark.usefixtures("impatient")
def test_a_new_life_of_the_id_has_its_own_outcome(
    make_manager: Callable[..., RunManager], lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make_manager(watch_interval=1000)
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(raises(ValueError("the first life"), lock)))
    run_id = add_run(manager.db_path)
    manager._execute_run(run_id, "full")
    lock.release()
    seen: list[Any] = []

    def work(job: Job) -> None:
        seen.append(manager.get_active_run())
        store_terms(job)

    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(work))
    set_status(manager.db_path, run_id, "pending")
    manager._execute_run(run_id, "full")
    assert seen[0]["id"] == run_id
    assert row(manager.db_path, run_id)["status"] == "completed"
