"""Databases and file systems that fail: the run gets as far as it can and ends, and a log record says what failed."""

import ctypes
import errno
import logging
import os
import resource
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import genglossary.runs.manager as manager_module
import genglossary_runs.application.ownership as ownership_module
import pytest
from application.support import DEADLINE, add_run, broken, join, row, terminal, terms, wait_for
from genglossary.db import connection as connection_module
from genglossary.db.connection import get_connection
from genglossary.db.schema import create_tables
from genglossary.runs.executor import Job, PipelineExecutor
from genglossary.runs.manager import RunManager

from .support import (
    Worker,
    active_run,
    assert_each_ended_once,
    finish,
    history,
    is_active,
    latest_status,
    lock_file,
    rows,
    run,
    start_and_wait,
    terminal_events,
)


class Locked:
    """A pipeline of this process that waits for the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Callable[[Job], None] = lambda job: None) -> None:
        self._then = then
        self.began = threading.Event()
        self.go_on = threading.Event()
        monkeypatch.setattr(PipelineExecutor, "work", staticmethod(self))

    def __call__(self, job: Job) -> None:
        self.began.set()
        assert self.go_on.wait(DEADLINE)
        self._then(job)


def test_a_file_system_without_locks(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_locks = broken(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)))
    monkeypatch.setattr(ownership_module, "OwnerLock", type("OwnerLock", (), {"acquire": no_locks, "look": no_locks}))
    pipeline = Locked(monkeypatch)
    run_id = manager.start_run(scope="full")
    assert pipeline.began.wait(DEADLINE)
    reader = manager.register_subscriber(run_id)
    assert manager.get_active_run()["id"] == run_id
    with pytest.raises(RuntimeError, match=f"^Run already running: {run_id}$"):
        manager.start_run(scope="full")
    pipeline.go_on.set()
    join(manager._thread)
    assert terminal_events(reader) == [terminal(run_id, "completed")]
    assert history(manager.db_path, run_id) == ["pending", "running", "completed"]
    assert "cannot be locked" in caplog.text
    assert "runs of other processes and crashes are not noticed" in caplog.text
    assert not os.path.exists(lock_file(manager.db_path))


def test_a_cancel_from_elsewhere_needs_no_locks(manager: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks = broken(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)))
    monkeypatch.setattr(ownership_module, "OwnerLock", type("OwnerLock", (), {"acquire": no_locks, "look": no_locks}))
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(lambda job: job.executor.ask_model()))
    run_id = manager.start_run(scope="full")
    reader = manager.register_subscriber(run_id)
    wait_for(lambda: row(manager.db_path, run_id)["status"] == "running", "the run")
    with sqlite3.connect(manager.db_path) as conn:
        conn.execute("UPDATE runs SET status = 'cancelled', finished_at = 'now'")
    conn.close()
    assert terminal_events(reader) == [terminal(run_id, "cancelled")]
    join(manager._thread)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunManager]:
    """A manager of a database in memory, which all connections share as long as the test lasts."""
    uri = "file:odd-ground?mode=memory&cache=shared"

    def connect(path: str) -> sqlite3.Connection:
        assert path == ":memory:"
        conn = sqlite3.connect(uri, uri=True, check_same_thread=False)
        conn.row_factory = sqlite3.Row
        return conn

    @contextmanager
    def connection(path: str) -> Iterator[sqlite3.Connection]:
        conn = connect(path)
        try:
            yield conn
        finally:
            conn.close()

    monkeypatch.setattr("genglossary.db.schema.database_connection", connection)
    monkeypatch.setattr(manager_module, "get_connection", connect)
    monkeypatch.setattr(manager_module, "database_connection", connection)
    with connection(":memory:"):
        create_tables(":memory:")
        yield RunManager(":memory:")


def test_a_database_in_memory(
    memory: RunManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = Locked(monkeypatch)
    with caplog.at_level(logging.INFO):
        run_id = memory.start_run(scope="full")
    assert pipeline.began.wait(DEADLINE)
    reader = memory.register_subscriber(run_id)
    assert memory.get_active_run()["id"] == run_id
    pipeline.go_on.set()
    join(memory._thread)
    assert terminal_events(reader) == [terminal(run_id, "completed")]
    assert memory.get_current_or_latest_run()["status"] == "completed"
    assert "A database in memory has no owner" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_memory_of_its_own_for_each_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `:memory:` really is: the tables are gone with each connection, and still the run ends."""
    monkeypatch.chdir(tmp_path)
    manager = RunManager(":memory:")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        manager.start_run(scope="full")
    reader = manager.register_subscriber(1)
    manager._execute_run(1, "full")
    assert terminal_events(reader) == [terminal(1, "failed", status_update_failed=True)]
    assert list(tmp_path.iterdir()) == []


