"""Views of the manager's state, under the private names that the application's tests use."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from .._core import CancelEvent, RunManager


class CancelFlag(Protocol):
    """What a pipeline polls and a cancel sets: a `CancelEvent`, or a `threading.Event` that a test put there."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...


class CancelEvents(Mapping[int, CancelFlag]):
    """`_cancel_events`: the cancel events of open runs, and those that were put here before their run opened."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager
        # Events that were put here; a callback of the run's own event sets each.
        self._put: dict[int, CancelFlag] = {}

    def __getitem__(self, run_id: int) -> CancelFlag:
        own = self._manager.cancel_event(run_id)
        if own is None:
            raise KeyError(run_id)
        return self._put.get(run_id, own)

    def __setitem__(self, run_id: int, event: CancelFlag) -> None:
        own: CancelEvent | None = self._manager.cancel_event(run_id, create=True)
        self._put[run_id] = event
        if own is not None:
            own.add_callback(event.set)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._manager.active_runs())

    def __len__(self) -> int:
        return len(self._manager.active_runs())

    def values(self) -> list[CancelFlag]:  # type: ignore[override]  # a snapshot: runs come and go meanwhile
        return [event for event in map(self.get, self) if event is not None]

    def forget(self, run_id: int) -> None:
        """Drop an event that was put here."""
        self._put.pop(run_id, None)


class Subscribers:
    """`_subscribers`: the runs, open or yet to start, with a registered subscriber."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager
        # Only their ids: a subscription that was dropped without unregistering holds nothing, but counts until the end.
        self._noted: set[int] = set()

    def note(self, run_id: int) -> None:
        """Count the run until `forget`."""
        self._noted.add(run_id)

    def forget(self, run_id: int) -> None:
        """Stop counting the run, which has ended."""
        self._noted.discard(run_id)

    def forget_unless_subscribed(self, run_id: int) -> None:
        """Stop counting the run if it has no subscriber."""
        if run_id not in self._manager.subscribed_runs():
            self.forget(run_id)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._noted or run_id in self._manager.subscribed_runs()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._manager.subscribed_runs())

    def __len__(self) -> int:
        return len(self._manager.subscribed_runs())


class CompletedRuns(Mapping[int, dict[str, Any]]):
    """`_completed_runs`: the terminal events of finished runs, while they are retained."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    def __getitem__(self, run_id: int) -> dict[str, Any]:
        terminal = self._manager.terminal_event(run_id)
        if terminal is None:
            raise KeyError(run_id)
        return terminal

    def __iter__(self) -> Iterator[Any]:
        return iter(self._manager.retained_runs())

    def __len__(self) -> int:
        return len(self._manager.retained_runs())
