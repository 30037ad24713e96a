"""Execute runs in threads, and end each of them exactly once."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from .context import RunContext, current
from .coroutines import run_work
from .forks import generation
from .handles import Handles, drain
from .observers import Observers
from .outcome import Outcome, Status, drop_frames, outcome_of, traceback_of
from .queue import Queue
from .redaction import client_message
from .run import Run
from .stored import result_for_store

logger = logging.getLogger(__package__)


class Execution(Handles):
    """The runs of a `Runner` from their threads to their ends: the part of it that calls the work."""

    _observers: Observers
    _tracebacks: bool
    # Guarded by `_lock`, as the handles are.
    _queue: Queue

    def _thread_of(self, work: Callable[[RunContext], Any], run: Run) -> threading.Thread:
        variables = copy_context()
        variables.run(current.set, run._context)
        return threading.Thread(
            target=variables.run, args=(self._execute, work, run), name=f"run-{run.run_id}", daemon=True
        )

    def _launch(self, run: Run) -> None:
        """Start the thread of a run that has its place; if that fails, the run has."""
        assert run._thread is not None
        try:
            run._thread.start()
        except BaseException as error:
            # A Ctrl-C may come when the thread is there, and then the run goes on in it.
            if run._claim():
                self._launch_queued(self._end_unstarted(run, error))
                self._announce(run)
            raise

    def _launch_queued(self, runs: list[Run]) -> None:
        """Start the threads of runs that have got their places. One that cannot be started gives its place away."""
        waiting = deque(runs)
        unstarted: list[tuple[Run, BaseException]] = []
        interrupts: list[BaseException] = []
        while waiting:
            run = waiting.popleft()
            assert run._thread is not None
            try:
                run._context._tell({"status": "running"})
                run._thread.start()
            except BaseException as error:
                if run._claim():
                    waiting += self._end_unstarted(run, error)
                    unstarted.append((run, error))
                if not isinstance(error, Exception):
                    interrupts.append(error)
        # All runs have a thread or have ended before code of the application is called.
        for run, _ in unstarted:
            self._announce(run)
        for run, why in unstarted:
            logger.error("Run %s could not be started", run.run_id, exc_info=why)
        for interrupt in interrupts:
            raise interrupt

    def _end_unstarted(self, run: Run, error: BaseException) -> list[Run]:
        """End a run whose thread could not be started. Returns the runs that may start now."""
        message = client_message(error)
        # Not the error itself, which gets the frames of the caller of `start`.
        raised = RuntimeError(f"Run {run.run_id} could not be started: {message}")
        return self._end(run, Outcome("failed", error=message, raised=raised))

    # End

    def _execute(self, work: Callable[[RunContext], Any], run: Run) -> None:
        if not run._claim():
            return  # a Ctrl-C came before this thread, and has ended the run
        begun_in = generation()
        context = run._context
        try:
            self._observers.tell("began", run)
            outcome = Outcome("completed", result=run_work(work, context, context.cancel_event))
        except BaseException as error:
            outcome = outcome_of(error, run.run_id, context.cancel_event.is_set())
        if begun_in != generation():
            return  # the work has forked, and this is the child: the run goes on in the parent
        if outcome.status == "failed" and self._tracebacks and outcome.raised is not None:
            try:
                run.traceback = traceback_of(outcome.raised)
                context.log(outcome.error, level="error", traceback=run.traceback)
            except BaseException:  # as the error's own code may raise
                logger.exception("The traceback of run %s could not be sent", run.run_id)
        try:
            # The run ends first: whatever a logging handler does, readers have the outcome.
            self._launch_queued(self._end(run, outcome))
            outcome.log(run.run_id)
        finally:
            self._announce(run, None if outcome.interrupts else outcome.raised)
        if outcome.interrupts and outcome.raised is not None:
            raise outcome.raised

    def _end(self, run: Run, outcome: Outcome, *, if_status: tuple[Status, ...] = ("queued", "running")) -> list[Run]:
        """Record the outcome and finish the run, once. Returns the runs that may start now."""
        context = run._context
        following: list[Run] = []
        # Code of the application, which may take long; so before all locks.
        result = None if self.manager.store is None else result_for_store(outcome.result)
        with context._outlet.lock:
            with self._lock:
                if run._status not in if_status:
                    return []
                event = outcome.terminal_event(run.run_id, run.cancel_requested)
                run._record(outcome, event)
            try:
                try:
                    context._close(cancel_requested="cancel_requested" in event)
                finally:
                    # Readers, the queue and the store learn the end in one step: whoever reads it may start the next
                    # run at once, and no start sees the key free here and taken there.
                    with self._lock:
                        following = self._queue.remove(run)
                        for each in following:
                            each._status = "running"
                        self._finish(run, event, result)
            except BaseException:
                # Those who wait for the run, and the runs after it, do not wait for what cannot be.
                logger.exception("Run %s has ended, and its readers may not be told", run.run_id)
        self._note_end(run)
        return following

    def _finish(self, run: Run, event: dict[str, Any], result: str | None = None) -> None:
        """Tell readers and the store, which does not keep this waiting, of the end of a run."""
        if self.manager.is_active(run.run_id):  # or somebody else has finished it
            reader = run._context._here.subscribe(run.run_id)
            if self.manager.store is None:
                self.manager.finish_run(run.run_id, event)
            else:
                self.manager.finish_run(run.run_id, event, result=result)
            drain(reader)
            run._last_event_id = reader.last_event_id if reader.ended else None

    def _note_cancel(self, run: Run) -> None:
        """The run's cancel was requested: its readers hear of it, and a queued run ends."""
        with run._context._outlet.lock:
            if not run._context._note_cancel():
                return
            following = self._end(run, Outcome("cancelled"), if_status=("queued",))
            ended_here = run.terminal_event is not None
        try:
            self._launch_queued(following)
        finally:
            if ended_here:
                run._thread = None  # with all that the work refers to
                self._announce(run)

    def _announce(self, run: Run, raised: BaseException | None = None) -> None:
        """Tell observers of the end, then those who wait for it; before that, drop the frames of what was raised."""
        try:
            self._observers.tell("ended", run)
            drop_frames(raised)
        finally:
            run._announce()
