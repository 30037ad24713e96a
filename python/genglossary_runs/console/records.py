"""A run as the API shows it, whether this process executes it or a store knows it."""

import sys
from datetime import UTC, datetime
from typing import Any, TypeAlias

from genglossary_runs._core import result_kind
from genglossary_runs.runner import Run, Runner, StoredRun
from genglossary_runs.runner.values import text_of

from .models import Progress, Record
from .watch import Seen

Row: TypeAlias = Run | StoredRun


def queue_positions(runner: Runner) -> dict[int | str, int]:
    """The places of the runs that wait for their turn, the next one at 1."""
    return {run.run_id: number for number, run in enumerate(runner.queued(), start=1)}


def record_of(row: Row, *, position: int | None = None, seen: Seen | None = None) -> Record:
    """Show a run.

    Args:
        row: its handle if this process has one, else what the store knows.
        position: its place in the queue.
        seen: what its events told, if another process executes it.
    """
    finished = row.finished_at
    common: dict[str, Any] = {
        "id": str(row.run_id),
        "key": key_of(row),
        "name": row.name,
        "started": row.started_at,
        "finished": finished,
        "duration": max(0.0, ((finished or datetime.now(UTC)) - row.started_at).total_seconds()),
        "error": row.error,
        "owner": row.owner,
        "result_kind": result_kind(row.result) if isinstance(row, Run) else row.result_kind,
    }
    if isinstance(row, Run):
        return Record(
            **common,
            status=row.status,
            cancel_requested=row.cancel_requested,
            queue_position=position,
            progress=progress_of(row.progress),
            message=row.message,
            traceback=row.traceback,
            local=True,
        )
    seen = seen or Seen()
    return Record(
        **common,
        status="queued" if seen.queued and row.status == "running" else row.status,
        cancel_requested=seen.cancel_requested,
        queue_position=None,
        progress=progress_of(seen.progress),
        message=seen.message,
        traceback=seen.traceback,
        local=False,
    )


def progress_of(event: dict[str, Any] | None) -> Progress | None:
    """The progress that an event tells; None if it tells of none in numbers."""
    current = None if event is None else _amount(event.get("progress_current"))
    if event is None or current is None:
        return None
    step = event.get("step")
    return Progress(
        step=None if step is None else str(step), current=current, total=_amount(event.get("progress_total"))
    )


def _amount(value: Any) -> float | None:
    # Applications may publish anything under these names, also integers that no float can hold.
    if not isinstance(value, int | float):
        return None
    return float(max(-sys.float_info.max, min(value, sys.float_info.max)))


def key_of(row: Row) -> str | None:
    """The key of a run as text."""
    # In memory it is whatever can be hashed.
    return None if row.key is None else text_of(row.key)
