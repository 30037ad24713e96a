"""Starts, cancels and shuts down runs."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Literal

from genglossary_runs._core import RunManager
from genglossary_runs.errors import AlreadyRunningError, RunActiveError
from genglossary_runs.types import RunId

from .context import RunContext
from .coroutines import check_work, name_of
from .execution import Execution
from .forks import start_over_in_child
from .gevent import warn_of_gevent
from .ids import canonical, new_id
from .observers import Observer, Observers
from .outcome import Outcome
from .queue import Queue
from .refusals import already_running, run_exists, shut_down
from .run import Run
from .stored import key_for_store
from .values import text_of

logger = logging.getLogger(__package__)

_LONGEST_INTERVAL = 3600.0


class Runner(Execution):
    """Starts runs under a manager and keeps their handles. Every method may be called from any thread.

    In a forked child it is empty and can be used; runs of the parent stay in the parent.
    """

    def __init__(
        self,
        manager: RunManager,
        *,
        max_active: int | None = 64,
        finished_runs: int = 256,
        finished_age: float = 86_400.0,
        progress_interval: float = 0.1,
        tracebacks: bool = False,
    ) -> None:
        """Make a runner.

        Args:
            manager: opens, publishes to and finishes the runs. It may have other runs and other runners.
            max_active: how many runs may be active at a time, 1 or more; further runs are queued. None sets no limit.
                Work that waits for other runs of the same runner counts as active meanwhile, so use another runner for
                those.
            finished_runs: how many finished runs `get` and `runs` still know, with their results; 0 or more.
            finished_age: seconds for which they are known, 0 or more. Expired runs are dropped at the next call.
            progress_interval: seconds between two progress events of a run, 0 to 3600; 0 sends all.
            tracebacks: send readers the traceback of a failure, as `traceback` of an error message before the terminal
                event. Secrets in it are hidden, paths are not.

        Raises:
            ValueError: a number is out of its bounds.
        """
        if max_active is not None and max_active < 1:
            raise ValueError(f"max_active is {max_active}, and must be 1 or more, or None")
        if finished_runs < 0:
            raise ValueError(f"finished_runs is {finished_runs}, and cannot be less than 0")
        if not finished_age >= 0:
            raise ValueError(f"finished_age is {finished_age}, and cannot be less than 0")
        if not 0 <= progress_interval <= _LONGEST_INTERVAL:
            raise ValueError(f"progress_interval is {progress_interval}, and must be between 0 and 3600 seconds")
        warn_of_gevent()
        self.manager = manager
        self._max_active = max_active
        self._progress_interval = progress_interval
        self._tracebacks = tracebacks
        self._observers = Observers()
        self._keep_finished(finished_runs, finished_age)
        self._start_over()
        start_over_in_child(self)

    def _start_over(self) -> None:
        super()._start_over()
        # One start at a time, for which a store may have to be asked. Taken before all other locks. Reentrant, since a
        # signal handler may start a run.
        self._starting = threading.RLock()
        # Guarded by `_lock`, as the handles are; so is the next. Once it is set, nothing is added to the queue.
        self._queue = Queue(self._max_active)
        self._shut_down = False

    def __repr__(self) -> str:
        with self._lock:
            statuses = [run._status for run in self._runs.values()]
        queued, running = statuses.count("queued"), statuses.count("running")
        return f"<Runner: {running} running, {queued} queued, {len(statuses) - running - queued} finished runs>"

    def start(
        self,
        work: Callable[[RunContext], Any],
        *,
        key: Hashable = None,
        if_active: Literal["refuse", "wait", "replace"] = "refuse",
        run_id: RunId | None = None,
        name: str | None = None,
    ) -> Run:
        """Start `work(context)` in a daemon thread, with a copy of the caller's `contextvars`.

        Args:
            work: a function, or a coroutine function (`async def`), which runs on its own event loop in the run's
                thread.
            key: at most one run with this key is active at a time; None sets no limit. With a store it must be a str,
                and the limit holds for all processes that use the store. However, a run that waits for its key waits
                only for runs of this runner, does not keep other processes from starting one, and is in the store
                without its key, so that `history(key=...)` leaves it out.
            if_active: what to do if the key's run has not ended: refuse the start; wait for its end; or replace it,
                that is, cancel it and all runs that wait for the key, and start after them.
            run_id: the id of the run; by default a random UUID as text.
            name: a name for people; by default the work's name. A store keeps it, so that other processes show it, too.

        Returns:
            The run. It is queued if it has to wait for its key or for other runs.

        Raises:
            AlreadyRunningError: with `"refuse"`, the key's run has not ended; a cancelled run ends when its work
                returns.
            RunExistsError: there is a run with this id, here or in the manager. The error has its handle, so that a
                repeated request can be answered with the run that the first one started.
            InvalidRunIdError: the id cannot name a run.
            TypeError: `work` cannot be run, such as a generator function, or the id has another type.
            ValueError: `if_active` has another value.
            RunnerShutDownError: the runner has been shut down.
            RuntimeError: the system cannot start a thread; the run exists, and has ended as failed.
        """
        check_work(work)
        if if_active not in ("refuse", "wait", "replace"):
            raise ValueError(f"if_active must be 'refuse', 'wait' or 'replace', not {if_active!r}")
        with self._starting:
            if self._shut_down:
                raise shut_down()
            self._refuse_existing(run_id)
            with self._lock:
                earlier = [] if key is None else self._queue.runs_of(key)
            if earlier and if_active == "refuse":
                raise already_running(key, earlier[0])
            run = self._open(run_id, key, name_of(work) if name is None else text_of(name), waits_for_key=bool(earlier))
            run._thread = self._thread_of(work, run)
            with self._lock:
                if self._shut_down:  # which has not waited for the store to open this run
                    self._finish(run, Outcome("cancelled").terminal_event(run.run_id, False))
                    raise shut_down()
                self._add(run)
                starts = self._queue.add(run)
                if not starts:
                    run._status = "queued"
                    run._context._tell({"status": "queued"})
            run._context.cancel_event.add_callback(lambda: self._note_cancel(run))
        if starts:
            self._launch(run)
        elif if_active == "replace":
            # The newest first, as in `shutdown`.
            for each in reversed(earlier):
                each.cancel()
        return run

    def queued(self) -> list[Run]:
        """Return the runs that wait for their key or for other runs, in the order of their start."""
        with self._lock:
            return self._queue.waiting()

    def free_places(self) -> int | None:
        """Return how many runs could begin now; None if `max_active` sets no limit."""
        with self._lock:
            return self._queue.free_places()

    def cancel(self, run_id: RunId) -> bool:
        """Ask the run's work to stop. Returns whether there is such a run and it had not ended yet.

        With a store the run may be in any process; unless it is active in this one, this waits for the store.

        Raises:
            StoreError: the store cannot be used.
        """
        if self._cancel_here(run_id):
            return True
        return self.manager.store is not None and self.manager.cancel_run(run_id)

    async def acancel(self, run_id: RunId) -> bool:
        """Do the same as `cancel`, on an event loop."""
        if self._cancel_here(run_id):
            return True
        return self.manager.store is not None and await self.manager.acancel_run(run_id)

    def _cancel_here(self, run_id: RunId) -> bool:
        """Cancel this runner's run. Returns whether that was the newest life of the id, and it had not ended yet."""
        run = self.get(run_id)
        # Otherwise others have ended it, and may have begun another.
        is_newest = self.manager.store is None or self.manager.is_active(run_id)
        return run is not None and run.cancel() and is_newest

    def observe(self, observer: Observer) -> None:
        """Tell an observer of each run that begins or ends from now on."""
        self._observers.add(observer)

    def shutdown(self, timeout: float | None = None) -> bool:
        """Refuse further starts, cancel all runs and wait for their end. It may be called again.

        Args:
            timeout: seconds to wait at most for all of them together; None for no limit.

        Returns:
            Whether all have ended. The others are daemon threads and end with the process.

        Raises:
            RuntimeError: called by the work of an active run, which cannot wait for itself.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        # Not under `_starting`, which is held while the store is asked.
        with self._lock:
            self._shut_down = True
            runs = [run for run in self._runs.values() if not run._ended.is_set()]
        # The newest first, so that no queued run starts when the one before it ends.
        for run in reversed(runs):
            run.cancel()
        late = [run for run in runs if not run.wait(None if deadline is None else deadline - time.monotonic())]
        for run in late:
            logger.warning("Run %s did not stop within %s seconds of its cancel", run.run_id, timeout)
        return not late

    # Start

    def _refuse_existing(self, run_id: RunId | None) -> None:
        if run_id is not None:
            run = self.get(run_id)
            known = run is not None or self.manager.terminal_event(run_id) is not None
            if known or (
                self.manager.store is not None and self.manager.run_record(run_id, with_result=False) is not None
            ):
                raise run_exists(run_id, run)

    def _open(self, run_id: RunId | None, key: Hashable, name: str, *, waits_for_key: bool) -> Run:
        run_id = new_id() if run_id is None else canonical(run_id)
        try:
            if self.manager.store is None:
                cancel_event = self.manager.open_run(run_id)
            else:
                stored_key = key_for_store(key)
                cancel_event = self.manager.open_run(run_id, key=None if waits_for_key else stored_key, name=name)
        except RunActiveError as error:
            if error.run_id is not None and error.run_id != run_id:
                message = f"Run {error.run_id} is still running; cancel it or wait for its end"
                raise AlreadyRunningError(message, key=key, run_id=error.run_id) from error
            raise run_exists(run_id, None) from error
        context = RunContext(self.manager, run_id, cancel_event, progress_interval=self._progress_interval)
        # Open here, so that no store is asked.
        fence, _, _ = self.manager.subscribe(run_id).last_event_id.partition("-")
        return Run(context, self._read, key=key, name=name, fence=int(fence))
