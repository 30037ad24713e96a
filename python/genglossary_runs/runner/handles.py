"""The handles of a runner's runs, and how its runs are read."""

import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from genglossary_runs._core import RunManager, Subscription
from genglossary_runs.errors import UnknownRunError
from genglossary_runs.types import RunId

from .ids import canonical
from .run import Run
from .stored import Records

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_FOREVER = 1e9


class Handles(Records):
    """The runs of a `Runner` that have not ended, and the last finished ones: the part of it that executes nothing."""

    def _keep_finished(self, limit: int, age: float) -> None:
        """Keep so many finished runs, for so many seconds."""
        self._finished_limit, self._finished_age = limit, age

    def _start_over(self) -> None:
        # Never held while a store is asked, since event loops take it, and taken after the lock of a run's outlet.
        # Reentrant, since a signal handler may start a run.
        self._lock = threading.RLock()
        self._runs: dict[int | str, Run] = {}
        # The ended runs, and when they ended.
        self._finished: deque[tuple[float, Run]] = deque()
        # The terminal events of runs that the manager has evicted, once a page has asked for them. As long as the
        # handles are kept: the records' bound is theirs.
        self._outcomes = RunManager(retained_runs=self._finished_limit + 1, retention=_FOREVER)

    def get(self, run_id: RunId) -> Run | None:
        """Return the run with this id, if it has not ended or is among the last finished ones.

        It knows only runs of this runner; use `find` for those of other processes.
        """
        with self._lock:
            self._forget_finished()
            return self._runs.get(canonical(run_id))

    def runs(self) -> list[Run]:
        """Return the runs that have not ended and the last finished ones, in the order of their start."""
        with self._lock:
            self._forget_finished()
            return list(self._runs.values())

    def subscribe(self, run_id: RunId, after: str | None = "0") -> Subscription:
        """Make a reader of a run; if the manager has evicted it, a reader of its terminal event.

        With a store this waits for the store if the run is not open in this process.

        Args:
            run_id: the run.
            after: as for `RunManager.subscribe`; by default, start with the oldest event held.

        Raises:
            UnknownRunError: the run is neither the runner's nor the manager's.
            StoreError: the store cannot be used.
        """
        return self._read(run_id, self.get(run_id), after)

    async def asubscribe(self, run_id: RunId, after: str | None = "0") -> Subscription:
        """Do the same as `subscribe`, on an event loop."""
        if self.manager.store is None:
            return self.subscribe(run_id, after)
        return await self._aread(run_id, after)

    def stream(
        self, run_id: RunId, request: "Request | None" = None, *, replay: bool = True, **options: Any
    ) -> "Response":
        """Return a response that streams the events of a run, as `genglossary_runs.sse.run_stream` does.

        For a finished run that the manager has evicted, the response comes from the runner's records: its terminal
        event, or 204 if the client has received that.

        Args:
            run_id: the run.
            request, replay, options: as for `run_stream`; by default the stream starts with the oldest event held.

        Raises:
            UnknownRunError: the run is neither the runner's nor the manager's; best answered with 404.
            ImportError: starlette is not installed.
        """
        from genglossary_runs.sse import run_stream

        options = {"replay": replay, "must_exist": True} | options
        return run_stream(_Recalling(self), run_id, request, **options)

    def _add(self, run: Run) -> None:
        with self._lock:
            self._forget_finished()
            self._runs[run.run_id] = run

    def _note_end(self, run: Run) -> None:
        with self._lock:
            self._finished.append((time.monotonic(), run))
            self._forget_finished()

    def _forget_finished(self) -> None:
        oldest = time.monotonic() - self._finished_age
        while self._finished and (len(self._finished) > self._finished_limit or self._finished[0][0] < oldest):
            _, run = self._finished.popleft()
            if self._runs.get(run.run_id) is run:
                del self._runs[run.run_id]

    def _read(
        self, run_id: RunId, run: Run | None, after: str | None = None, *, must_exist: bool = True
    ) -> Subscription:
        """Make a reader of a run, whose handle is `run`, if it is this runner's."""
        if not self._answers(run, after):
            try:
                return self.manager.subscribe(run_id, after, must_exist=must_exist)
            except UnknownRunError:
                pass  # it may have ended and been evicted this very moment
        return self._recall(run_id, run, after)

    async def _aread(self, run_id: RunId, after: str | None = None, *, must_exist: bool = True) -> Subscription:
        run = self.get(run_id)
        if not self._answers(run, after):
            try:
                return await self.manager.asubscribe(run_id, after, must_exist=must_exist)
            except UnknownRunError:
                pass
        return self._recall(run_id, run, after)

    def _answers(self, run: Run | None, after: str | None) -> bool:
        """Whether the handle is all that is needed: the manager has evicted the run, or the reader has had its end."""
        if run is None or run.terminal_event is None:
            return False
        last = run._last_event_id
        if last is None and self.manager.is_active(run.run_id):
            return False  # it is ending this very moment
        if after is not None and after == last:
            return True
        # Its reader would wait where another one, that waits for the run by itself, has made an entry, which is no run.
        return self.manager.store is None and self.manager.terminal_event(run.run_id) is None

    def _recall(self, run_id: RunId, run: Run | None, after: str | None) -> Subscription:
        """Make a reader of the terminal event of a run which ended, from its handle.

        Raises:
            UnknownRunError: there is no such handle.
        """
        if run is None or run.terminal_event is None:
            raise UnknownRunError(f"run {run_id} is unknown")
        with self._lock:
            recalled = self._outcomes.terminal_event(run_id)
            if recalled is not None and recalled != run.terminal_event:
                self._outcomes.open_run(run_id)  # an earlier life was recalled, and makes way
            self._outcomes.finish_run(run_id, run.terminal_event)
            reader = self._outcomes.subscribe(run_id, after)
        if after is not None and after == run._last_event_id:
            # Its id in the records is another.
            drain(reader)
        return reader


class _Recalling:
    """A runner's manager as a stream sees it: one that still knows the ends of the runs that it has evicted."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles
        self.store = handles.manager.store
        self.is_active = handles.manager.is_active
        self.asubscribe = handles._aread

    def subscribe(self, run_id: RunId, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        return self._handles._read(run_id, self._handles.get(run_id), after, must_exist=must_exist)


def drain(reader: Subscription) -> None:
    """Read all that is there."""
    with suppress(queue.Empty):
        while True:
            reader.get_nowait()
