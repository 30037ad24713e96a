"""The runs of one project and their readers: the part of the manager that needs nothing of the application."""

import asyncio
import logging
import os
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Self

from .. import _core
from .._core import Subscription
from ..errors import UnknownRunError
from ..runner.forks import start_over_in_child
from .kept import VARIABLE, KeptRuns, store_beside
from .ownership import Ownership, Unrecorded
from .recovery import Recovery
from .views import CancelEvents, CompletedRuns, Subscribers

logger = logging.getLogger(__name__)


class ProjectRuns(KeptRuns):
    """Runs that have a row in a database: readers learn how one ended, wherever it is executed.

    Args:
        ownership: the ownership of the project.
        watch_interval: seconds between two checks of a row.
    """

    MAX_LOG_QUEUE_SIZE: ClassVar[int] = 1000
    # Whether runs are kept in a store beside the project's database.
    STORE: ClassVar[bool] = False

    def __new__(cls, db_path: str, *args: Any, **kwargs: Any) -> Self:
        wanted = cls.STORE or os.environ.get(VARIABLE) == "1"
        store = store_beside(db_path) if wanted else None
        # How an interrupted run ended is for its row to say: it may have been recorded before the process died.
        return super().__new__(cls, history=cls.MAX_LOG_QUEUE_SIZE, store=store, tells_interrupted=False)

    def __init__(self, ownership: Ownership, watch_interval: float) -> None:
        super().__init__()
        self._recovery = Recovery(self, ownership, watch_interval)
        self._watcher = self._recovery.watcher
        self._cancelling: set[int] = set()
        self._cancel_events = CancelEvents(self)
        self._subscribers = Subscribers(self)
        self._completed_runs = CompletedRuns(self)
        self._start_over()
        start_over_in_child(self)

    def _start_over(self) -> None:
        # Guarded by the lock. A child that closed its parent's would shut connections that both have.
        self._executors: dict[int, Any] = {}
        self._executors_lock = threading.Lock()
        # The core has locks of its own; these are for callers who hold them around the views above.
        self._cancel_events_lock = threading.RLock()
        self._subscribers_lock = threading.RLock()

    db_path: str

    @abstractmethod
    def get_run(self, run_id: int) -> sqlite3.Row | None:
        """The row of one run."""

    @abstractmethod
    def _record_all(self, outcomes: Unrecorded) -> list[int]:
        """Record these outcomes in the rows that are active. Returns the runs whose row was."""

    @abstractmethod
    def _record_late(self, outcomes: Unrecorded) -> list[int]:
        """As `_record_all`, from the watcher's thread."""

    def open_run(self, run_id: Any, *, key: str | None = None, name: str | None = None) -> _core.CancelEvent:
        """As `genglossary_runs.RunManager.open_run`; forgets what an earlier life of the id left."""
        self._recovery.unrecorded.pop(run_id, None)
        return super().open_run(run_id, key=key, name=name)

    def finish_run(
        self, run_id: Any, event: Mapping[str, Any], /, *, unless_active: bool = False, result: str | None = None
    ) -> bool:
        """As `genglossary_runs.RunManager.finish_run`; clears what is kept here of the run, too."""
        finished = super().finish_run(run_id, event, unless_active=unless_active, result=result)
        if finished:
            self._cancel_events.forget(run_id)
            self._subscribers.forget(run_id)
        return finished

    def abandon_run(self, run_id: Any) -> bool:
        """As `genglossary_runs.RunManager.abandon_run`; clears what is kept here of the run's cancel event, too."""
        self._cancel_events.forget(run_id)
        return super().abandon_run(run_id)

    def cancel_run(self, run_id: Any) -> bool:
        """Set the run's cancel event and close its executor, so that a blocked call ends.

        Returns:
            Whether there was a run to cancel. Unknown and finished runs are none.
        """
        self._cancelling.add(run_id)
        try:
            found = super().cancel_run(run_id)
        finally:
            self._cancelling.discard(run_id)
        self._close_executor(run_id)
        return found

    def _keep_events(self, run_id: int) -> None:
        self.keep(run_id, on_cancel=partial(self._cancelled_through_store, run_id))

    def _cancelled_through_store(self, run_id: int) -> None:
        # A `cancel_run` that is under way sees to it itself.
        if run_id not in self._cancelling:
            self._close_executor(run_id)

    def _close_executor(self, run_id: int) -> None:
        with self._executors_lock:
            executor = self._executors.get(run_id)
        if executor is not None:
            self._close(executor)

    def _close(self, executor: Any) -> None:
        try:
            executor.close()
        except Exception:
            logger.warning("Closing a pipeline executor failed", exc_info=True)

    def register_subscriber(self, run_id: int, after: str | None = None) -> Subscription:
        """Make a reader of a run that is yet to start, is active, or has finished; see `subscribe`."""
        self._subscribers.note(run_id)
        try:
            return self.subscribe(run_id, after)
        finally:
            self._subscribers.forget_unless_subscribed(run_id)

    def subscribe(self, run_id: Any, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """As `genglossary_runs.RunManager.subscribe`, and asks the database about a run that is not held here.

        A finished row gives the terminal event at once. A run that is active here wins over a finished row; a row that
        cannot be read counts as unfinished.
        """
        # Subscribed first: a run that finishes between this and the reading of its row is not missed.
        subscription = super().subscribe(run_id, after)
        if self.is_active(run_id) or run_id not in self.subscribed_runs():
            return subscription
        try:
            row = self._recovery.read(lambda: self.get_run(run_id))
        except Exception:
            logger.warning("Could not read the row of run %s; will retry", run_id, exc_info=True)
            self._watcher.watch(run_id)
            return subscription
        if row is not None:
            self._recovery.follow(row, subscription)
        elif must_exist:
            subscription.close()
            raise UnknownRunError(f"run {run_id} is unknown; start it first, or subscribe without must_exist")
        return subscription

    async def asubscribe(self, run_id: Any, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """Do what `subscribe` does, on an event loop."""
        return await asyncio.to_thread(self.subscribe, run_id, after, must_exist=must_exist)

    def unregister_subscriber(self, run_id: int, queue: object) -> None:
        """Close a reader of the run that this manager has made; anything else is ignored."""
        if isinstance(queue, Subscription) and queue.run_id == run_id:
            self.unsubscribe(queue)
            self._subscribers.forget_unless_subscribed(run_id)

    # Logging to readers

    def _broadcast_log(self, run_id: int, message: dict[str, Any]) -> None:
        self._publish_here(run_id, message)

    def _log(self, run_id: int, level: str, message: str, **fields: object) -> None:
        """Tell readers. A failure of that never stops what the message is about."""
        try:
            self._broadcast_log(run_id, {"run_id": run_id, "level": level, "message": message, **fields})
        except Exception:
            logger.exception("Could not tell the readers of run %s: %s", run_id, message)
