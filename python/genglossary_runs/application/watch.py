"""Check runs at intervals, in one thread that exists only while there is a run to check."""

import logging
import threading
from collections.abc import Callable

from ..runner.forks import start_over_in_child

logger = logging.getLogger(__name__)


class Watcher:
    """Calls `check(run_id)` for each watched run every `interval` seconds until it returns False.

    Args:
        check: returns whether to check again. What it raises is logged, once until it succeeds, and it is called again.
        interval: seconds, more than 0.
    """

    def __init__(self, check: Callable[[int], bool], interval: float) -> None:
        self._check = check
        self._interval = interval
        self._start_over()
        start_over_in_child(self)

    def _start_over(self) -> None:
        # Both guarded by `_changed`. Each call of `watch` stores a new token, so that an earlier check cannot undo it.
        self._watched: dict[int, object] = {}
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def watch(self, run_id: int) -> None:
        """Begin to check the run. May be repeated. Never raises: if no thread can be had, a log record says so."""
        with self._changed:
            self._watched[run_id] = object()
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._run, name="genglossary-runs-watch", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                self._thread = None
                logger.warning("Run %s cannot be watched (%s): what other processes do is not noticed", run_id, error)

    def forget(self, run_id: int) -> None:
        """Stop checking the run; the thread ends with the last."""
        with self._changed:
            self._watched.pop(run_id, None)
            if not self._watched:
                self._changed.notify_all()

    def _run(self) -> None:
        failing: set[int] = set()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._watched, timeout=self._interval)
                watched = list(self._watched.items())
                if not watched:
                    self._thread = None
                    return
            for run_id, token in watched:
                try:
                    again = self._check(run_id)
                    failing.discard(run_id)
                except Exception:
                    again = True
                    if run_id not in failing:
                        failing.add(run_id)
                        logger.warning("Could not check run %s; will retry", run_id, exc_info=True)
                if not again:
                    self._forget_if(run_id, token)

    def _forget_if(self, run_id: int, token: object) -> None:
        """Forget the run, unless `watch` has been called since."""
        with self._changed:
            if self._watched.get(run_id) is token:
                self.forget(run_id)
