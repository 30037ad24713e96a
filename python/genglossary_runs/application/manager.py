"""The run manager of the GenGlossary application, in place of its `genglossary.runs.manager`.

What differs from the module it replaces: queues of vanished clients do not stay; a reader that falls behind is told
what it missed; a cancelled run is not started over while its thread is still stopping, nor reported as failed because
its connection was closed; a finished row stays finished; what a failed pipeline left uncommitted is rolled back; a run
whose process died is recorded as failed; a run is cancelled, and its end is seen, from any process of the host.
"""

# The application's tests replace the names imported from it in this module, and methods on the instance: each
# is looked up when it is used, and methods are called through `self`.

import logging
import os
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, Self

from .. import _core
from .._core import Subscription, UnknownRunError
from .ownership import Claim, Ownership
from .views import CancelEvents, CompletedRuns, Subscribers
from .watch import Watcher

DOOR = "genglossary_runs.manager"
logger = logging.getLogger(DOOR)

# One module under both names, so that a patch of either replaces the globals that are looked up here. Registered
# before the application is imported, which in turn imports this module.
sys.modules[DOOR] = sys.modules[__name__]

ACTIVE_STATUSES = frozenset({"pending", "running"})
TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled"})
INTERRUPTED = "Interrupted: the process that ran it ended"

# Seconds between two looks at the row of a run that another process may cancel, or executes.
WATCH_INTERVAL = 0.5
# Seconds that a start waits for another process that has just finished its run, is about to create one, or looks after
# one that was interrupted.
HANDOVER = 2.0


