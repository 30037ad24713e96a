"""The handle of a run."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Generator, Hashable
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeAlias

from genglossary_runs._core import Subscription
from genglossary_runs.errors import OtherProcessError, RunCancelledError

from .context import RunContext
from .forks import generation
from .outcome import Outcome, Status

Read: TypeAlias = Callable[[int | str, "Run", str | None], Subscription]
"""Makes a reader of a run after an event's id."""


class Run:
    """One run, made by `Runner.start`. Every method may be called from any thread.

    `await run` returns what the work returned, or raises what it raised, like `value`.

    Attributes:
        run_id: the id of the run in the manager.
        name: its name for people.
        key: the key passed to `Runner.start`.
        result: what the work returned, when completed.
        error: what readers were told, when failed.
        started_at: when `Runner.start` was called (UTC); a queued run's work begins later.
        finished_at: when it ended (UTC), or None.
        terminal_event: what told readers the outcome, or None.
        fence: which life of the id; rises with each start.
        owner: the process that executes it, as the store names it; without a store, its number.
        traceback: what readers were sent of a failure, if the runner sends tracebacks; else None.

    A handle that a fork has copied says that the run belongs to the parent, unless it ended before.
    """

    def __init__(self, context: RunContext, read: Read, *, key: Hashable, name: str, fence: int) -> None:
        self._context = context
        self._read = read
        self._generation = generation()
        self._status: Status = "running"
        self._raised: BaseException | None = None
        self._thread: threading.Thread | None = None
        # Taken once: by the thread, which then does the work, or by the failed start of it, which then ends the run.
        self._claimed = threading.Lock()
        # Waited for in place of the thread: a `join` that Ctrl-C interrupts takes the thread for ended (CPython 3.11).
        self._ended = threading.Event()
        # Guards the callbacks, and that they and `_ended` agree.
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        # Of the terminal event, for readers that come back when only this handle knows the run.
        self._last_event_id: str | None = None
        self.run_id = context.run_id
        self.name = name
        self.key = key
        self.fence = fence
        self.owner = context._manager.owner or str(os.getpid())
        self.result: Any = None
        self.error: str | None = None
        self.started_at = datetime.now(UTC)
        self.finished_at: datetime | None = None
        self.terminal_event: dict[str, Any] | None = None
        self.traceback: str | None = None

    def __repr__(self) -> str:
        status: str = "of the parent process" if self._is_elsewhere() else self._status
        if self.cancel_requested and self._status in ("queued", "running"):
            status += ", cancel requested"
        return f"<Run {self.run_id} {self.name!r}: {status}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"The handle of run {self.run_id} cannot be sent to another process; send its run_id")

    @property
    def status(self) -> Status:
        """`queued`, `running`, `completed`, `failed` or `cancelled`."""
        self._check_process()
        return self._status

    @property
    def cancel_requested(self) -> bool:
        """Whether the cancel event is set; the work may still be stopping, or may have ended before it noticed."""
        return self._context.cancel_event.is_set()

    @property
    def progress(self) -> dict[str, Any] | None:
        """The newest progress event of the work, even if it has not been sent yet; None if there is none.

        After the end it says how far the run got.
        """
        return self._context._last_progress

    @property
    def message(self) -> str | None:
        """The text of the newest log message; None if there is none."""
        return self._context._last_message

    def cancel(self) -> bool:
        """Ask the work to stop. A queued run ends at once. Returns whether it had not ended yet."""
        self._check_process()
        # Not by the manager: it would ask a store about a run that has ended, or cancel a newer one of this id.
        if self.terminal_event is not None:
            return False
        self._context.cancel_event.set()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run: its outcome is set, and the manager's active runs have nothing left of it.

        Args:
            timeout: seconds to wait at most; None for no limit. It blocks the thread; on an event loop `await` the run.

        Returns:
            Whether it has ended.

        Raises:
            RuntimeError: called by the thread of this very run.
            OtherProcessError: the run belongs to the process that this one was forked from.
        """
        self._check_process()
        self._check_thread()
        return self._ended.wait(timeout)

    def value(self, timeout: float | None = None) -> Any:
        """Wait for the end and return what the work returned.

        Args:
            timeout: as for `wait`.

        Raises:
            TimeoutError: it has not ended in time.
            RunCancelledError: it was cancelled.
            Exception: what the work raised, without the traceback, which is in the log; a `RuntimeError` in place of
                what is no `Exception`, as `SystemExit`.
            RuntimeError, OtherProcessError: as for `wait`.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"Run {self.run_id} has not ended within {timeout} seconds")
        if self._status == "cancelled":
            raise RunCancelledError(f"Run {self.run_id} was cancelled", run_id=self.run_id) from self._raised
        if isinstance(self._raised, Exception):
            # Each raise adds the frames of its callers.
            raise BaseException.with_traceback(self._raised, None)
        if self._raised is not None:
            # An exit or a Ctrl-C was meant for the run's thread, and not for whoever asks.
            raise RuntimeError(f"Run {self.run_id} failed: {self.error}") from self._raised
        return self.result

    def events(self, after: str | None = "0") -> Subscription:
        """Make a reader of the run's events, for `for` as well as `async for`; of its terminal event if it was evicted.

        Args:
            after: as for `RunManager.subscribe`; by default, start with the oldest event held.
        """
        self._check_process()
        return self._read(self.run_id, self, after)

    def __await__(self) -> Generator[Any, None, Any]:
        self._check_process()
        self._check_thread()
        yield from self._wait_on_loop().__await__()
        return self.value()

    async def _wait_on_loop(self) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def resolve() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(resolve)

        with self._lock:
            if self._ended.is_set():
                return
            self._callbacks.append(wake)
        try:
            await future
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._callbacks.remove(wake)

    def _claim(self) -> bool:
        """Decide whether the work begins or its start has failed. Returns whether it was the caller who decided."""
        return self._claimed.acquire(blocking=False)

    def _record(self, outcome: Outcome, event: dict[str, Any]) -> None:
        """Set the outcome, of which those who wait are not told yet."""
        self.result, self.error, self._raised = outcome.result, outcome.error, outcome.raised
        self.finished_at, self.terminal_event = datetime.now(UTC), event
        self._status = outcome.status

    def _announce(self) -> None:
        """Wake those who wait for the end."""
        with self._lock:
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
        for wake in callbacks:
            wake()

    def _is_elsewhere(self) -> bool:
        return self._generation != generation() and not self._ended.is_set()

    def _check_process(self) -> None:
        if self._is_elsewhere():
            raise OtherProcessError(
                f"Run {self.run_id} belongs to the process that this one was forked from, and cannot be followed here; "
                "start runs in the process that is to use them"
            )

    def _check_thread(self) -> None:
        if self._thread is threading.current_thread() and not self._ended.is_set():
            raise RuntimeError(f"Run {self.run_id} cannot wait for its own end")
