"""Commit, roll back and close a connection that the pipeline has used.

It may be broken, closed, None or a test double. These functions never raise: the next step, which writes the
outcome on a new connection, does not depend on them.
"""

import contextlib
import sqlite3
from typing import Any


def commit(conn: Any) -> None:
    """Commit, if that is possible."""
    _attempt(conn, "commit")


def roll_back(conn: Any) -> None:
    """Roll back, if that is possible."""
    _attempt(conn, "rollback")


def close(conn: Any) -> None:
    """Close, if that is possible."""
    _attempt(conn, "close")


def _attempt(conn: Any, step: str) -> None:
    if conn is not None:
        with contextlib.suppress(Exception):  # the pipeline may have left the connection in any state
            getattr(conn, step)()


def in_transaction(conn: Any) -> bool:
    """Return whether something on it is neither committed nor rolled back."""
    try:
        return conn is not None and conn.in_transaction is True
    except sqlite3.Error:
        return False
