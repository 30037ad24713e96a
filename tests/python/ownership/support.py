"""Other processes that serve the same project, and what must hold for the project whatever they did."""

import multiprocessing
import os
import queue
import signal
import sqlite3
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import genglossary.runs.manager as manager_module
from application.support import DEADLINE, in_thread, join, wait_for
from genglossary.db.connection import database_connection
from genglossary.db.runs_repository import ACTIVE, TERMINAL
from genglossary.runs.executor import Job, PipelineExecutor
from genglossary.runs.manager import RunManager
from genglossary_runs import Subscription

CONTEXT = multiprocessing.get_context("forkserver")

# Every status that a row ever had, also those that were overwritten.
HISTORY = """
CREATE TABLE history (run_id INTEGER NOT NULL, status TEXT NOT NULL);
CREATE TRIGGER run_made AFTER INSERT ON runs BEGIN INSERT INTO history VALUES (NEW.id, NEW.status); END;
CREATE TRIGGER run_changed AFTER UPDATE OF status ON runs BEGIN INSERT INTO history VALUES (NEW.id, NEW.status); END;
"""


class Worker:
    """Another process that serves the project, and calls functions for a test, one at a time."""

    def __init__(self, db_path: str, watch_interval: float, stored: bool = False) -> None:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(theirs, db_path, watch_interval, stored))
        self._process.start()
        theirs.close()

    def ask(self, function: Callable[..., object], *args: Any) -> None:
        """Make it call `function(manager, *args)`."""
        self._pipe.send((function, args))

    def has_answered(self, within: float = 0.0) -> bool:
        """True if the answer comes within this many seconds."""
        return self._pipe.poll(within)

    def answer(self) -> Any:
        """Return what the function returned, or raise what it raised."""
        assert self.has_answered(DEADLINE), "the other process did not answer"
        value, error = self._pipe.recv()
        if error is not None:
            raise error
        return value

    def call(self, function: Callable[..., object], *args: Any) -> Any:
        """Call a function there and wait for the answer."""
        self.ask(function, *args)
        return self.answer()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """`kill -9`, which works on a stopped process too. May be repeated."""
        self._process.kill()
        self.wait_until_dead()

    def wait_until_dead(self) -> None:
        """Wait until it has been killed."""
        self._process.join(DEADLINE)
        assert self._process.exitcode == -signal.SIGKILL

    def wait_until_stopped(self) -> None:
        """Wait until it has stopped itself, as far as the system can tell; what continues it before is in vain."""
        status = Path(f"/proc/{self._process.pid}/stat")
        wait_for(lambda: not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "T", "its stop")

    def wait_until_dead_or_done(self) -> None:
        """Wait until it has answered or died."""
        wait_for(lambda: self.has_answered() or not self._process.is_alive(), "the other process")

    def close(self) -> None:
        """Kill it and release its resources here."""
        self.kill()
        self._process.close()
        self._pipe.close()


def _serve(pipe: Connection, db_path: str, watch_interval: float, stored: bool) -> None:
    manager_module.WATCH_INTERVAL = watch_interval
    RunManager.STORE = stored
    # On a busy machine, an owner that has just finished may take longer to release the lock.
    manager_module.HANDOVER = DEADLINE
    manager = RunManager(db_path)
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            reply = function(manager, *args), None
        except Exception as error:
            reply = None, error
        pipe.send(reply)


# Functions for workers


class Held:
    """The state of a pipeline that waits in a worker."""

    began = threading.Event()
    released = threading.Event()


def hold(job: Job) -> None:
    """Run until `finish`."""
    job.log("begun")
    Held.began.set()
    assert Held.released.wait(DEADLINE), "nobody released the pipeline"


def hold_until_cancelled(job: Job) -> None:
    """Run until the pipeline sees a cancel."""
    Held.began.set()
    wait_for(job.context.cancel_event.is_set, "the cancel")
    job.check_cancelled()


def store_terms(job: Job) -> None:
    """Write to the database, with and without a commit, and log."""
    job.conn.execute("INSERT OR IGNORE INTO terms (term) VALUES ('first')")
    job.conn.commit()
    job.log("stored")
    job.check_cancelled()
    job.conn.execute("INSERT OR IGNORE INTO terms (term) VALUES ('second')")
    job.log("stored, not committed")


