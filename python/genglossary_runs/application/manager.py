"""The run manager of the GenGlossary application, in place of its `genglossary.runs.manager`.

Differences from the module that it replaces: the queues of vanished clients do not stay; a reader that falls behind is
told what it missed; a cancelled run is not started again while its thread is still stopping, nor reported as failed
because its connection was closed; a finished row stays finished; what a failed pipeline did not commit is rolled back;
a run whose process died is recorded as failed; the outcome of a run is recorded even if its database could not be
written at the end; a run can be cancelled, and its end is seen, from any process of the host.
"""

# The methods follow a run: starting, executing, ending, then reading its row. What needs no name that the tests replace
# is in other files, such as `runs.py` (the runs of a project) and `recovery.py` (runs whose owner died).
#
# The application's tests replace the names imported from it in this module, and methods on the instance: each name is
# looked up as a global when it is used, and methods are called through `self`.

import logging
import os
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar

from .connections import close, commit, in_transaction, roll_back
from .outcome import ACTIVE_STATUSES, INTERRUPTED, TERMINAL_STATUSES, Outcome, error_text, row_status, terminal_event
from .ownership import Claim, Ownership, Unrecorded
from .runs import ProjectRuns

DOOR = "genglossary_runs.manager"
logger = logging.getLogger(DOOR)

# One module under both names, so that a patch of either replaces the globals that are looked up here. Registered
# before the application is imported, which in turn imports this module.
sys.modules[DOOR] = sys.modules[__name__]

# Seconds between two checks of the row of a run that another process may cancel or executes, or whose outcome could not
# be recorded.
WATCH_INTERVAL = 0.5
# Seconds that a start waits for another process that has just finished its run, is about to create one, or is recording
# one that was interrupted.
HANDOVER = 2.0