class RunManager(_core.RunManager):
    """Runs the pipeline of one project in a background thread, one run at a time.

    Args:
        db_path: the project's SQLite file.
        doc_root: folder of the documents.
        llm_provider, llm_model, llm_base_url: handed to the pipeline; an empty base URL is its default.
    """

    MAX_LOG_QUEUE_SIZE: ClassVar[int] = 1000

    # One start at a time in the process: a project's manager may be replaced while its last run is stopping.
    _start_run_lock: ClassVar[threading.Lock] = threading.Lock()
    # The threads whose pipeline has not stopped, by database and run.
    _workers: ClassVar[dict[tuple[Hashable, int], Thread]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls, history=cls.MAX_LOG_QUEUE_SIZE)

    def __init__(
        self,
        db_path: str,
        doc_root: str = ".",
        llm_provider: str = "ollama",
        llm_model: str = "",
        llm_base_url: str = "",
    ) -> None:
        self.db_path = db_path
        self.doc_root = doc_root
        self.llm_provider = llm_provider
        self.llm_model = llm_model
        self.llm_base_url = llm_base_url
        self._thread: Thread | None = None
        self._ownership = Ownership(db_path)
        self._project = self._ownership.project
        # The claims of runs whose thread has not begun.
        self._claims: dict[int, Claim] = {}
        self._watcher = Watcher(self._look_at_row, WATCH_INTERVAL)
        self._executors: dict[int, Any] = {}
        self._executors_lock = threading.Lock()
        self._cancel_events = CancelEvents(self)
        self._subscribers = Subscribers(self)
        self._completed_runs = CompletedRuns(self)
        # The core has locks of its own; these are for callers who hold them around the views above.
        self._cancel_events_lock = threading.RLock()
        self._subscribers_lock = threading.RLock()

    # Starting

    def start_run(self, scope: str, triggered_by: str = "api", document_ids: list[int] | None = None) -> int:
        """Create a run and start its thread.

        Args:
            scope: what the pipeline is to do.
            triggered_by: who started it.
            document_ids: the documents to work on; None for all.

        Returns:
            The run's id.

        Raises:
            RuntimeError: a run of this project is active, or cancelled and still stopping; the message names it.
        """
        until = time.monotonic() + HANDOVER
        while True:
            last_try = time.monotonic() >= until
            self._refuse_beside(self._stopping_run())
            with self._start_run_lock:
                claim = self._ownership.claim()
                if claim is not None:
                    return self._start(claim, scope, triggered_by, document_ids)
            self._refuse_beside(self._ownership.run_elsewhere(), last_try)
            if last_try:
                raise RuntimeError("Run already running: another process is about to start one")
            time.sleep(0.01)

    def _refuse_beside(self, run_id: int | None, last_try: bool = False) -> None:
        """Refuse a start beside a pipeline that is at work, here or in another process, unless its run has ended.

        Without the write lock, which that pipeline may hold for long.
        """
        if run_id is None:
            return
        try:
            row = self.get_run(run_id)
        except sqlite3.OperationalError as error:  # it may keep readers out, too
            raise RuntimeError(f"Run already running: {run_id}") from error
        status = _status(row)
        if status in ACTIVE_STATUSES:
            raise RuntimeError(f"Run already running: {run_id}")
        if status == "cancelled" or (last_try and row is not None):
            raise RuntimeError(f"Run already running: {run_id} ({status}, still stopping)")

    def _start(self, claim: Claim, scope: str, triggered_by: str, document_ids: list[int] | None) -> int:
        try:
            run_id = self._insert_run(claim, scope, triggered_by)
        except BaseException:
            # If its row is there all the same, nobody executes it.
            claim.leave()
            claim.release()
            raise
        self._claims[run_id] = claim
        try:
            thread = Thread(target=self._execute_run, args=(run_id, scope, document_ids), daemon=True)
            self._thread = self._workers[self._project, run_id] = thread
            thread.start()
        except BaseException as error:
            self._thread = None
            self._abandon_start(run_id, error)
            raise
        return run_id

    def _insert_run(self, claim: Claim, scope: str, triggered_by: str) -> int:
        run_id = None
        try:
            with database_connection(self.db_path) as conn, immediate_transaction(conn):
                interrupted = self._mark_interrupted(conn, claim.left)
                active = get_active_run(conn)
                if active is not None:
                    raise RuntimeError(f"Run already running: {active['id']}")
                stopping = self._stopping_run()
                if stopping is not None:
                    raise RuntimeError(f"Run already running: {stopping} (cancelled, still stopping)")
                run_id = int(create_run(conn, scope=scope, triggered_by=triggered_by))
                # Before the commit lets any other thread or process see the run.
                claim.name(run_id)
                self._open(run_id)
            claim.settle()
            self._announce_interrupted(interrupted)
        except BaseException:
            if run_id is not None:
                self.abandon_run(run_id)
            raise
        return run_id

    def _open(self, run_id: int) -> None:
        if self.is_active(run_id):  # left by an earlier life of the id whose thread never ran
            self._cleanup_run_resources(run_id)
        self.open_run(run_id)

    def _stopping_run(self) -> int | None:
        for (project, run_id), thread in list(self._workers.items()):
            if project == self._project and thread.is_alive() is True:  # a stand-in's answer is no bool
                return run_id
        return None

    def _abandon_start(self, run_id: int, error: BaseException) -> None:
        written = False
        try:
            message = _error_text(error, prefix="Failed to start execution thread")
            with database_connection(self.db_path) as conn, transaction(conn):
                update_run_status(conn, run_id, "failed", finished_at=datetime.now(UTC), error_message=message)
            written = True
        except Exception as update_error:
            logger.exception("Failed to update the status of run %s", run_id)
            self._log(run_id, "warning", f"Failed to update run status: {_error_text(update_error)}")
        finally:
            self._workers.pop((self._project, run_id), None)
            self._cleanup_run_resources(run_id, db_status="failed", status_update_failed=not written)
            self._release_claim(run_id, written)

    def _release_claim(self, run_id: int, written: bool) -> None:
        claim = self._claims.pop(run_id, None)
        if claim is None:
            return
        if not written:
            claim.leave()
        claim.release()

    # Executing

    def _execute_run(self, run_id: int, scope: str, document_ids: list[int] | None = None) -> None:
        if not self.is_active(run_id):
            self.open_run(run_id)
        if run_id not in self._claims:
            self._claim_directly(run_id)
        self._workers[self._project, run_id] = threading.current_thread()
        self._watcher.watch(run_id)
        conn: sqlite3.Connection | None = None
        error: BaseException | None = None
        trace: str | None = None
        try:
            conn = get_connection(self.db_path)
            if not self._mark_running(conn, run_id):
                raise PipelineCancelledException(f"run {run_id} was finished before it began")
            self._run_pipeline(conn, run_id, scope, document_ids)
        except BaseException as raised:
            error, trace = raised, traceback.format_exc()
        written = False
        try:
            written = self._finish(conn, run_id, error, trace)
        finally:
            self._watcher.forget(run_id)
            self._release_claim(run_id, written)
            if conn is not None:
                with suppress(Exception):
                    conn.close()
        if error is not None and not isinstance(error, Exception):
            raise error

    def _claim_directly(self, run_id: int) -> None:
        """Own the project for a run that `start_run` did not start."""
        claim = self._ownership.claim()
        if claim is None:
            logger.warning("Run %s is executed though another process owns %s or looks after it", run_id, self.db_path)
            return
        claim.name(run_id)
        self._claims[run_id] = claim

    def _mark_running(self, conn: sqlite3.Connection, run_id: int) -> bool:
        # `immediate_transaction` does not nest; a connection that is given may have one open, or be a stand-in.
        begin = immediate_transaction if conn.in_transaction is False else transaction
        with begin(conn):
            if _status(get_run(conn, run_id)) in TERMINAL_STATUSES:
                return False
            update_run_status(conn, run_id, "running", started_at=datetime.now(UTC))
        return True

    def _run_pipeline(
        self,
        conn: sqlite3.Connection,
        run_id: int,
        scope: str,
        document_ids: list[int] | None,
    ) -> None:
        context = ExecutionContext(
            run_id=run_id,
            log_callback=lambda message: self._broadcast_log(run_id, message),
            cancel_event=self._cancel_events[run_id],
        )
        executor = PipelineExecutor(
            provider=self.llm_provider,
            model=self.llm_model,
            base_url=self.llm_base_url or None,
            llm_debug=Config().llm_debug,
            debug_dir=str(Path(self.db_path).parent / "llm-debug"),
        )
        with self._executors_lock:
            self._executors[run_id] = executor
        try:
            executor.execute(conn, scope, context, doc_root=self.doc_root, document_ids=document_ids)
        finally:
            with self._executors_lock:
                self._executors.pop(run_id, None)
            self._close(executor)

    def _close(self, executor: Any) -> None:
        try:
            executor.close()
        except Exception:
            logger.warning("Closing a pipeline executor failed", exc_info=True)

    # Finishing

    def _finish(
        self, conn: sqlite3.Connection | None, run_id: int, error: BaseException | None, trace: str | None
    ) -> bool:
        """Record and publish the end of the run; whether it could be recorded."""
        status, written = self._outcome(run_id, error), False
        try:
            if error is not None and conn is not None:
                with suppress(Exception):
                    conn.rollback()
            # From here on it is the row that refuses another start, until its status is written.
            self._workers.pop((self._project, run_id), None)
            status, written = self._finalize_run_status(conn, run_id, error, trace)
            if written:
                status = self._recorded_status(conn, run_id) or status
        except Exception:
            logger.exception("Recording the end of run %s failed", run_id)
        finally:
            self._workers.pop((self._project, run_id), None)
            self._cleanup_run_resources(run_id, db_status=status, status_update_failed=not written)
        return written

    def _outcome(self, run_id: int, error: BaseException | None) -> str:
        if error is None:
            return "completed"
        cancel_event = self._cancel_events.get(run_id)
        if isinstance(error, PipelineCancelledException) or (cancel_event is not None and cancel_event.is_set()):
            return "cancelled"
        return "failed"

    def _finalize_run_status(
        self,
        conn: sqlite3.Connection | None,
        run_id: int,
        pipeline_error: BaseException | None,
        pipeline_traceback: str | None = None,
    ) -> tuple[str, bool]:
        """Record the outcome; the status that should be in the row, and whether it could be written."""
        status = self._outcome(run_id, pipeline_error)
        message = None
        if pipeline_error is not None and status == "failed":
            message = _error_text(pipeline_error)
            self._log(run_id, "error", f"Run failed: {message}", traceback=pipeline_traceback or "")
        return status, self._try_update_status(conn, run_id, status, message)

    def _try_update_status(
        self,
        conn: sqlite3.Connection | None,
        run_id: int,
        status: str,
        error_message: str | None = None,
    ) -> bool:
        """Write a terminal status unless the row has one; whether the row has one now, or is gone."""
        if conn is not None:
            try:
                return self._update_status(conn, run_id, status, error_message)
            except Exception:
                logger.warning("Writing the status of run %s failed; trying a new connection", run_id, exc_info=True)
                # What the old connection holds locked would keep the new one out. Of a pipeline that succeeded it is a
                # result; of one that did not it has been rolled back.
                with suppress(Exception):
                    conn.commit()
                with suppress(Exception):
                    conn.rollback()
        try:
            with database_connection(self.db_path) as fresh:
                return self._update_status(fresh, run_id, status, error_message)
        except Exception as error:
            logger.exception("Writing the status of run %s failed", run_id)
            self._log(run_id, "warning", f"Failed to update {status} status: {_error_text(error)}")
            return False

    def _update_status(self, conn: sqlite3.Connection, run_id: int, status: str, error_message: str | None) -> bool:
        result = update_run_status_if_active(conn, run_id, status, error_message=error_message)
        conn.commit()
        if result == RunUpdateResult.NOT_FOUND:
            self._log(run_id, "info", f"{status.capitalize()} skipped: run not found")
        elif result == RunUpdateResult.NOT_IN_EXPECTED_STATE:
            self._log(run_id, "info", f"{status.capitalize()} skipped: run not in expected state")
        return True

    def _recorded_status(self, conn: sqlite3.Connection | None, run_id: int) -> str | None:
        """The terminal status in the row, if there is one and it can be read."""
        row = None
        if conn is not None:
            with suppress(Exception):  # it may be the connection
                row = get_run(conn, run_id)
        try:
            status = _status(self.get_run(run_id) if row is None else row)
        except Exception:
            logger.warning("Reading the status of run %s failed", run_id, exc_info=True)
            return None
        return status if status in TERMINAL_STATUSES else None

    def _cleanup_run_resources(
        self, run_id: int, db_status: str | None = None, status_update_failed: bool = False
    ) -> None:
        """Publish the terminal event and clear every entry of the run, as one step. The first terminal event stays."""
        self.finish_run(run_id, _terminal_event(run_id, db_status, status_update_failed))

    def finish_run(self, run_id: int, event: Mapping[str, Any], /, *, unless_active: bool = False) -> bool:
        """As `genglossary_runs.RunManager.finish_run`; clears what is kept here of the run, too."""
        ended = super().finish_run(run_id, event, unless_active=unless_active)
        if ended:
            self._cancel_events.forget(run_id)
            self._subscribers.forget(run_id)
        return ended

    def abandon_run(self, run_id: int) -> bool:
        """As `genglossary_runs.RunManager.abandon_run`; clears what is kept here of the run's cancel event, too."""
        self._cancel_events.forget(run_id)
        return super().abandon_run(run_id)

    # Cancelling

    def cancel_run(self, run_id: int) -> bool:
        """Set the run's cancel event and close its executor, so that a blocked call ends.

        Returns:
            Whether there was a run to cancel. Unknown and finished runs are none.
        """
        found = super().cancel_run(run_id)
        with self._executors_lock:
            executor = self._executors.get(run_id)
        if executor is not None:
            self._close(executor)
        return found

    # Reading

    def register_subscriber(self, run_id: int, after: str | None = None) -> Subscription:
        """Make a reader of a run that is yet to start, is active, or has finished; see `subscribe`."""
        self._subscribers.note(run_id)
        try:
            return self.subscribe(run_id, after)
        finally:
            self._subscribers.forget_unless_subscribed(run_id)

    def subscribe(self, run_id: int, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """As `genglossary_runs.RunManager.subscribe`, and asks the database about a run that is not held here.

        A finished row gives the terminal event at once. A run that is live here wins over a finished row; a row that
        cannot be read counts as unfinished.
        """
        # Registered first: a run that finishes between this and the reading of its row is not missed.
        subscription = super().subscribe(run_id, after)
        if self.is_active(run_id) or run_id in self._completed_runs:
            return subscription
        try:
            row = self.get_run(run_id)
            if self._recover(row):
                row = self.get_run(run_id)
        except Exception:
            logger.warning("Reading the row of run %s failed; waiting for the run", run_id, exc_info=True)
            self._watcher.watch(run_id)
            return subscription
        if row is None and must_exist:
            subscription.close()
            raise UnknownRunError(f"run {run_id} is unknown; start it first, or subscribe without must_exist")
        if row is None:
            return subscription
        if _status(row) in TERMINAL_STATUSES:
            self.finish_run(run_id, _terminal_event(run_id, row["status"]), unless_active=True)
            return subscription
        if run_id == self._ownership.run_elsewhere():
            subscription.put_nowait(
                {
                    "run_id": run_id,
                    "level": "info",
                    "message": "This run is executed by another process: its messages are not shown here, its end is.",
                }
            )
        # Wherever it is executed: it may have ended since its row was read.
        self._watcher.watch(run_id)
        return subscription

    def unregister_subscriber(self, run_id: int, queue: object) -> None:
        """Close a reader of the run that this manager has made; anything else is ignored."""
        if isinstance(queue, Subscription) and queue.run_id == run_id:
            self.unsubscribe(queue)
            self._subscribers.forget_unless_subscribed(run_id)

    def get_active_run(self) -> sqlite3.Row | None:
        """The row that is `pending` or `running`, unless the process that ran it has ended."""
        row = self._read_active_run()
        return self._read_active_run() if self._recover(row) else row

    def get_current_or_latest_run(self) -> sqlite3.Row | None:
        """The active row, else the newest."""
        row = self._read_latest_run()
        return self._read_latest_run() if self._recover(row) else row

    def get_run(self, run_id: int) -> sqlite3.Row | None:
        """The row of one run."""
        with database_connection(self.db_path) as conn:
            row: sqlite3.Row | None = get_run(conn, run_id)
        return row

    def _read_active_run(self) -> sqlite3.Row | None:
        with database_connection(self.db_path) as conn:
            row: sqlite3.Row | None = get_active_run(conn)
        return row

    def _read_latest_run(self) -> sqlite3.Row | None:
        with database_connection(self.db_path) as conn:
            row: sqlite3.Row | None = get_current_or_latest_run(conn)
        return row

    # Other processes

    def _recover(self, row: sqlite3.Row | None) -> bool:
        """Record an active row as failed if the process that ran it has ended; whether it was so."""
        if row is None or _status(row) not in ACTIVE_STATUSES or self.is_active(row["id"]):
            return False
        with self._ownership.abandoned() as left:
            if row["id"] not in left:
                return False
            try:
                with database_connection(self.db_path) as conn, immediate_transaction(conn):
                    interrupted = self._mark_interrupted(conn, left)
            except sqlite3.Error as error:
                logger.warning("Run %s of %s was interrupted; recording it failed (%s)", row["id"], self.db_path, error)
                return False
        self._announce_interrupted(interrupted)
        return True

    def _mark_interrupted(self, conn: sqlite3.Connection, left: frozenset[int]) -> list[int]:
        """Record those of these runs as failed that have not ended, and return them."""
        return [
            run_id
            for run_id in left
            if update_run_status_if_active(conn, run_id, "failed", error_message=INTERRUPTED) == RunUpdateResult.UPDATED
        ]

    def _announce_interrupted(self, run_ids: list[int]) -> None:
        for run_id in run_ids:
            logger.warning("Run %s of %s failed. %s", run_id, self.db_path, INTERRUPTED)
            self.finish_run(run_id, _terminal_event(run_id, "failed"), unless_active=True)

    def _look_at_row(self, run_id: int) -> bool:
        """Follow what other processes do to a run: a cancel of one that runs here, the end of one read here."""
        runs_here = self.is_active(run_id)
        if not runs_here and run_id not in self.subscribed_runs():
            return False
        # A connection would make a database that has vanished anew.
        row = self.get_run(run_id) if os.path.exists(self.db_path) else None
        if row is None and not runs_here:  # nobody will ever know how it ended
            self.finish_run(run_id, _terminal_event(run_id, None), unless_active=True)
            return False
        if row is None:
            return True
        if runs_here:
            cancel_event = self._cancel_events.get(run_id)
            if row["status"] == "cancelled" and cancel_event is not None and not cancel_event.is_set():
                logger.info("Run %s was cancelled by another process", run_id)
                self.cancel_run(run_id)
            return True
        if row["status"] in TERMINAL_STATUSES:
            self.finish_run(run_id, _terminal_event(run_id, row["status"]), unless_active=True)
            return False
        self._recover(row)
        return True

    # Logging to readers

    def _broadcast_log(self, run_id: int, message: dict[str, Any]) -> None:
        self.publish(run_id, message)

    def _log(self, run_id: int, level: str, message: str, **fields: object) -> None:
        """Tell readers; what goes wrong with that never stops what it tells of."""
        try:
            self._broadcast_log(run_id, {"run_id": run_id, "level": level, "message": message, **fields})
        except Exception:
            logger.exception("Telling the readers of run %s failed: %s", run_id, message)


def _forget_parent() -> None:
    """In a forked child: another thread of the parent may have held the lock."""
    RunManager._start_run_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_parent)


