"""Connections and transactions."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def get_connection(path: str | Path) -> sqlite3.Connection:
    """Open the database at `path`, making its parent folders. The caller closes the connection."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    conn = sqlite3.connect(path, check_same_thread=False)
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA busy_timeout = 5000")
    conn.execute("PRAGMA foreign_keys = ON")
    return conn


@contextmanager
def database_connection(path: str | Path) -> Iterator[sqlite3.Connection]:
    """A connection that is closed at the end, without a commit."""
    conn = get_connection(path)
    try:
        yield conn
    finally:
        conn.close()


@contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, or roll back on an exception. Inside an open transaction it is a savepoint."""
    if conn.in_transaction:
        conn.execute("SAVEPOINT nested")
        try:
            yield
        except BaseException:
            conn.execute("ROLLBACK TO nested")
            raise
        finally:
            conn.execute("RELEASE nested")
    else:
        conn.execute("BEGIN")
        with conn:
            yield


@contextmanager
def immediate_transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Take the write lock, then commit at the end or roll back on an exception. Does not nest."""
    conn.execute("BEGIN IMMEDIATE")
    with conn:
        yield
