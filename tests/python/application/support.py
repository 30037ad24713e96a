"""What the tests of the application's manager share."""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from genglossary.db.connection import database_connection
from genglossary.db.runs_repository import create_run
from genglossary.runs.executor import Job, PipelineCancelledException, PipelineExecutor

DEADLINE = 30.0


def wait_for(condition: Callable[[], object], what: str = "the condition", deadline: float = DEADLINE) -> None:
    """Return as soon as `condition()` is true."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited {deadline:.0f} s for {what}"
        time.sleep(0.002)


def join(thread: threading.Thread | None) -> None:
    """Wait for the thread to end."""
    assert thread is not None
    thread.join(DEADLINE)
    assert not thread.is_alive(), "the thread did not end"


def in_thread(target: Callable[..., object], *args: Any) -> threading.Thread:
    """Start a daemon thread."""
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def drain(subscription: Any) -> list[dict[str, Any]]:
    """Everything that can be read without waiting."""
    events = []
    while True:
        try:
            events.append(subscription.get_nowait())
        except queue.Empty:
            return events


def read_to_end(subscription: Any) -> list[dict[str, Any]]:
    """Every event up to the first that is complete, which must be the last."""
    events = [subscription.get(timeout=DEADLINE)]
    while not events[-1].get("complete"):
        events.append(subscription.get(timeout=DEADLINE))
    assert drain(subscription) == []
    return events


def texts(events: list[dict[str, Any]]) -> list[str]:
    """The messages of these events that have one."""
    return [event["message"] for event in events if "message" in event]


def log(run_id: int, message: str, **extra: Any) -> dict[str, Any]:
    """A log message as the pipeline sends it."""
    return {"run_id": run_id, "level": "info", "message": message, **extra}


def terminal(run_id: int, db_status: str | None = None, **extra: Any) -> dict[str, Any]:
    """The expected terminal event."""
    status = {} if db_status is None else {"db_status": db_status}
    return {"run_id": run_id, "complete": True, **status, **extra}


def add_run(db_path: str, status: str = "pending", **columns: Any) -> int:
    """Insert a row as another process would."""
    with database_connection(db_path) as conn:
        run_id = create_run(conn, "full")
        for column, value in {"status": status, **columns}.items():
            conn.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id))
        conn.commit()
    return run_id


def set_status(db_path: str, run_id: int, status: str) -> None:
    """Set the status as the DELETE route does."""
    with database_connection(db_path) as conn:
        conn.execute("UPDATE runs SET status = ? WHERE id = ?", (status, run_id))
        conn.commit()


def row(db_path: str, run_id: int) -> dict[str, Any]:
    """The run's row, read on a separate connection."""
    with database_connection(db_path) as conn:
        return dict(conn.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone())


def terms(db_path: str) -> list[str]:
    """The terms that pipelines have committed."""
    with database_connection(db_path) as conn:
        return [term for (term,) in conn.execute("SELECT term FROM terms ORDER BY term")]


def is_closed(conn: sqlite3.Connection) -> bool:
    """True if the connection is closed."""
    try:
        conn.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def broken(error: BaseException) -> Callable[..., Any]:
    """A function that takes anything and raises."""

    def function(*args: Any, **kwargs: Any) -> Any:
        raise error

    return function


@contextmanager
def broken_connection(*args: Any) -> Iterator[sqlite3.Connection]:
    """A `database_connection` that fails to open the database."""
    raise sqlite3.OperationalError("unable to open database file")
    yield


def stubborn_connection(path: str, **errors: Exception) -> sqlite3.Connection:
    """A real connection whose named methods raise. `sqlite3.Connection.close(conn)` closes it."""
    methods = {name: broken(error) for name, error in errors.items()}
    factory = type("StubbornConnection", (sqlite3.Connection,), methods)
    conn = sqlite3.connect(path, check_same_thread=False, factory=factory)
    conn.row_factory = sqlite3.Row
    return conn


class Pipeline:
    """Scripts the stand-in's pipeline, and records its jobs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.jobs: list[Job] = []
        self.release = threading.Event()

    def does(self, work: Callable[[Job], None]) -> None:
        """Make the pipeline do this from now on."""

        def recorded(job: Job) -> None:
            self.jobs.append(job)
            work(job)

        self._monkeypatch.setattr(PipelineExecutor, "work", staticmethod(recorded))

    def raises(self, error: BaseException) -> None:
        """Make it raise this."""
        self.does(broken(error))

    def says(self, *messages: str) -> None:
        """Make it log these, and succeed."""

        def work(job: Job) -> None:
            for message in messages:
                job.log(message)

        self.does(work)

    def holds(self) -> None:
        """Make it ignore a cancel, and succeed once `release` is set."""
        self.does(lambda job: _wait_for_release(self.release))

    def polls(self) -> None:
        """Make it run until it sees a cancel."""

        def work(job: Job) -> None:
            wait_for(job.context.cancel_event.is_set, "the cancel")
            raise PipelineCancelledException

        self.does(work)

    def asks_model(self) -> None:
        """Make it wait for the model without checking the cancel event."""
        self.does(lambda job: job.executor.ask_model(DEADLINE))

    def wait_until_running(self, jobs: int = 1) -> Job:
        """Wait for this many jobs; return the newest."""
        wait_for(lambda: len(self.jobs) >= jobs, "the pipeline to begin")
        return self.jobs[-1]


def _wait_for_release(release: threading.Event) -> None:
    assert release.wait(DEADLINE), "nobody released the pipeline"
