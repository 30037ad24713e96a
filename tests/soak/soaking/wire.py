"""Server-sent events as they come over a wire."""

import json
import re
from collections.abc import Iterator
from typing import Any

from soaking.account import WrongError

FIELD = re.compile(r"(event|data|id): ([^\r\n]*)")


class Frames:
    """Reads a stream, cut anywhere, into its events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> Iterator[tuple[dict[str, Any], str | None]]:
        """The events that are complete by now: their data and their id."""
        *frames, self._rest = (self._rest + received).split(b"\n\n")
        for frame in frames:
            # Comments and `retry:` are single lines before an event.
            lines = [line for line in frame.decode().split("\n") if not line.startswith((":", "retry: "))]
            if lines:
                yield self._event(lines)

    @staticmethod
    def _event(frame: list[str]) -> tuple[dict[str, Any], str | None]:
        fields: dict[str, str] = {}
        for line in frame:
            match = FIELD.fullmatch(line)
            if match is None or match[1] in fields:
                raise WrongError(f"not a server-sent event: {frame!r}")
            fields[match[1]] = match[2]
        message = json.loads(fields["data"])
        kind = "gap" if "gap" in message else "complete" if "complete" in message else None
        if fields.get("event") != kind or ("id" in fields) == (kind == "gap"):
            raise WrongError(f"the wrong kind of event, or id: {frame!r}")
        return message, fields.get("id")
