"""How a run ended: one value that is decided once, recorded in the run's row and announced to readers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

logger = logging.getLogger(__name__)

ACTIVE_STATUSES = frozenset({"pending", "running"})
TERMINAL_STATUSES = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: one of `TERMINAL_STATUSES`.
        error: the sanitized message of a failure.
        trace: the traceback of a failure, for readers; it is not kept.
        recorded: True once the row has a terminal status, or is gone.
    """

    status: str
    error: str | None = None
    trace: str | None = None
    recorded: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what a lock file keeps of it."""
        return {"status": self.status, "error": self.error}

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """Read what a lock file kept, or return None if it is not that."""
        match value:
            case {"status": str(status), "error": str() | None as error} if status in TERMINAL_STATUSES:
                return cls(status, error)
        return None


# The outcome of a run whose owner died before it knew another one.
INTERRUPTED = Outcome("failed", "Interrupted: the process that ran it ended")


def terminal_event(run_id: int, db_status: str | None, status_update_failed: bool = False) -> dict[str, Any]:
    """The last event that readers of the application's runs get."""
    event: dict[str, Any] = {"run_id": run_id, "complete": True}
    if db_status is not None:
        event["db_status"] = db_status
    if status_update_failed:
        event["status_update_failed"] = True
    return event


def row_status(row: Any) -> str | None:
    """The status in a row, or None if there is no row or a test's stand-in for one has no status."""
    try:
        status: str = row["status"]
    except (TypeError, LookupError):
        return None
    return status


def error_text(error: BaseException, prefix: str | None, sanitize: Callable[..., object]) -> str:
    """The sanitized message. An error whose text cannot be had or stored is still reported."""
    try:
        text = str(sanitize(error, **({} if prefix is None else {"prefix": prefix})))
    except BaseException:  # whatever its `__str__` raises
        logger.warning("An error has no message that can be shown", exc_info=True)
        text = type(error).__name__ if prefix is None else f"{prefix}: {type(error).__name__}"
    # SQLite cannot store a lone surrogate, which a file's name may hold.
    return text.encode("utf-8", "replace").decode("utf-8")
