"""Look at runs now and then, in one thread that is there only while there is something to look at."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Watcher:
    """Calls `look(run_id)` for each watched run every `interval` seconds until it says that it has seen enough.

    Args:
        look: returns whether to look again. What it raises is logged, once until it succeeds, and it is called again.
        interval: seconds, more than 0.
    """

    def __init__(self, look: Callable[[int], bool], interval: float) -> None:
        self._look = look
        self._interval = interval
        # Both guarded by `_changed`. Each call of `watch` has a token: what was seen before it is not enough for it.
        self._watched: dict[int, object] = {}
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def watch(self, run_id: int) -> None:
        """Begin to look at the run. May be repeated. Never raises: without a thread, a log record says so."""
        with self._changed:
            self._watched[run_id] = object()
            # In a forked child there is a thread that does not run.
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._run, name="genglossary-runs-watch", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:
                self._thread = None
                logger.warning("Run %s cannot be watched (%s): what other processes do is not noticed", run_id, error)

    def forget(self, run_id: int) -> None:
        """Do not look at the run again; the thread ends with the last."""
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
                    wants_more = self._look(run_id)
                    failing.discard(run_id)
                except Exception:
                    wants_more = True
                    if run_id not in failing:
                        failing.add(run_id)
                        logger.warning("Looking at run %s failed; trying on", run_id, exc_info=True)
                if not wants_more:
                    self._forget_if(run_id, token)

    def _forget_if(self, run_id: int, token: object) -> None:
        """Forget the run, unless `watch` has been called since."""
        with self._changed:
            if self._watched.get(run_id) is token:
                self.forget(run_id)
