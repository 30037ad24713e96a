"""The stores that the suite is run against."""

from typing import Any

from genglossary_runs import SqliteStore

KINDS = ["sqlite"]


def make(kind: str, place: str, **limits: Any) -> Any:
    """A store of a kind, in a folder."""
    assert kind == "sqlite"
    return SqliteStore(f"{place}/runs.db", **limits)
