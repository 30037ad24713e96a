"""Where the demo keeps its runs."""

from pathlib import Path
from urllib.parse import urlsplit

from genglossary_runs import RedisStore, SqliteStore

DEFAULT_FOLDER = "genglossary-demo-runs"
"""In the folder in which the demo is started."""
OFF = "off"
PROJECT = "genglossary-demo"
"""What the demo's runs have in common on a server of Redis."""

_SERVERS = ("redis", "rediss", "unix")


def open_store(name: str | None) -> SqliteStore | RedisStore | None:
    """Open a store.

    Args:
        name: a folder, which is made if it is not there, or the URL of a server of Redis; None or "off" for no store.

    Raises:
        OSError: the folder cannot be made.
        StoreError: what is in the folder is no store.
        ValueError: the URL names no server.
    """
    if name is None or name == OFF:
        return None
    if urlsplit(name).scheme in _SERVERS:
        return RedisStore(name, project=PROJECT)
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return SqliteStore(folder / "runs.db")