class RunManager(ProjectRuns):
    """Runs the pipeline of one project in a background thread, one run at a time.

    Args:
        db_path: the project's SQLite file.
        doc_root: folder of the documents.
        llm_provider, llm_model, llm_base_url: handed to the pipeline; an empty base URL stands for its default.
    """

    # One start at a time in the process: a project's manager may be replaced while its last run is stopping.
    _start_run_lock: ClassVar[threading.Lock] = threading.Lock()
    # The threads whose pipeline has not stopped, by database and run.
    _workers: ClassVar[dict[tuple[Hashable, int], Thread]] = {}

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
        self._ownership = Ownership(db_path)
        super().__init__(self._ownership, WATCH_INTERVAL)
        self._project = self._ownership.project
        self._thread: Thread | None = None
        # The claims of runs that have not ended.
        self._claims: dict[int, Claim] = {}

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
        deadline = time.monotonic() + HANDOVER
        while True:
            last_try = time.monotonic() >= deadline
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

        Takes no write lock, which that pipeline may hold for long.
        """
        if run_id is None:
            return
        try:
            row = self.get_run(run_id)
        except sqlite3.OperationalError as error:  # the pipeline may keep readers out, too
            raise RuntimeError(f"Run already running: {run_id}") from error
        status = row_status(row)
        if status in ACTIVE_STATUSES:
            raise RuntimeError(f"Run already running: {run_id}")
        if status == "cancelled" or (last_try and row is not None):
            raise RuntimeError(f"Run already running: {run_id} ({status}, still stopping)")

    def _start(self, claim: Claim, scope: str, triggered_by: str, document_ids: list[int] | None) -> int:
        try:
            run_id = self._insert_run(claim, scope, triggered_by)
        except BaseException:
            # If its row is there all the same, nobody executes it.
            claim.leave(INTERRUPTED)
            claim.release()
            raise
        self._claims[run_id] = claim
        thread: Thread | None = None
        try:
            self._keep_events(run_id)
            thread = Thread(target=self._execute_run, args=(run_id, scope, document_ids), daemon=True)
            self._thread = self._workers[self._project, run_id] = thread
            thread.start()
        except BaseException as error:
            # A Ctrl-C may come when the thread is there. A test's stand-in may have no `is_alive`, or returns no bool.
            if thread is not None and not isinstance(error, Exception) and thread.is_alive() is True:
                raise
            self._thread = None
            message = _error_text(error, prefix="Failed to start execution thread")
            self._end_run(None, run_id, Outcome("failed", message), self._record_failed_start)
            raise
        return run_id

    def _insert_run(self, claim: Claim, scope: str, triggered_by: str) -> int:
        run_id = None
        unrecorded = {**claim.unrecorded, **self._recovery.unrecorded}
        try:
            with database_connection(self.db_path) as conn, immediate_transaction(conn):
                recorded = _update_if_active(conn, unrecorded)
                active = get_active_run(conn)
                if active is not None:
                    raise RuntimeError(f"Run already running: {active['id']}")
                stopping = self._stopping_run()
                if stopping is not None:
                    raise RuntimeError(f"Run already running: {stopping} (cancelled, still stopping)")
                run_id = int(create_run(conn, scope=scope, triggered_by=triggered_by))
                # Before the commit lets any other thread or process see the run.
                claim.name(run_id)
                if self.is_active(run_id):  # an earlier life of the id, whose thread never ran
                    self._cleanup_run_resources(run_id)
                self.open_run(run_id)
            claim.clear()
            self._recovery.announce(unrecorded, recorded)
        except BaseException:
            if run_id is not None:
                self.abandon_run(run_id)
            raise
        return run_id

    def _stopping_run(self) -> int | None:
        for (project, run_id), thread in list(self._workers.items()):
            if project == self._project and thread.is_alive() is True:  # a test's stand-in returns no bool
                return run_id
        return None

    def _record_failed_start(self, conn: None, run_id: int, outcome: Outcome) -> bool:
        try:
            with database_connection(self.db_path) as fresh, transaction(fresh):
                update_run_status(
                    fresh, run_id, outcome.status, finished_at=datetime.now(UTC), error_message=outcome.error
                )
        except Exception as error:
            logger.exception("Writing the status of run %s failed", run_id)
            self._log(run_id, "warning", f"Failed to update run status: {_error_text(error)}")
            return False
        return True

    # Executing

    def _execute_run(self, run_id: int, scope: str, document_ids: list[int] | None = None) -> None:
        if not self.is_active(run_id):
            self.open_run(run_id)
            self._keep_events(run_id)
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
        try:
            self._end_run(conn, run_id, self._decide(run_id, error, trace), self._record)
        finally:
            close(conn)
        if error is not None and not isinstance(error, Exception):
            raise error

    def _claim_directly(self, run_id: int) -> None:
        """Own the project for a run that `start_run` did not start."""
        claim = self._ownership.claim()
        if claim is None:
            logger.warning("Run %s is executed although another process owns %s", run_id, self.db_path)
            return
        claim.name(run_id)
        self._claims[run_id] = claim

    def _mark_running(self, conn: sqlite3.Connection, run_id: int) -> bool:
        # `immediate_transaction` does not nest; a connection that is given may have one open, or be a stand-in.
        begin = immediate_transaction if conn.in_transaction is False else transaction
        with begin(conn):
            if row_status(get_run(conn, run_id)) in TERMINAL_STATUSES:
                return False
            update_run_status(conn, run_id, "running", started_at=datetime.now(UTC))
        return True

    def _run_pipeline(self, conn: sqlite3.Connection, run_id: int, scope: str, document_ids: list[int] | None) -> None:
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

    # Ending

    def _decide(self, run_id: int, error: BaseException | None, trace: str | None) -> Outcome:
        if error is None:
            return Outcome("completed")
        cancel_event = self._cancel_events.get(run_id)
        # Closing the executor of a cancelled run makes its blocked calls fail in any way.
        if isinstance(error, PipelineCancelledException) or (cancel_event is not None and cancel_event.is_set()):
            return Outcome("cancelled")
        return Outcome("failed", _error_text(error), trace)

    def _end_run(
        self,
        conn: Any,
        run_id: int,
        outcome: Outcome,
        record: Callable[[Any, int, Outcome], bool],
    ) -> None:
        """Record the outcome and tell readers: the one way that a run of this process ends.

        Whatever goes wrong with recording, readers get the terminal event and the outcome is kept until it is recorded.
        """
        claim = self._claims.pop(run_id, None) or Claim(None)
        try:
            if outcome.status != "completed":
                roll_back(conn)
            if not in_transaction(conn):
                claim.keep(outcome)
            # From here on it is the row that refuses another start, until its status is written.
            self._workers.pop((self._project, run_id), None)
            if record(conn, run_id, outcome):
                status = self._recorded_status(conn, run_id) or outcome.status
                outcome = replace(outcome, status=status, recorded=True)
        finally:
            self._workers.pop((self._project, run_id), None)
            if not outcome.recorded:
                # In this order: as soon as another thread can record it, the file may be the next run's.
                claim.keep(outcome)
                claim.leave(outcome)
                self._recovery.unrecorded[run_id] = outcome
            try:
                self._cleanup_run_resources(run_id, outcome.status, not outcome.recorded)
            finally:
                if outcome.recorded:
                    self._watcher.forget(run_id)
                else:
                    self._watcher.watch(run_id)
                claim.release()

    def _record(self, conn: sqlite3.Connection | None, run_id: int, outcome: Outcome) -> bool:
        if outcome.status == "failed":
            self._log(run_id, "error", f"Run failed: {outcome.error}", traceback=outcome.trace or "")
        return self._try_update_status(conn, run_id, outcome.status, outcome.error)

    def _finalize_run_status(
        self,
        conn: sqlite3.Connection | None,
        run_id: int,
        pipeline_error: BaseException | None,
        pipeline_traceback: str | None = None,
    ) -> tuple[str, bool]:
        """Return the status that the row should have, and whether it could be recorded."""
        outcome = self._decide(run_id, pipeline_error, pipeline_traceback)
        return outcome.status, self._record(conn, run_id, outcome)

    def _try_update_status(
        self, conn: sqlite3.Connection | None, run_id: int, status: str, error_message: str | None = None
    ) -> bool:
        """Write a terminal status unless the row has one. Returns whether it has one now, or is gone."""
        if conn is not None:
            try:
                return self._update_status(conn, run_id, status, error_message)
            except Exception:
                logger.warning("Writing the status of run %s failed; trying a new connection", run_id, exc_info=True)
                # Its locks would keep the new connection out. What a pipeline that succeeded did not commit is a
                # result; that of any other has been rolled back.
                commit(conn)
                roll_back(conn)
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
        # It may be the connection that fails.
        reads: list[Callable[[int], sqlite3.Row | None]]
        reads = [self.get_run] if conn is None else [partial(get_run, conn), self.get_run]
        for read in reads:
            try:
                status = row_status(read(run_id))
            except Exception:
                logger.debug("Reading the status of run %s failed", run_id, exc_info=True)
            else:
                return status if status in TERMINAL_STATUSES else None
        return None

    def _record_all(self, outcomes: Unrecorded) -> list[int]:
        """Record these outcomes in the rows that are active. Returns the runs whose row was."""
        with database_connection(self.db_path) as conn, immediate_transaction(conn):
            return _update_if_active(conn, outcomes)

    def _record_late(self, outcomes: Unrecorded) -> list[int]:
        """As `_record_all`, from the watcher's thread: a name that a test has replaced by then is not for this call."""
        with _ORIGINALS.database_connection(self.db_path) as conn, _ORIGINALS.immediate_transaction(conn):
            return _update_if_active(conn, outcomes, _ORIGINALS.update_run_status_if_active)

    def _cleanup_run_resources(
        self, run_id: int, db_status: str | None = None, status_update_failed: bool = False
    ) -> None:
        """Publish the terminal event and clear every entry of the run, as one step. The first terminal event stays."""
        self.finish_run(run_id, terminal_event(run_id, db_status, status_update_failed))

    # Reading

    def get_active_run(self) -> sqlite3.Row | None:
        """The row that is `pending` or `running`, unless the process that ran it has ended."""
        return self._recovery.read(lambda: self._query(get_active_run))

    def get_current_or_latest_run(self) -> sqlite3.Row | None:
        """The active row, else the newest."""
        return self._recovery.read(lambda: self._query(get_current_or_latest_run))

    def get_run(self, run_id: int) -> sqlite3.Row | None:
        """The row of one run."""
        return self._query(get_run, run_id)

    def _query(self, query: Callable[..., sqlite3.Row | None], *args: int) -> sqlite3.Row | None:
        with database_connection(self.db_path) as conn:
            return query(conn, *args)


def _after_fork_in_child() -> None:
    """Another thread of the parent may have held the lock."""
    RunManager._start_run_lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _update_if_active(
    conn: sqlite3.Connection, outcomes: Unrecorded, update: Callable[..., object] | None = None
) -> list[int]:
    update = update or update_run_status_if_active
    return [
        run_id
        for run_id, outcome in outcomes.items()
        if update(conn, run_id, outcome.status, error_message=outcome.error) == RunUpdateResult.UPDATED
    ]


def _error_text(error: BaseException, prefix: str | None = None) -> str:
    return error_text(error, prefix, sanitize_error_message)


# Last, because these import the package of the module that this one replaces, which in turn imports `RunManager`.
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

_ORIGINALS = SimpleNamespace(
    database_connection=database_connection,
    immediate_transaction=immediate_transaction,
    update_run_status_if_active=update_run_status_if_active,
)
