"""Limit how often progress is sent to readers, however often the work reports it.

Of the updates that come faster than the interval only the newest is sent, when the interval has passed: by the next
call if there is one, else by a thread that runs only while something is held back. A log line, and the end of the run,
send first what is held back.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any, TypeAlias

from .forks import start_over_in_child

logger = logging.getLogger(__package__)

Event: TypeAlias = dict[str, Any]

# Seconds that the thread stays with nothing to do, so that steady progress does not start one each time.
_IDLE_SECONDS = 2.0


class Outlet:
    """Where the events of one run go out, in order. Every method may be called from any thread."""

    def __init__(self, publish: Callable[[Event], None], interval: float, published: Callable[[], None]) -> None:
        """Make an outlet.

        Args:
            publish: sends one event; called with the lock held.
            interval: seconds between two events of progress, 0 or more.
            published: called without the lock after the thread has sent something.
        """
        self._publish = publish
        self._interval = interval
        self._published = published
        # Guards what follows, and the order of what is published. Reentrant, since a value that is being written may
        # run Python code, which may log.
        self.lock = threading.RLock()
        self._held: Event | None = None
        self._scheduled = False
        self._next = 0.0
        self.closed = False

    def send(self, event: Event) -> None:
        """Publish an event after the progress that came before it; drop it after the end of the run."""
        with self.lock:
            if not self.closed:
                self.flush()
                self._publish(event)

    def progress(self, event: Event, *, now: bool = False) -> None:
        """Publish progress, now or as soon as the interval has passed; newer progress replaces it meanwhile."""
        with self.lock:
            if self.closed:
                return
            moment = time.monotonic()
            if now or moment >= self._next:
                self._held = None
                self._next = moment + self._interval
                self._publish(event)
            elif self._held is not None:
                self._held = event
            else:
                self._held = event
                if not self._scheduled:
                    self._schedule()

    def flush(self) -> None:
        """Publish the progress that is held back, if there is any."""
        # Under the lock even where nothing is held: another thread may be publishing it.
        with self.lock:
            if self._held is not None:
                event, self._held = self._held, None
                self._next = time.monotonic() + self._interval
                self._publish(event)

    def flush_if_due(self) -> None:
        """Publish the progress that is held back, if its time has come; else see to it that it will be."""
        with self.lock:
            self._scheduled = False
            if self._held is None:
                return
            if time.monotonic() >= self._next:
                self.flush()
            else:
                self._schedule()
        self._published()

    def close(self) -> None:
        """Publish what is held back, and take nothing more."""
        with self.lock:
            try:
                self.flush()
            finally:
                self.closed = True
                if self._scheduled:
                    _flusher.forget(self)

    def _schedule(self) -> None:
        self._scheduled = _flusher.schedule(self._next, self)
        if not self._scheduled:
            self.flush()


class _Flusher:
    """One thread for the process, that looks after held progress; there is none while nothing is held for long."""

    def __init__(self) -> None:
        self._start_over()
        start_over_in_child(self)

    def _start_over(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Outlet]] = []
        self._numbers = count()
        self._runs = False

    def schedule(self, moment: float, outlet: Outlet) -> bool:
        """Have `outlet.flush_if_due()` called at `moment`. Returns whether there is a thread that will."""
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._numbers), outlet))
            if not self._runs:
                try:
                    threading.Thread(target=self._run, name="genglossary-runs-progress", daemon=True).start()
                except RuntimeError:  # no more threads, or the interpreter is going down
                    self._due.clear()
                    return False
                self._runs = True
            elif self._due[0][2] is outlet:
                self._changed.notify()
            return True

    def forget(self, outlet: Outlet) -> None:
        """Take back `schedule`."""
        with self._changed:
            self._due = [entry for entry in self._due if entry[2] is not outlet]
            heapq.heapify(self._due)
            self._changed.notify()

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            for outlet in due:
                try:
                    outlet.flush_if_due()
                except BaseException:  # an exit in the repr of a value, which must not end the thread of all runs
                    logger.exception("Progress could not be sent")
            del due

    def _wait(self) -> list[Outlet] | None:
        """The outlets whose time has come; None to end the thread."""
        with self._changed:
            idle_until = time.monotonic() + _IDLE_SECONDS
            while True:
                now = time.monotonic()
                due = []
                while self._due and self._due[0][0] <= now:
                    due.append(heapq.heappop(self._due)[2])
                if due:
                    return due
                until = self._due[0][0] if self._due else idle_until
                if not self._due and now >= idle_until:
                    self._runs = False
                    return None
                self._changed.wait(until - now)


_flusher = _Flusher()