# A read-only folder


class Records(logging.Handler):
    """Keeps what a worker logs."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def obey_permissions(manager: RunManager) -> None:
    """Give up root's privileges, and keep log records."""
    if sys.platform == "linux":
        header, no_capabilities = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, no_capabilities) == 0
    manager.records = Records()  # type: ignore[attr-defined]
    logging.getLogger("genglossary_runs").addHandler(manager.records)  # type: ignore[attr-defined]


def records(manager: RunManager) -> str:
    return "\n".join(manager.records.messages)  # type: ignore[attr-defined]


def run_directly(manager: RunManager, run_id: int) -> list[dict[str, Any]]:
    """Execute a run whose row is there; what a reader is told in the end."""
    reader = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    return terminal_events(reader)


@pytest.fixture
def obedient(owner: Worker) -> Worker:
    """Another process, for which permissions count."""
    owner.call(obey_permissions)
    return owner


@pytest.fixture
def folder(db_path: str) -> Iterator[Path]:
    """The project's folder, writable again after the test."""
    folder = Path(db_path).parent
    yield folder
    folder.chmod(0o755)


def test_a_read_only_folder_whose_database_can_be_written(obedient: Worker, db_path: str, folder: Path) -> None:
    conn = sqlite3.connect(db_path)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("INSERT INTO terms (term) VALUES ('makes the files that the others need')")
    conn.commit()
    folder.chmod(0o555)
    assert obedient.call(run) == 1
    assert row(db_path, 1)["status"] == "completed"
    assert not os.path.exists(lock_file(db_path))
    assert "runs of other processes and crashes are not noticed" in obedient.call(records)
    folder.chmod(0o755)
    conn.close()


def test_a_read_only_folder(obedient: Worker, db_path: str, folder: Path) -> None:
    folder.chmod(0o555)
    with pytest.raises(sqlite3.OperationalError):
        obedient.call(run)
    assert "runs of other processes and crashes are not noticed" in obedient.call(records)
    assert obedient.call(active_run) is None


def test_a_run_in_a_read_only_folder(obedient: Worker, db_path: str, folder: Path) -> None:
    run_id = add_run(db_path)
    folder.chmod(0o555)
    assert obedient.call(run_directly, run_id) == [terminal(run_id, "failed", status_update_failed=True)]
    assert f"Writing the status of run {run_id} failed" in obedient.call(records)
    assert row(db_path, run_id)["status"] == "pending"


def test_a_death_that_cannot_be_recorded(
    make_worker: Callable[..., Worker], obedient: Worker, manager: RunManager, db_path: str, folder: Path
) -> None:
    """The page that shows the runs still works; the project goes on when the folder can be written again."""
    owner = make_worker()
    run_id = owner.call(start_and_wait)
    owner.kill()
    folder.chmod(0o555)
    assert obedient.call(active_run) == run_id
    assert obedient.call(latest_status) == "running"
    assert f"Run {run_id} of {db_path} has ended; could not record that" in obedient.call(records)
    folder.chmod(0o755)
    assert obedient.call(run) == run_id + 1
    assert_each_ended_once(db_path)


# A database that vanishes


def remove_file(db_path: str) -> None:
    os.remove(db_path)


def remove_folder(db_path: str) -> None:
    shutil.rmtree(os.path.dirname(db_path))


