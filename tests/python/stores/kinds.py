"""The stores that the suite is run against."""

from typing import Any

from genglossary_runs import RedisStore, SqliteStore

KINDS = ["sqlite", "redis"]

LEASE = {"sqlite": 0.0, "redis": 1.5}
"""Seconds after which a dead owner is suspected; a live one is never stopped for so long."""


def make(kind: str, place: str, **options: Any) -> Any:
    """A store of a kind: in a folder, or on a server in a project, which the URL names after a `#`."""
    if kind == "sqlite":
        options.pop("lease", None)
        return SqliteStore(f"{place}/runs.db", **options)
    assert kind == "redis"
    url, project = place.split("#")
    return RedisStore(url, project=project, **{"lease": LEASE[kind]} | options)
