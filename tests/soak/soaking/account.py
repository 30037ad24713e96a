"""Everything that one reader is told, and a check that nothing is missing."""

from collections.abc import Mapping
from typing import Any

DEADLINE = 60.0
"""Seconds after which something that should have happened will not."""


class WrongError(AssertionError):
    """A promise that was not kept."""


class Account:
    """Checks that every seq comes once and in order, as an event or in one gap, and the terminal event once and last.

    The event with seq 12 has 12 as its `n`.

    Args:
        reader: the reader's name, for errors.
        last_event_id: the reader gets the events after it.
    """

    def __init__(self, reader: str, last_event_id: str) -> None:
        self.delivered = self.missed = 0
        self.ended = False
        self.last_event_id = last_event_id
        self._reader = reader
        self._seq = _seq(last_event_id)

    def note(self, message: Mapping[str, Any], event_id: str | None = None) -> None:
        """Add a message that the reader got, with the event's id if it got that too."""
        gap = message.get("gap")
        first, last = (gap["from"], gap["to"]) if gap else (message["n"], message["n"])
        if self.ended or first != self._seq + 1 or last < first or (event_id and _seq(event_id) != last):
            end = ", the last," if self.ended else ""
            raise WrongError(f"{self._reader} was told {message} ({event_id}) after event {self._seq}{end}")
        self._seq = last
        if gap:
            self.missed += gap["missed"]
        else:
            self.delivered += 1
        self.last_event_id = event_id or self.last_event_id
        self.ended = message.get("complete", False)

    def resume(self) -> None:
        """Expect the events after the last event id again; a gap has no id, and is told again."""
        self._seq = _seq(self.last_event_id)

    def must_have_ended(self) -> None:
        """Raise unless the terminal event has come."""
        if not self.ended:
            raise WrongError(f"{self._reader} was told all to event {self._seq}, and no terminal event")


def _seq(event_id: str) -> int:
    return int(event_id.rpartition("-")[2])