@pytest.mark.parametrize("vanish", [remove_file, remove_folder])
def test_a_database_that_vanishes(
    manager: RunManager,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    vanish: Callable[[str], None],
) -> None:
    pipeline = Locked(monkeypatch)
    run_id = manager.start_run(scope="full")
    assert pipeline.began.wait(DEADLINE)
    reader = manager.register_subscriber(run_id)
    vanish(manager.db_path)
    pipeline.go_on.set()
    join(manager._thread)
    assert terminal_events(reader) == [terminal(run_id, "completed", status_update_failed=True)]
    assert f"Writing the status of run {run_id} failed" in caplog.text


@pytest.mark.parametrize("vanish", [remove_file, remove_folder])
def test_a_reader_elsewhere_of_a_database_that_vanishes(
    owner: Worker, manager: RunManager, vanish: Callable[[str], None]
) -> None:
    run_id = owner.call(start_and_wait)
    reader = manager.register_subscriber(run_id)
    vanish(manager.db_path)
    assert terminal_events(reader) == [terminal(run_id)], "nobody will ever know its outcome"
    owner.call(finish)


# A full database


class Disk:
    """Lets the database grow, or not, for connections of this process made from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        for module in (manager_module, connection_module):
            monkeypatch.setattr(module, "get_connection", self.get_connection)

    def get_connection(self, path: str) -> sqlite3.Connection:
        conn = get_connection(path)
        if self.is_full:
            conn.execute(f"PRAGMA max_page_count = {conn.execute('PRAGMA page_count').fetchone()[0]}")
        return conn


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def store_much(job: Job) -> None:
    job.conn.execute("INSERT INTO terms (term) VALUES (hex(zeroblob(100000)))")


def test_a_full_database_fails_the_run(manager: RunManager, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(store_much))
    disk.is_full = True
    run_id = manager.start_run(scope="full")
    reader = manager.register_subscriber(run_id)
    assert terminal_events(reader) == [terminal(run_id, "failed")]
    join(manager._thread)
    assert row(manager.db_path, run_id)["error_message"] == "database or disk is full"
    assert terms(manager.db_path) == []


def test_a_database_too_full_for_the_status(
    make_worker: Callable[..., Worker],
    manager: RunManager,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The row stayed active for ever although nobody executed its run; now whoever starts next records how it ended."""
    with sqlite3.connect(manager.db_path) as conn:
        conn.execute(
            "CREATE TRIGGER greedy AFTER UPDATE OF status ON runs WHEN NEW.finished_at IS NOT NULL"
            " BEGIN INSERT OR REPLACE INTO terms VALUES (hex(zeroblob(100000))); END"
        )
    conn.close()
    pipeline = Locked(monkeypatch)
    disk.is_full = True
    run_id = manager.start_run(scope="full")
    reader = manager.register_subscriber(run_id)
    pipeline.go_on.set()
    assert terminal_events(reader) == [terminal(run_id, "completed", status_update_failed=True)]
    join(manager._thread)
    assert "database or disk is full" in caplog.text
    assert row(manager.db_path, run_id)["status"] == "running"

    disk.is_full = False
    assert make_worker().call(run) == run_id + 1
    assert [(row["status"], row["error_message"]) for row in rows(manager.db_path)] == [("completed", None)] * 2
    assert_each_ended_once(manager.db_path)


def limit_files(manager: RunManager) -> None:
    """From here on, files of this process can only shrink: a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def test_a_full_disk_does_not_forget_the_dead(
    make_worker: Callable[..., Worker], manager: RunManager, db_path: str
) -> None:
    """The next start can write neither the database nor the lock file; the one after that can."""
    owner, heir = make_worker(), make_worker()
    owner.call(start_and_wait)
    owner.kill()
    heir.call(limit_files)
    with pytest.raises(sqlite3.OperationalError):
        heir.call(run)
    assert is_active(db_path)
    assert manager.start_run(scope="full") == 2
    join(manager._thread)
    assert_each_ended_once(db_path)


# No threads


def test_no_thread_to_watch_with(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run hung for ever: its thread ended with this error before there was anything to end the run."""
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "genglossary-runs-watch":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    run_id = manager.start_run(scope="full")
    reader = manager.register_subscriber(run_id)
    assert terminal_events(reader) == [terminal(run_id, "completed")]
    join(manager._thread)
    assert f"Run {run_id} cannot be watched" in caplog.text
