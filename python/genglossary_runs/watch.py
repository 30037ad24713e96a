"""Look at runs now and then, in one thread that is there only while there is something to look at."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Watcher:
    """Calls `look(run_id)` for each watched run every `interval` seconds until it says that it has seen enough.

    Args:
        look: returns whether to look again. What it raises is logged, and it is called again.
        interval: seconds, more than 0.
    """

    def __init__(self, look: Callable[[int], bool], interval: float) -> None:
        self._look = look
        self._interval = interval
        # Both guarded by `_changed`.
        self._watched: set[int] = set()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def watch(self, run_id: int) -> None:
        """Begin to look at the run. May be repeated."""
        with self._changed:
            self._watched.add(run_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="genglossary-runs-watch", daemon=True)
                self._thread.start()

    def forget(self, run_id: int) -> None:
        """Do not look at the run again; the thread ends with the last."""
        with self._changed:
            self._watched.discard(run_id)
            if not self._watched:
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._watched, timeout=self._interval)
                watched = list(self._watched)
                if not watched:
                    self._thread = None
                    return
            for run_id in watched:
                if not self._wants_more(run_id):
                    self.forget(run_id)

    def _wants_more(self, run_id: int) -> bool:
        try:
            return self._look(run_id)
        except Exception:
            logger.warning("Looking at run %s failed", run_id, exc_info=True)
            return True