def _status(row: Any) -> str | None:
    """The status in a row, which may be None, or a stand-in that has none."""
    try:
        status: str = row["status"]
    except (TypeError, LookupError):
        return None
    return status


def _error_text(error: BaseException, prefix: str | None = None) -> str:
    """The sanitized message; what has no text, or text that cannot be stored, never hides that there was an error."""
    try:
        text = str(sanitize_error_message(error, **({} if prefix is None else {"prefix": prefix})))
    except Exception:
        logger.warning("An error has no message that can be shown", exc_info=True)
        text = type(error).__name__ if prefix is None else f"{prefix}: {type(error).__name__}"
    # A lone surrogate, as a file's name may hold, cannot be stored.
    return text.encode("utf-8", "replace").decode("utf-8")


def _terminal_event(run_id: int, db_status: str | None, status_update_failed: bool = False) -> dict[str, Any]:
    event: dict[str, Any] = {"run_id": run_id, "complete": True}
    if db_status is not None:
        event["db_status"] = db_status
    if status_update_failed:
        event["status_update_failed"] = True
    return event


# Last, for these import the package of the module that this one replaces, which in turn imports `RunManager`.
try:
    from genglossary.config import Config
    from genglossary.db.connection import (
        database_connection,
        get_connection,
        immediate_transaction,
        transaction,
    )
    from genglossary.db.runs_repository import (
        RunUpdateResult,
        create_run,
        get_active_run,
        get_current_or_latest_run,
        get_run,
        update_run_status,
        update_run_status_if_active,
    )
    from genglossary.runs.error_sanitizer import sanitize_error_message
    from genglossary.runs.executor import (
        ExecutionContext,
        PipelineCancelledException,
        PipelineExecutor,
    )
except ModuleNotFoundError as missing:
    sys.modules.pop(DOOR, None)
    if missing.name != "genglossary":
        raise
    raise ModuleNotFoundError(
        "genglossary_runs.manager is the run manager of the GenGlossary application, which is not installed; "
        "in any other application use genglossary_runs.RunManager or genglossary_runs.runner",
        name="genglossary",
    ) from missing
