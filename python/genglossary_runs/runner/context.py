"""The context that a run's work receives, through which it sends messages to readers."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from genglossary_runs._core import CancelEvent, RunManager
from genglossary_runs.errors import OtherProcessError, RunCancelledError

from .forks import generation
from .ids import new_id
from .progress import Outlet
from .values import Level, amount_of, level_of, short_repr, text_of

logger = logging.getLogger(__package__)

T = TypeVar("T")

# What a reader of the stream relies on cannot be a field of a message.
_RESERVED = frozenset({"run_id", "time", "complete", "gap", "cancel_requested"})

# Keys of a run's messages of which a log record is written; more of them are written, too, but not told of.
_MOST_COMPLAINTS = 100

_MISSING: Any = object()

# A run that nobody has: publishing to it only tries whether a value can be written.
_NOWHERE = new_id()

current: ContextVar["RunContext | None"] = ContextVar("genglossary_runs.current_run", default=None)


def current_run() -> "RunContext | None":
    """Return the context of the run whose work calls this, also in tasks and threads with its `contextvars`."""
    return current.get()


class RunContext:
    """Lets the work of a run send messages to its readers. Every method may be called from any thread.

    Attributes:
        run_id: the id of the run in the manager.
        cancel_event: set when the run's cancel is requested.

    In a forked child every method raises `OtherProcessError`: readers and the cancel event are in the parent.
    """

    def __init__(
        self, manager: RunManager, run_id: int | str, cancel_event: CancelEvent, *, progress_interval: float = 0.1
    ) -> None:
        self._manager = manager
        # The run is open here or has ended, so a store has nothing to say about its messages, nor about `_NOWHERE`.
        self._here = manager if manager.store is None else manager.without_store()
        self._generation = generation()
        self._noted: set[str] = set()
        self._complaints: deque[str] = deque()
        self._last_progress: dict[str, Any] | None = None
        self._last_message: str | None = None
        # Guarded by the outlet's lock.
        self._cancel_told = False
        self._outlet = Outlet(self._publish, progress_interval, self._complain)
        self.run_id = run_id
        self.cancel_event = cancel_event

    def __repr__(self) -> str:
        return f"<RunContext of run {self.run_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"The context of run {self.run_id} cannot be sent to another process; have it send back what is to be said"
        )

    def log(self, message: object = "", /, level: Level | str | int = "info", **fields: Any) -> None:
        """Send readers a log message. After the end of the run it is dropped.

        It never raises because of its arguments. A value that has no JSON form is written as a short `repr`, and a
        field whose name is taken gets a trailing underscore. One record of the logger `genglossary_runs.runner` then
        names the run and the key.

        Args:
            message: text for people.
            level: `debug`, `info`, `warning` or `error`; any other level of `logging`, by name or number, is mapped to
                one of these.
            fields: additional keys of the message, with values that `RunManager.publish` can write.
        """
        self._check_process()
        # Of any other value, such as an array, not even the truth is asked.
        if isinstance(message, str) and not message:
            message = fields.pop("message", message)
        mapped = level_of(level)
        if mapped is None:
            mapped = "info"
            fields["level"] = level
        text = text_of(message)
        self._outlet.send(self._event({"level": mapped, "message": text}, fields))
        self._last_message = text
        self._complain()

    def progress(
        self, current: float = _MISSING, total: float | None = _MISSING, /, step: str | None = None, **fields: Any
    ) -> None:
        """Tell readers how far the work is. Call it as often as you like.

        If calls come faster than the runner's `progress_interval`, readers get the newest.

        Args:
            current: units of work done, from 0 to `total`; a value outside is set to the bound, and a log record says
                so.
            total: units of work in this step, 0 or more; None if unknown.
            step: what is being done, in a word or two.
            fields: as for `log`. An event with a `message` is also a log message, and is always sent.

        Raises:
            TypeError: `current` or `total` is not a number.
            ValueError: `current` or `total` is NaN or infinite.
        """
        self._check_process()
        # Taken by position, so that fields may have these names; by keyword they are looked for here.
        if current is _MISSING:
            current = fields.pop("current", None)
        if total is _MISSING:
            total = fields.pop("total", None)
        current = amount_of(current, "current")
        if total is not None:
            total = amount_of(total, "total")
        if current < 0 or (total is not None and not current <= total):
            current, total = self._bounded(current, total)
        event: dict[str, Any] = {"progress_current": current, "progress_total": total}
        if step is not None:
            event["step"] = text_of(step)
        event = self._event(event, fields)
        self._last_progress = event
        self._outlet.progress(event, now="message" in fields)
        self._complain()

    def track(self, items: Iterable[T], step: str | None = None, **fields: Any) -> Iterator[T]:
        """Iterate over `items`, report progress, and check for a cancel at each item.

        Args:
            items: any iterable; the total is its length, if it has one.
            step, fields: as for `progress`.

        Raises:
            RunCancelledError: from the iteration, once the cancel was requested.
        """
        try:
            total: int | None = len(items)  # type: ignore[arg-type]
        except TypeError:
            total = None
        self.raise_if_cancelled()
        self.progress(0, total, step, **fields)
        for done, item in enumerate(items, start=1):
            self.raise_if_cancelled()
            yield item
            if total is not None and done > total:
                total = None
            self.progress(done, total, step, **fields)

    @contextmanager
    def group(self, name: object) -> Iterator[None]:
        """Put the messages of a `with` block into a group, which the run page shows under a heading that folds.

        Readers get a log message with `group` ("begin"), and after the block an event with `group` ("end"). Groups may
        be nested. Messages that other threads log meanwhile are inside, too.

        Args:
            name: the name of the group, which is also the text of its message.
        """
        self.log(text_of(name), group="begin")
        try:
            yield
        finally:
            if self._generation == generation():
                self._tell({"group": "end"})

    def raise_if_cancelled(self) -> None:
        """Raise `RunCancelledError` if the run's cancel was requested."""
        self._check_process()
        if self.cancel_event.is_set():
            raise self._cancelled()

    def assert_owner(self) -> None:
        """Raise `RunCancelledError` unless this process still owns the run, for work that writes to other systems.

        With a `RedisStore` a process that was stopped or cut off for too long is taken for dead, and its runs are
        ended; another process may have started them again. Call this before each write that must not happen twice. It
        waits for the store; in a coroutine await `aassert_owner`.

        Raises:
            RunCancelledError: the run was ended by another process, or its cancel was requested.
            StoreError: the store cannot be used, so ownership is unknown.
        """
        self.raise_if_cancelled()
        if not self._manager.owns_run(self.run_id):
            raise self._cancelled()

    async def aassert_owner(self) -> None:
        """Do the same as `assert_owner`, on an event loop."""
        self.raise_if_cancelled()
        if not await self._manager.aowns_run(self.run_id):
            raise self._cancelled()

    def _cancelled(self) -> RunCancelledError:
        reason = self.cancel_event.reason
        if reason is None and not self.cancel_event.is_set():
            reason = "it is no longer open in this process"
        text = f"Run {self.run_id} was cancelled" + (f": {reason}" if reason else "")
        return RunCancelledError(text, run_id=self.run_id)

    def _tell(self, event: dict[str, Any]) -> None:
        """Publish an event of the run itself."""
        self._outlet.send(self._event(event, {}))

    def _note_cancel(self) -> bool:
        """Tell readers that the cancel was requested, unless the run has ended. Returns whether it has not."""
        with self._outlet.lock:
            if self._outlet.closed:
                return False
            if not self._cancel_told:
                self._cancel_told = True
                self._tell({"cancel_requested": True})
            return True

    def _close(self, *, cancel_requested: bool) -> None:
        """Tell readers what they have yet to be told before the terminal event, and nothing after."""
        try:
            if cancel_requested:
                # The thread that cancels may be yet to do it.
                self._note_cancel()
        finally:
            self._outlet.close()

    def _event(self, event: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = {"run_id": self.run_id, "time": now, **event}
        for name, value in fields.items():
            if name in event or name in _RESERVED:
                self._note(name, "is set by the run itself, and was written with an underscore after it")
                while name in event or name in _RESERVED or name in fields:
                    name += "_"
            event[name] = value
        return event

    def _publish(self, event: dict[str, Any]) -> None:
        try:
            self._here.publish(self.run_id, event)
        except Exception:
            self._here.publish(self.run_id, {name: self._writable(name, value) for name, value in event.items()})

    def _writable(self, name: str, value: Any) -> Any:
        try:
            self._here.publish(_NOWHERE, {name: value})
        except Exception as error:
            self._note(name, f"cannot be written ({text_of(error)}), and its repr was")
            return short_repr(value)
        return value

    def _bounded(self, current: float, total: float | None) -> tuple[float, float | None]:
        self._note("progress_current", f"was {current} of {total}, and was set to the bound")
        total = None if total is None else max(total, 0)
        return max(current if total is None else min(current, total), 0), total

    def _note(self, name: str, why: str) -> None:
        if name not in self._noted and len(self._noted) < _MOST_COMPLAINTS:
            self._noted.add(name)
            self._complaints.append(f"{name!r} of a message {why}")

    def _complain(self) -> None:
        """Log what was noted. Not under the outlet's lock: a handler may have one of its own, and log to the run."""
        while self._complaints:
            try:
                complaint = self._complaints.popleft()
            except IndexError:
                return
            logger.warning("Run %s: %s; this is told once", self.run_id, complaint)

    def _check_process(self) -> None:
        if self._generation != generation():
            raise OtherProcessError(
                f"Run {self.run_id} belongs to the process that this one was forked from: its readers and its cancel "
                "are there. Send what is to be said to the parent, through a multiprocessing queue or as a result, "
                "and have the parent log it"
            )