def ping(manager: RunManager) -> str:
    return "pong"


def start(manager: RunManager, work: Callable[[Job], None] = hold) -> int:
    PipelineExecutor.work = staticmethod(work)
    Held.began.clear()
    Held.released.clear()
    return manager.start_run(scope="full")


def start_and_wait(manager: RunManager, work: Callable[[Job], None] = hold) -> int:
    """Start, and return once the pipeline runs."""
    run_id = start(manager, work)
    assert Held.began.wait(DEADLINE), "the pipeline did not begin"
    return run_id


def release(manager: RunManager) -> None:
    Held.released.set()


def finish(manager: RunManager) -> None:
    """Release the pipeline and wait until its thread has ended."""
    Held.released.set()
    join(manager._thread)


def run(manager: RunManager) -> int:
    """A whole run."""
    run_id = start(manager, store_terms)
    join(manager._thread)
    return run_id


def active_run(manager: RunManager) -> int | None:
    row = manager.get_active_run()
    return None if row is None else row["id"]


def latest_status(manager: RunManager) -> str | None:
    row = manager.get_current_or_latest_run()
    return None if row is None else row["status"]


# The state of the project


def lock_file(db_path: str) -> str:
    return db_path + ".run-lock"


def rows(db_path: str) -> list[dict[str, Any]]:
    """Every run, oldest first."""
    with database_connection(db_path) as conn:
        return [dict(row) for row in conn.execute("SELECT * FROM runs ORDER BY id")]


def history(db_path: str, run_id: int) -> list[str]:
    """Every status that the row has had, in order."""
    with database_connection(db_path) as conn:
        return [s for (s,) in conn.execute("SELECT status FROM history WHERE run_id = ? ORDER BY rowid", (run_id,))]


def is_active(db_path: str) -> bool:
    return any(row["status"] in ACTIVE for row in rows(db_path))


def wait_until_finished(db_path: str) -> None:
    wait_for(lambda: not is_active(db_path), "the end of the active run")


def wait_until_free(db_path: str) -> None:
    """Wait until the last owner has removed its file."""
    wait_for(lambda: not os.path.exists(lock_file(db_path)), "the lock file to be removed")


def assert_each_ended_once(db_path: str) -> None:
    """Every run has ended, and its terminal status was never overwritten."""
    for row in rows(db_path):
        statuses = history(db_path, row["id"])
        assert statuses[-1] == row["status"], statuses
        assert [status for status in statuses if status in TERMINAL] == statuses[-1:], statuses
        assert row["finished_at"] is not None


def terminal_events(subscription: Subscription) -> list[dict[str, Any]]:
    """The terminal event and everything after it, which should be nothing."""
    event = subscription.get(timeout=DEADLINE)
    while not event.get("complete"):
        event = subscription.get(timeout=DEADLINE)
    terminal = [event]
    try:
        while True:
            terminal.append(subscription.get_nowait())
    except queue.Empty:
        return terminal


class Audience:
    """Registers readers of every new run of the project as soon as its row can be seen."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager
        self._readers: dict[int, Subscription] = {}
        self._judged = len(rows(manager.db_path))
        self._leave = threading.Event()
        self._thread = in_thread(self._follow)

    def _follow(self) -> None:
        seen = self._judged
        conn = sqlite3.connect(self._manager.db_path)
        try:
            while not self._leave.wait(0.001):
                for (run_id,) in conn.execute("SELECT id FROM runs WHERE id > ? ORDER BY id", (seen,)).fetchall():
                    self._readers[run_id] = self._manager.register_subscriber(run_id)
                    seen = run_id
        finally:
            conn.close()

    def assert_told_once(self) -> None:
        """Every reader since the last call got the terminal event of its run once, and it agrees with the row."""
        for row in rows(self._manager.db_path)[self._judged :]:
            wait_for(lambda run_id=row["id"]: run_id in self._readers, "a reader of the run")
            told = terminal_events(self._readers[row["id"]])
            assert told == [{"run_id": row["id"], "complete": True, "db_status": row["status"]}]
            self._judged = row["id"]

    def close(self) -> None:
        self._leave.set()
        join(self._thread)
