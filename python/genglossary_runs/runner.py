"""Runs callables in threads under a `RunManager`: for any application that has no run manager of its own.

    manager = RunManager()
    runner = Runner(manager)

    def work(context: RunContext) -> str:
        for number, page in enumerate(pages, start=1):
            context.raise_if_cancelled()
            read(page)
            context.progress(number, len(pages), step="reading")
        context.log("All pages read")
        return "what the run is for"

    run = runner.start(work, key="book 7")    # readers: manager.subscribe(run.run_id)
    run.wait()
    print(run.status, run.result)

What readers get, each as a dict:

- a log message: `run_id`, `time` (ISO 8601, UTC), `level`, `message`, and the fields given to `RunContext.log`;
- progress: `run_id`, `time`, `progress_current`, `progress_total`, `step` if given, and the fields given to
  `RunContext.progress`; without a `message` it is no line for a log view;
- last and once, the terminal event: `run_id`, `complete` (True), `status`, and for a failed run `error`.

How a run ends: `completed` when the work returns, also when a cancel came too late to stop it; `cancelled` when it
raises `RunCancelledError`, or anything else once the cancel was requested (what a cancel interrupts fails in its own
way); `failed` for every other exception. An exception that is no `Exception` (`SystemExit`, say) ends the run in the
same way and is then raised again, as in any thread. Readers see the kind of the error and its message, without
traceback and file paths; the traceback goes to the logger `genglossary_runs.runner`.
"""

import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Any, Literal

from genglossary_runs._core import CancelEvent, RunActiveError, RunManager

__all__ = ["AlreadyRunningError", "Level", "Run", "RunCancelledError", "RunContext", "Runner", "Status"]

Level = Literal["debug", "info", "warning", "error"]
Status = Literal["running", "completed", "failed", "cancelled"]

logger = logging.getLogger(__name__)

# The newest id of any runner in the process, so that two on one manager never give out the same.
_newest_id = 0
_newest_id_lock = threading.Lock()

# What a reader of the stream relies on cannot be a field of a message.
_RESERVED_FIELDS = frozenset({"run_id", "time", "complete", "gap"})


class AlreadyRunningError(RuntimeError):
    """The key has a run that has not ended yet; `key` and `run_id` name it."""

    def __init__(self, key: Hashable, run: "Run") -> None:
        self.key = key
        self.run_id = run.run_id
        if run.cancel_requested:
            message = f"Run {run.run_id} was cancelled and is still stopping; wait for its end"
        else:
            message = f"Run {run.run_id} is still running; cancel it or wait for its end"
        super().__init__(message)


class RunCancelledError(Exception):
    """The run was cancelled; raised by `RunContext.raise_if_cancelled`."""


class RunContext:
    """What the work of a run is given to speak to its readers. Every method may be called from any thread."""

    def __init__(self, manager: RunManager, run_id: int, cancel_event: CancelEvent) -> None:
        self._manager = manager
        self.run_id = run_id
        self.cancel_event = cancel_event

    def log(self, message: str, level: Level = "info", **fields: Any) -> None:
        """Send readers a log message. After the end of the run it goes nowhere.

        Args:
            message: one line of text for people.
            level: `debug`, `info`, `warning` or `error`.
            fields: further keys of the message, of what JSON has a form for.

        Raises:
            TypeError: a field is reserved (`run_id`, `time`, `complete`, `gap`), or JSON has no form for a value.
            ValueError: as for `RunManager.publish`.
        """
        self._publish({"level": level, "message": message}, fields)

    def progress(self, current: float, total: float | None, step: str | None = None, **fields: Any) -> None:
        """Tell readers how far the work is. Each call is an event of the run's log: call it when it is news.

        Args:
            current: units of work done, 0 or more.
            total: units of work in this step; None if nobody knows.
            step: what is being done, in a word or two.
            fields: as for `log`; with `message` and `level` it is a log line, too.

        Raises:
            TypeError, ValueError: as for `log`.
        """
        event: dict[str, Any] = {"progress_current": current, "progress_total": total}
        if step is not None:
            event["step"] = step
        self._publish(event, fields)

    def raise_if_cancelled(self) -> None:
        """Raise `RunCancelledError` if the run's cancel was requested."""
        if self.cancel_event.is_set():
            raise RunCancelledError(f"Run {self.run_id} was cancelled")

    def _publish(self, event: dict[str, Any], fields: dict[str, Any]) -> None:
        if clash := fields.keys() & (_RESERVED_FIELDS | event.keys()):
            raise TypeError(f"The field {min(clash)!r} is set by the run itself; give yours another name")
        now = _now().isoformat(timespec="milliseconds")
        self._manager.publish(self.run_id, {"run_id": self.run_id, "time": now} | event | fields)


