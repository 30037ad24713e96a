"""Where the demo keeps its runs."""

from pathlib import Path

from genglossary_runs import SqliteStore

DEFAULT_FOLDER = "genglossary-demo-runs"
"""In the folder in which the demo is started."""
OFF = "off"


def open_store(name: str | None) -> SqliteStore | None:
    """Open a store.

    Args:
        name: a folder, which is made if it is not there; None or "off" for no store.
    """
    if name is None or name == OFF:
        return None
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return SqliteStore(folder / "runs.db")
