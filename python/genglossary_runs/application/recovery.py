"""Follow the rows of runs that end elsewhere, and record outcomes that nobody has recorded.

A row may be ended by another process. A row may also stay active although its run has ended: its owner died, or could
not write to the database. The lock file names such runs and what is known of their end (see `ownership`).
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from .._core import Subscription
from .outcome import ACTIVE_STATUSES, INTERRUPTED, TERMINAL_STATUSES, Outcome, row_status, terminal_event
from .ownership import Ownership, Unrecorded
from .views import CancelEvents
from .watch import Watcher

logger = logging.getLogger(__name__)

# Seconds that readers of a run of the store may wait for its owner to tell them of an end that its row has: a cancelled
# pipeline may take a while to stop, or the store may fail.
LATE = 5.0

ELSEWHERE = "This run is executed by another process: its messages are not shown here, but its end is."


class Runs(Protocol):
    """What is needed of the manager. Each method is looked up when it is called."""

    db_path: str
    _cancel_events: CancelEvents

    def get_run(self, run_id: int) -> sqlite3.Row | None: ...
    def is_active(self, run_id: int, /) -> bool: ...
    def is_kept(self, run_id: int) -> bool: ...
    def subscribed_runs(self) -> Iterable[Any]: ...
    def cancel_run(self, run_id: Any) -> bool: ...
    def finish_run(self, run_id: Any, event: Mapping[str, Any], /, *, unless_active: bool = False) -> bool: ...
    def _record_all(self, outcomes: Unrecorded) -> list[int]: ...
    def _record_late(self, outcomes: Unrecorded) -> list[int]: ...


class Recovery:
    """Keeps the rows of one project true.

    Args:
        runs: the manager of the project.
        ownership: the project's ownership.
        interval: seconds between two checks of a row.

    Attributes:
        unrecorded: outcomes that readers of this process were told and the database was not.
        watcher: checks the rows that may change elsewhere, or have to be written.
    """

    def __init__(self, runs: Runs, ownership: Ownership, interval: float) -> None:
        self._runs = runs
        self._ownership = ownership
        self.unrecorded: dict[int, Outcome] = {}
        self.watcher = Watcher(self._check, interval)
        # When the row of a run was first seen to have ended, while its readers are yet to be told by the store.
        self._ended_at: dict[int, float] = {}

    def follow(self, row: sqlite3.Row, subscription: Subscription) -> None:
        """Have a reader of a run that is not executed by this manager told of the run's end."""
        run_id: int = row["id"]
        if row_status(row) in TERMINAL_STATUSES:
            if not self._end(run_id, row["status"]):
                self.watcher.watch(run_id)
            return
        if run_id == self._ownership.run_elsewhere() and not self._runs.is_kept(run_id):
            subscription.put_nowait({"run_id": run_id, "level": "info", "message": ELSEWHERE})
        # Wherever it is executed: it may have ended since its row was read.
        self.watcher.watch(run_id)

    def read(self, read: Callable[[], sqlite3.Row | None]) -> sqlite3.Row | None:
        """Read a row, and again if it was active although its run has ended: that is then recorded."""
        row = read()
        try:
            ended = self._recover(row)
        except sqlite3.Error as error:
            run_id = None if row is None else row["id"]
            logger.warning("Run %s of %s has ended; could not record that (%s)", run_id, self._runs.db_path, error)
            return row
        return read() if ended else row

    def _recover(self, row: sqlite3.Row | None) -> bool:
        """Record how the run of an active row ended, if it has. Returns whether it has."""
        if row is None or row_status(row) not in ACTIVE_STATUSES or self._runs.is_active(row["id"]):
            return False
        with self._ownership.abandoned() as abandoned:
            outcomes = {**abandoned, **self.unrecorded}
            if row["id"] not in outcomes:
                return False
            recorded = self._runs._record_all(outcomes)
        self.announce(outcomes, recorded)
        return True

    def announce(self, outcomes: Unrecorded, recorded: Iterable[int]) -> None:
        """Tell readers of these runs, after the outcomes are in the database.

        Args:
            outcomes: how the runs ended.
            recorded: those whose row was still active.
        """
        for run_id in outcomes:
            self.unrecorded.pop(run_id, None)
        for run_id in recorded:
            outcome = outcomes[run_id]
            level = logging.WARNING if outcome == INTERRUPTED else logging.INFO
            logger.log(level, "Run %s of %s %s. %s", run_id, self._runs.db_path, outcome.status, outcome.error or "")
            self._runs.finish_run(run_id, terminal_event(run_id, outcome.status), unless_active=True)

    def _check(self, run_id: int) -> bool:
        """Follow what other processes do to a run, or record its outcome. Returns whether to check again."""
        if run_id in self.unrecorded:
            return self._record_late(run_id)
        executed_here = self._runs.is_active(run_id)
        if not executed_here and run_id not in self._runs.subscribed_runs():
            self._ended_at.pop(run_id, None)
            return False
        # A connection would create a database that has vanished anew.
        row = self._runs.get_run(run_id) if os.path.exists(self._runs.db_path) else None
        if executed_here:
            self._follow_cancel(run_id, row)
            return True
        if row is None or row["status"] in TERMINAL_STATUSES:
            # Without its row, nobody will ever know how the run ended.
            return not self._end(run_id, row_status(row))
        self._recover(row)
        return True

    def _end(self, run_id: int, status: str | None) -> bool:
        """Tell readers the end that a row has, unless the store is about to. Returns whether they have been told."""
        event = terminal_event(run_id, status)
        if not self._runs.finish_run(run_id, event, unless_active=True) and run_id in self._runs.subscribed_runs():
            since = self._ended_at.setdefault(run_id, time.monotonic())
            if self._runs.is_active(run_id) or time.monotonic() - since < LATE:
                return False
            self._runs.finish_run(run_id, event)
        self._ended_at.pop(run_id, None)
        return True

    def _record_late(self, run_id: int) -> bool:
        """Try again to record an outcome. Returns whether to try once more."""
        if not os.path.exists(self._runs.db_path):
            self.unrecorded.pop(run_id, None)
            return False
        outcomes = dict(self.unrecorded)
        self.announce(outcomes, self._runs._record_late(outcomes))
        return False

    def _follow_cancel(self, run_id: int, row: sqlite3.Row | None) -> None:
        cancel_event = self._runs._cancel_events.get(run_id)
        if row_status(row) == "cancelled" and cancel_event is not None and not cancel_event.is_set():
            logger.info("Run %s was cancelled by another process", run_id)
            self._runs.cancel_run(run_id)