class Run:
    """One run, made by `Runner.start`. Every method may be called from any thread.

    Attributes:
        run_id: the id of the run in the manager.
        key: what `Runner.start` was given.
        status: `running`, `completed`, `failed` or `cancelled`.
        result: what the work returned, when completed.
        error: what readers were told, when failed.
        started_at: when it was started (UTC).
        finished_at: when it ended (UTC), or None.
        terminal_event: what told readers the outcome, or None.
    """

    def __init__(self, manager: RunManager, run_id: int, key: Hashable, cancel_event: CancelEvent) -> None:
        self._manager = manager
        self._cancel_event = cancel_event
        self._thread: threading.Thread | None = None
        # Waited for in place of the thread: a `join` that Ctrl-C interrupts takes the thread for ended (CPython 3.11).
        self._ended = threading.Event()
        self.run_id = run_id
        self.key = key
        self.status: Status = "running"
        self.result: Any = None
        self.error: str | None = None
        self.started_at = _now()
        self.finished_at: datetime | None = None
        self.terminal_event: dict[str, Any] | None = None

    @property
    def cancel_requested(self) -> bool:
        """Whether the cancel event is set; the work may still be stopping, or may have ended before it noticed."""
        return self._cancel_event.is_set()

    def cancel(self) -> bool:
        """Ask the work to stop; whether it had not ended yet."""
        return self._manager.cancel_run(self.run_id)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run: its outcome is set, and the manager's active runs have nothing left of it.

        Args:
            timeout: seconds to wait at most; None waits without end.

        Returns:
            Whether it has ended.

        Raises:
            RuntimeError: called by the thread of this very run.
        """
        if self._thread is threading.current_thread():
            raise RuntimeError(f"Run {self.run_id} cannot wait for its own end")
        return self._ended.wait(timeout)


class Runner:
    """Starts runs under a manager and keeps their handles. Every method may be called from any thread."""

    def __init__(self, manager: RunManager, *, finished_runs: int = 256, first_id: int | None = None) -> None:
        """Make a runner.

        Args:
            manager: where the runs are opened, published and finished. It may have other runs and other runners.
            finished_runs: how many ended runs `get` and `runs` still know, with their results; 0 or more.
            first_id: the id of the first run, 1 or more; larger if another runner of the process is that far. By
                default the milliseconds since 1970, so that after a restart a page that is still open, or a link,
                never shows another run than the one it was made for. Whoever stores runs gives the next id.

        Raises:
            ValueError: `finished_runs` is negative, or `first_id` is less than 1.
        """
        if finished_runs < 0:
            raise ValueError(f"finished_runs is {finished_runs}, and cannot be less than 0")
        if first_id is not None and first_id < 1:
            raise ValueError(f"first_id is {first_id}, and cannot be less than 1")
        self.manager = manager
        self._finished_limit = finished_runs
        self._first_id = time.time_ns() // 1_000_000 if first_id is None else first_id
        # Guards what follows. Reentrant, since a run whose thread cannot start is ended under it.
        self._lock = threading.RLock()
        self._runs: dict[int, Run] = {}
        self._active_keys: dict[Hashable, Run] = {}
        self._finished: deque[int] = deque()
        self._shut_down = False

    def start(self, work: Callable[[RunContext], Any], *, key: Hashable = None) -> Run:
        """Start `work(context)` in a daemon thread.

        Args:
            work: what the run does.
            key: at most one run with this key is active at a time. None sets no limit.

        Returns:
            The run; its id is new to the manager and larger than those of all earlier runs.

        Raises:
            AlreadyRunningError: the key's run has not ended; a cancelled one has not until its work returns.
            RuntimeError: the runner was shut down, or the system can start no thread; in the latter case the run
                exists, and has ended as failed.
        """
        with self._lock:
            if self._shut_down:
                raise RuntimeError("The runner was shut down and starts no more runs; make a new Runner")
            if key is not None and key in self._active_keys:
                raise AlreadyRunningError(key, self._active_keys[key])
            run_id, cancel_event = self._open()
            run = Run(self.manager, run_id, key, cancel_event)
            context = RunContext(self.manager, run_id, cancel_event)
            run._thread = threading.Thread(
                target=self._execute, args=(work, run, context), name=f"run-{run_id}", daemon=True
            )
            self._runs[run_id] = run
            if key is not None:
                self._active_keys[key] = run
            try:
                run._thread.start()
            except BaseException as error:
                self._end(run, "failed", error=_client_message(error))
                run._ended.set()
                raise
            return run

    def get(self, run_id: int) -> Run | None:
        """The run of this id, if it is active or among the last finished ones."""
        with self._lock:
            return self._runs.get(run_id)

    def runs(self) -> list[Run]:
        """The active and the last finished runs, in the order of their start."""
        with self._lock:
            return list(self._runs.values())

    def cancel(self, run_id: int) -> bool:
        """Ask the run's work to stop; whether there is such a run here and it had not ended yet."""
        run = self.get(run_id)
        return run is not None and run.cancel()

    def shutdown(self, timeout: float | None = None) -> bool:
        """Refuse further starts, cancel all active runs and wait for their end. May be repeated.

        Args:
            timeout: seconds to wait at most, for all of them together; None waits without end.

        Returns:
            Whether all have ended. Those that have not are daemon threads, and end with the process.

        Raises:
            RuntimeError: called by the work of an active run, which cannot wait for itself.
        """
        with self._lock:
            self._shut_down = True
            runs = [run for run in self._runs.values() if not run._ended.is_set()]
        for run in runs:
            run.cancel()
        deadline = None if timeout is None else time.monotonic() + timeout
        late = [run for run in runs if not run.wait(None if deadline is None else deadline - time.monotonic())]
        for run in late:
            logger.warning("Run %d did not stop within %s seconds of its cancel", run.run_id, timeout)
        return not late

    def _open(self) -> tuple[int, CancelEvent]:
        taken = {*self.manager.active_runs(), *self.manager.retained_runs()}
        while True:
            run_id = _next_id(self._first_id)
            if run_id in taken:
                continue
            try:
                return run_id, self.manager.open_run(run_id)
            except RunActiveError:
                continue

    def _execute(self, work: Callable[[RunContext], Any], run: Run, context: RunContext) -> None:
        try:
            result = work(context)
        except BaseException as error:
            # The run ends first: whatever a logging handler does, readers have the outcome.
            if isinstance(error, RunCancelledError) or context.cancel_event.is_set():
                self._end(run, "cancelled")
                logger.info("Run %d was cancelled", run.run_id, exc_info=not isinstance(error, RunCancelledError))
            else:
                self._end(run, "failed", error=_client_message(error))
                logger.error("Run %d failed", run.run_id, exc_info=True)
            if not isinstance(error, Exception):
                raise
        else:
            self._end(run, "completed", result=result)
        finally:
            run._ended.set()

    def _end(self, run: Run, status: Status, *, result: Any = None, error: str | None = None) -> None:
        event: dict[str, Any] = {"run_id": run.run_id, "complete": True, "status": status}
        if error is not None:
            event["error"] = error
        with self._lock:
            run.result, run.error, run.finished_at, run.terminal_event = result, error, _now(), event
            run.status = status
            # Before readers learn the end: they may start the next run at once.
            if run.key is not None:
                del self._active_keys[run.key]
        self.manager.finish_run(run.run_id, event)
        with self._lock:
            self._finished.append(run.run_id)
            if len(self._finished) > self._finished_limit:
                del self._runs[self._finished.popleft()]


