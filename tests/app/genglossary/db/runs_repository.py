"""The rows of the table `runs`."""

import sqlite3
from datetime import UTC, datetime
from enum import Enum, auto

ACTIVE = ("pending", "running")
TERMINAL = ("completed", "failed", "cancelled")


class RunUpdateResult(Enum):
    """What became of an update that only an active run gets."""

    UPDATED = auto()
    NOT_FOUND = auto()
    NOT_IN_EXPECTED_STATE = auto()


def create_run(conn: sqlite3.Connection, scope: str, triggered_by: str = "api") -> int:
    """Insert a pending run and return its id. Does not commit."""
    cursor = conn.execute(
        "INSERT INTO runs (scope, status, triggered_by, created_at) VALUES (?, 'pending', ?, ?)",
        (scope, triggered_by, _stamp(datetime.now(UTC))),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def get_run(conn: sqlite3.Connection, run_id: int) -> sqlite3.Row | None:
    """The run's row, or None."""
    return conn.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()


def get_active_run(conn: sqlite3.Connection) -> sqlite3.Row | None:
    """The row that is pending or running, or None."""
    return conn.execute("SELECT * FROM runs WHERE status IN ('pending', 'running') ORDER BY id DESC LIMIT 1").fetchone()


def get_current_or_latest_run(conn: sqlite3.Connection) -> sqlite3.Row | None:
    """The active row, else the newest one, or None."""
    return conn.execute("SELECT * FROM runs ORDER BY status IN ('pending', 'running') DESC, id DESC LIMIT 1").fetchone()


def update_run_status(
    conn: sqlite3.Connection,
    run_id: int,
    status: str,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    error_message: str | None = None,
) -> None:
    """Set the status whatever it was, and those of the other columns that are given. Does not commit.

    Raises:
        ValueError: a timestamp without a timezone.
    """
    conn.execute(
        "UPDATE runs SET status = ?, started_at = COALESCE(?, started_at), finished_at = COALESCE(?, finished_at),"
        " error_message = COALESCE(?, error_message) WHERE id = ?",
        (status, _stamp(started_at), _stamp(finished_at), error_message, run_id),
    )


def update_run_status_if_active(
    conn: sqlite3.Connection, run_id: int, status: str, error_message: str | None = None
) -> RunUpdateResult:
    """Finish a run that is still active. Does not commit.

    Raises:
        ValueError: a status that is not terminal.
    """
    if status not in TERMINAL:
        raise ValueError(f"{status!r} is not a terminal status")
    cursor = conn.execute(
        "UPDATE runs SET status = ?, finished_at = ?, error_message = ?"
        " WHERE id = ? AND status IN ('pending', 'running')",
        (status, _stamp(datetime.now(UTC)), error_message, run_id),
    )
    if cursor.rowcount == 1:
        return RunUpdateResult.UPDATED
    if get_run(conn, run_id) is None:
        return RunUpdateResult.NOT_FOUND
    return RunUpdateResult.NOT_IN_EXPECTED_STATE


def _stamp(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a timestamp needs a timezone")
    return moment.astimezone(UTC).isoformat(timespec="seconds")
