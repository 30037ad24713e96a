"""How an event of a run is told to people, in a terminal and in the file of its log."""

import json
from collections.abc import Mapping
from typing import Any

# Parts of an event that are told otherwise, or not at all; any other is a field of its message.
_NO_FIELD = {"run_id", "time", "level", "message", "traceback", "group", "step", "status", "cancel_requested"}
_NO_FIELD |= {"progress_current", "progress_total"}


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
        text = str(data["message"]) + "".join(f" {name}={_field(data[name])}" for name in data if name not in _NO_FIELD)
    elif data.get("cancel_requested"):
        text = "Cancel requested"
    elif data.get("status") in ("queued", "running"):
        text = f"Run {data['status']}"
    else:
        return None
    traceback = str(data.get("traceback", ""))
    return level, [*(text.splitlines() or [""]), *traceback.splitlines()]


def _field(value: Any) -> str:
    is_word = isinstance(value, str) and value and not any(sign.isspace() or sign == '"' for sign in value)
    return str(value) if is_word else json.dumps(value, ensure_ascii=False)
