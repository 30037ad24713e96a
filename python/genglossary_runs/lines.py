"""How an event of a run is told to people, in a terminal and in the file of its log."""

from collections.abc import Mapping
from typing import Any


def told(data: Mapping[str, Any], *, is_end: bool) -> tuple[str, list[str]] | None:
    """Return the level of an event and the lines in which it is told, with its traceback; None for mere progress.

    Args:
        data: the event; applications may publish anything under the names that are looked for.
        is_end: whether it is the terminal event.
    """
    level = str(data.get("level", "info"))
    if is_end:
        status = str(data.get("status", "finished"))
        text = f"Run {status}" + (f": {data['error']}" if data.get("error") else "")
        level = "error" if status == "failed" else "info"
    elif "message" in data:
        text = str(data["message"])
    elif data.get("cancel_requested"):
        text = "Cancel requested"
    elif data.get("status") in ("queued", "running"):
        text = f"Run {data['status']}"
    else:
        return None
    traceback = str(data.get("traceback", ""))
    return level, [*(text.splitlines() or [""]), *traceback.splitlines()]
