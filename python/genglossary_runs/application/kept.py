"""The store of a project: its runs' events outlive the process, and are read from any."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from .. import _core
from .._core import SqliteStore, Subscription
from ..errors import StoreError

logger = logging.getLogger(__name__)

VARIABLE = "GENGLOSSARY_RUNS_STORE"


def store_beside(db_path: str | os.PathLike[str]) -> SqliteStore | None:
    """The store of a project, in a file beside its database; None if it cannot be used, as a log record then says.

    Args:
        db_path: the database; the store is the file whose name ends in `.run-events`.
    """
    name = os.fspath(db_path)
    if name in ("", ":memory:"):
        return None
    try:
        return SqliteStore(f"{os.path.realpath(name)}.run-events")
    except StoreError as error:
        logger.warning("The events of the runs of %s are kept in memory only: %s", name, error)
        return None


class KeptRuns(_core.RunManager):
    """Runs of which a store keeps the events, if there is one; without one `genglossary_runs.RunManager` as it is.

    The rows of the database decide about a run, and the store is only one more reader of it. So no failure of the store
    matters to a run, and what concerns no run of the store happens in memory alone, as it does without one:

    - A run is opened in memory, in the transaction that makes its row, and is in the store from `keep` on, once that is
      committed. A run that was abandoned before was never there.
    - A cancel event that was made before its run opens, and what is published to a run that only subscribers made, are
      this process's.
    """

    def __init__(self) -> None:
        self._has_store = self.store is not None

    def open_run(self, run_id: Any, *, key: str | None = None, name: str | None = None) -> _core.CancelEvent:
        """As `genglossary_runs.RunManager.open_run`, in memory alone."""
        if self._has_store:
            return self.without_store().open_run(run_id)
        return super().open_run(run_id, key=key, name=name)

    def keep(self, run_id: int, on_cancel: Callable[[], object]) -> None:
        """Have the store, if there is one, keep a run that is open here and has no events. Never raises an `Exception`.

        Args:
            run_id: the run.
            on_cancel: called when the run is cancelled, since that may come from another process.
        """
        if not self._has_store:
            return
        try:
            if not self.keep_run(run_id):
                logger.warning("Run %s is kept in memory only: the store has an active run of this id", run_id)
        except StoreError as error:
            logger.warning("Run %s is kept in memory only: %s", run_id, error)
        event = self.cancel_event(run_id)
        if event is not None:
            event.add_callback(on_cancel)

    def is_kept(self, run_id: int) -> bool:
        """Whether the store has the run, and it has not ended. Waits for the store."""
        try:
            record = self.run_record(run_id) if self._has_store else None
        except StoreError:
            return False
        return record is not None and record["status"] == "running"

    def _publish_here(self, run_id: int, message: Mapping[str, Any]) -> None:
        """Publish without asking the store about a run that is not open here."""
        runs = self if not self._has_store or self.is_active(run_id) else self.without_store()
        runs.publish(run_id, message)

    def finish_run(
        self, run_id: Any, event: Mapping[str, Any], /, *, unless_active: bool = False, result: str | None = None
    ) -> bool:
        """As `genglossary_runs.RunManager.finish_run`; a run that is not open here is finished for its readers here."""
        if self._has_store and not self.is_active(run_id):
            return self.without_store().finish_run(run_id, event, unless_active=unless_active)
        return super().finish_run(run_id, event, unless_active=unless_active, result=result)

    def cancel_run(self, run_id: Any) -> bool:
        """As `genglossary_runs.RunManager.cancel_run`. A failure of the store is none: the owner reads the row, too."""
        try:
            return super().cancel_run(run_id)
        except StoreError as error:
            logger.warning("The cancel of run %s was not sent to its process: %s", run_id, error)
            return False

    def subscribe(self, run_id: Any, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """As `genglossary_runs.RunManager.subscribe`; if the store fails, of what is in memory."""
        try:
            return super().subscribe(run_id, after, must_exist=must_exist)
        except StoreError as error:
            logger.warning("Run %s is read from memory only: %s", run_id, error)
            return self.without_store().subscribe(run_id, after, must_exist=must_exist)
