"""A run's events, read in pages or as one file, as far as they are there."""

import asyncio
import json
import queue
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from genglossary_runs import Subscription
from genglossary_runs.errors import StoreError, SubscriptionEnded
from genglossary_runs.lines import told
from genglossary_runs.runner import Runner

from .watch import seq_of

_EVENTS_AT_A_TIME = 200
# Seconds to wait for an event that a store has; only a store that fails takes so long.
_STORE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """An event, or a gap.

    Attributes:
        id: of the event; of a gap, that of the last event that is missing.
        name: `gap` and `complete` as in a stream.
        data: what was published.
    """

    id: str
    name: str | None
    data: dict[str, Any]


BROKEN_OFF = Entry(
    "", "stalled", {"level": "error", "message": "The rest of the log is missing: the run store cannot be used"}
)
"""The last entry of a file that a store has kept from being whole."""


class Reading:
    """The events of a run that were there when it began, perhaps with some that are published meanwhile."""

    def __init__(self, subscription: Subscription, end: int) -> None:
        self._subscription = subscription
        self._end = end

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been read, now or by whoever read before."""
        return self._subscription.ended

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """Read on.

        Raises:
            StoreError: the store cannot be used.
        """
        subscription, number = self._subscription, 0
        while not subscription.ended:
            is_there = seq_of(subscription) >= self._end
            try:
                data = subscription.get_nowait() if is_there else await subscription.aget(timeout=_STORE_TIMEOUT)
            except SubscriptionEnded:
                return
            except queue.Empty:
                if is_there:
                    return
                raise StoreError(f"the store has not answered for {_STORE_TIMEOUT:g} seconds") from None
            yield Entry(subscription.last_event_id, subscription.last_event_name, data)
            number += 1
            if number % _EVENTS_AT_A_TIME == 0:
                await asyncio.sleep(0)


async def read(runner: Runner, run_id: str, after: str) -> Reading:
    """Begin to read a run.

    Args:
        runner: knows the run.
        run_id: the run.
        after: the id of an event; `"0"` for all.

    Raises:
        UnknownRunError: nobody knows the run.
        StoreError: the store cannot be used.
    """
    # Events that a store has arrive only when they are awaited, so the end has to be known before.
    end = seq_of(await runner.asubscribe(run_id, None))
    return Reading(await runner.asubscribe(run_id, after), end)


def as_text(entry: Entry) -> str:
    """The lines of an entry in a log for people; nothing for mere progress."""
    found = told(entry.data, is_end=entry.name == "complete")
    if found is None:
        return ""
    level, lines = found
    time = str(entry.data.get("time") or "")
    head = f"{time:<29} {level.upper():<7} "
    return "".join(f"{head if number == 0 else ' ' * len(head)}{line}\n" for number, line in enumerate(lines))


def as_json(entry: Entry) -> str:
    """An entry as one line of JSON."""
    return json.dumps({"id": entry.id, "name": entry.name, "data": entry.data}, ensure_ascii=False) + "\n"
