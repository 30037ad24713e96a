"""Runs as a store knows them, wherever they were executed."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from genglossary_runs._core import RunManager, Subscription
from genglossary_runs.types import RunId

_LARGEST_RESULT = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What the manager's store knew of a run when it was asked.

    Attributes:
        run_id: the id of the run in the manager.
        key: what `Runner.start` was given.
        name: its name for people; None if it has none.
        status: `running` (queued ones are, too), `completed`, `failed` or `cancelled`.
        error: what readers were told, when failed; `Interrupted: …` if the process of the run ended.
        result: what the work returned, if that has a JSON form of 1 MiB at most, and was asked for.
        result_kind: `text`, `link` (a text that is an address of the web) or `json`; None where there is no result.
        started_at: when it was started (UTC).
        finished_at: when it ended (UTC), or None.
        fence: which life of the id; for the next page of `Runner.history`.
        owner: the process that executes it, or did, as the store names it.
    """

    run_id: int | str
    key: str | None
    name: str | None
    status: str
    error: str | None
    result: Any
    result_kind: Literal["text", "link", "json"] | None
    started_at: datetime
    finished_at: datetime | None
    fence: int
    owner: str
    _manager: RunManager = field(repr=False, compare=False)

    def cancel(self) -> bool:
        """Ask the work to stop, in whichever process it is. Returns whether the run had not ended yet."""
        # An id may have a newer life, which this is not.
        return self.finished_at is None and self._manager.cancel_run(self.run_id)

    def events(self, after: str | None = "0") -> Subscription:
        """Make a reader of the run's events; see `RunManager.subscribe`.

        Raises:
            UnknownRunError: the store has evicted the run since it was asked.
            StoreError: the store cannot be used.
        """
        return self._manager.subscribe(self.run_id, after, must_exist=True)


class Records:
    """What a manager's store knows of runs: the half of a `Runner` that needs a store."""

    manager: RunManager

    def find(self, run_id: RunId, *, with_result: bool = True) -> StoredRun | None:
        """Return what the manager's store knows of a run, wherever it was executed. Waits for the store.

        Args:
            run_id: the run.
            with_result: read its result, too, which may be large. Without it `result` is None.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """
        record = self.manager.run_record(run_id, with_result=with_result)
        return None if record is None else stored_run(self.manager, record)

    def history(
        self,
        *,
        key: str | None = None,
        status: str | Sequence[str] | None = None,
        text: str | None = None,
        also: Sequence[int] | None = None,
        before: int | None = None,
        limit: int = 100,
        with_results: bool = True,
    ) -> list[StoredRun]:
        """Return what the manager's store knows of runs of all processes, the newest first. Waits for the store.

        Args:
            key: only runs with this key.
            status: only runs with this status, or one of these.
            text: only runs that have this text in their id, key, name or error. ASCII letters match in either case,
                others only as they are.
            also: the `fence` of runs that are listed whether they have the text or not.
            before: only runs that began before the one with this `fence`, the last of the page before.
            limit: how many at most.
            with_results: read their results, too, each of 1 MiB at most. A list that only shows runs does without: each
                `result` is then None, and `result_kind` tells whether there is one, which `find` reads.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """
        records = self.manager.run_records(
            key=key, status=status, text=text, also=also, before=before, limit=limit, with_results=with_results
        )
        return [stored_run(self.manager, record) for record in records]

    async def afind(self, run_id: RunId, *, with_result: bool = True) -> StoredRun | None:
        """Do what `find` does, on an event loop."""
        record = await self.manager.arun_record(run_id, with_result=with_result)
        return None if record is None else stored_run(self.manager, record)

    async def ahistory(
        self,
        *,
        key: str | None = None,
        status: str | Sequence[str] | None = None,
        text: str | None = None,
        also: Sequence[int] | None = None,
        before: int | None = None,
        limit: int = 100,
        with_results: bool = True,
    ) -> list[StoredRun]:
        """Do what `history` does, on an event loop."""
        records = await self.manager.arun_records(
            key=key, status=status, text=text, also=also, before=before, limit=limit, with_results=with_results
        )
        return [stored_run(self.manager, record) for record in records]


def stored_run(manager: RunManager, record: dict[str, Any]) -> StoredRun:
    """A record of the store as a handle."""
    finished = record["finished_at"]
    return StoredRun(
        run_id=record["run_id"],
        key=record["key"],
        name=record["name"],
        status=record["status"],
        error=record["error"],
        result=record["result"],
        result_kind=record["result_kind"],
        started_at=datetime.fromtimestamp(record["started_at"], UTC),
        finished_at=None if finished is None else datetime.fromtimestamp(finished, UTC),
        fence=record["fence"],
        owner=record["owner"],
        _manager=manager,
    )


def key_for_store(key: Hashable) -> str | None:
    """The key as a store takes it.

    Raises:
        TypeError: it is neither a text nor None.
    """
    if key is None or isinstance(key, str):
        return key
    raise TypeError(f"with a store a key is a str, which every process can compare, not {type(key).__name__}")


def result_for_store(result: Any) -> str | None:
    """The result as JSON, lone surrogates as U+FFFD; None if it has no such form, or a very long one."""
    try:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text if len(text.encode()) <= _LARGEST_RESULT else None
    except BaseException:  # whatever the application's own types raise, and the lack of memory
        return None
