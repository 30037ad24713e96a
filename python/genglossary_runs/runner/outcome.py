"""How a run ended, from what its work returned or raised."""

import asyncio
import contextlib
import logging
import os
import traceback
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from genglossary_runs.errors import RunCancelledError

from .redaction import client_message, leaves
from .secrets import redact

logger = logging.getLogger(__package__)

Status: TypeAlias = Literal["queued", "running", "completed", "failed", "cancelled"]

_LONGEST_TRACEBACK = 20_000
_FOLDER = os.path.dirname(__file__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: `completed`, `failed` or `cancelled`.
        result: what the work returned.
        error: what readers are told of a failure.
        raised: what the work raised.
    """

    status: Status
    result: Any = None
    error: str | None = None
    raised: BaseException | None = None

    @property
    def interrupts(self) -> bool:
        """Whether the interpreter has to see what was raised, though it is recorded: Ctrl-C ends more than the run."""
        return isinstance(self.raised, KeyboardInterrupt)

    def terminal_event(self, run_id: int | str, cancel_requested: bool) -> dict[str, Any]:
        """What tells readers."""
        event: dict[str, Any] = {"run_id": run_id, "complete": True, "status": self.status}
        if self.error is not None:
            event["error"] = self.error
        if cancel_requested:
            event["cancel_requested"] = True
        return event

    def log(self, run_id: int | str) -> None:
        """Write a log record of an end that somebody may want to look into."""
        if self.status == "cancelled":
            trouble = None if is_plain_cancel(self.raised) else self.raised
            logger.info("Run %s was cancelled", run_id, exc_info=trouble)
        elif self.status == "failed":
            logger.error("Run %s failed", run_id, exc_info=self.raised)


def outcome_of(error: BaseException, run_id: int | str, cancel_requested: bool) -> Outcome:
    """The outcome of a run whose work raised `error`, whatever the class of the error makes of its text and parts."""
    try:
        _drop_own_frames(error)
        # What a cancel interrupts fails in its own way.
        if cancel_requested or all(_is_cancel(leaf, run_id) for leaf in leaves(error)):
            return Outcome("cancelled", raised=error)
        if isinstance(error, SystemExit) and (error.code is None or (isinstance(error.code, int) and error.code == 0)):
            return Outcome("completed")
        return Outcome("failed", error=client_message(error), raised=error)
    except BaseException:
        return Outcome("failed", error=type(error).__name__, raised=error)


def _drop_own_frames(error: BaseException) -> None:
    """Have the traceback begin in the work; earlier frames are of no use to anybody."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_FOLDER):
        trace = trace.tb_next
    BaseException.with_traceback(error, trace)


def drop_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error and of those it came from, with all that the frames of the work refer to."""
    waiting = [error]
    seen: set[int] = set()
    while waiting:
        error = waiting.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            # Their classes may refuse to have an attribute set, or fail at one that is read.
            with contextlib.suppress(Exception):
                BaseException.with_traceback(error, None)
                waiting += [error.__cause__, error.__context__]
                if isinstance(error, BaseExceptionGroup):
                    waiting += error.exceptions


def traceback_of(error: BaseException) -> str:
    """The traceback for readers: without secrets, its end if it is long."""
    text = "".join(traceback.format_exception(error))
    # Cut before the search for secrets, which takes long in long texts, but far before what is shown.
    text = redact(text[-4 * _LONGEST_TRACEBACK :])
    return text if len(text) <= _LONGEST_TRACEBACK else "…" + text[-_LONGEST_TRACEBACK + 1 :]


def is_plain_cancel(error: BaseException | None) -> bool:
    """Whether there is nothing to look into: the work stopped because it was asked to."""
    return error is None or all(isinstance(leaf, RunCancelledError | asyncio.CancelledError) for leaf in leaves(error))


def _is_cancel(error: BaseException, run_id: int | str) -> bool:
    if isinstance(error, RunCancelledError):
        # That of another run, which this one waited for, is a failure here.
        return error.run_id in (None, run_id)
    return isinstance(error, asyncio.CancelledError)