def _next_id(least: int) -> int:
    global _newest_id
    with _newest_id_lock:
        _newest_id = max(_newest_id + 1, least)
        return _newest_id


def _forget_parent() -> None:
    """In a forked child: another thread of the parent may have held the lock."""
    global _newest_id_lock
    _newest_id_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_parent)


def _now() -> datetime:
    return datetime.now(UTC)


_LONGEST_MESSAGE = 500
_TRACEBACK = "Traceback (most recent call last)"
_PATH_CHARACTER = r"[^\s'\"<>|:;,()\[\]{}/\\]"
_PATH = re.compile(
    rf"""
    (?P<url>\b(?!file:)[a-z][a-z0-9+.-]+://\S+)             # left alone
    | (?P<quote>['"])(?P<quoted>(?:file://|~|\.{{0,2}}|[A-Za-z]:|\\)?[/\\](?:(?!(?P=quote)).)+)(?P=quote)
    | (?:file://|(?<![\w<])(?:[A-Za-z]:|~|\.\.?)?)          # an absolute path, or one from here or from home
      [/\\]+{_PATH_CHARACTER}+(?:[/\\]+{_PATH_CHARACTER}*)*
      (?:[ ]{_PATH_CHARACTER}+[/\\]{_PATH_CHARACTER}+(?:[/\\]+{_PATH_CHARACTER}*)*)*   # with spaces in it
    | (?:{_PATH_CHARACTER}+[/\\]+)+{_PATH_CHARACTER}+\.[A-Za-z]\w*                     # a relative path to a file
    """,
    re.VERBOSE,
)


def _client_message(error: BaseException) -> str:
    """The kind of the error and its message in one line, with file names in place of paths."""
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:
        return kind
    if isinstance(error, OSError):
        # The one error that tells its paths apart from its text, so that spaces in them cannot mislead.
        for path in (error.filename, error.filename2):
            if isinstance(path, str | bytes):
                text = text.replace(repr(path), repr(os.path.basename(path)))
    before, found, after = text.partition(_TRACEBACK)
    if found:
        text = before.strip() or after.strip().rpartition("\n")[2]
    # Cut before the search, which takes long in long texts, and without lone surrogates, which many encoders refuse.
    text = re.sub("[\ud800-\udfff]", "\ufffd", " ".join(text[: 4 * _LONGEST_MESSAGE].split()))
    text = _PATH.sub(_file_name, text)
    if len(text) > _LONGEST_MESSAGE:
        text = text[: _LONGEST_MESSAGE - 1] + "…"
    return f"{kind}: {text}" if text else kind


def _file_name(match: re.Match[str]) -> str:
    if match["url"]:
        return match["url"]
    if match["quote"]:
        return f"{match['quote']}{_last_part(match['quoted'])}{match['quote']}"
    return _last_part(match[0])


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "…"
