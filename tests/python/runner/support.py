"""What the tests of the runner share."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from genglossary_runs import CancelEvent, RunManager
from genglossary_runs.runner import Run, RunContext

DEADLINE = 60.0
"""Seconds after which something that should have happened will not."""


class Gate:
    """Work that has begun, and goes on once it is let."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, context: RunContext) -> str:
        self.entered.set()
        assert self.opened.wait(DEADLINE)
        return "through"


class SlowManager(RunManager):
    """A manager that opens a run once it is let, as one whose store does not answer."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()

    def open_run(self, run_id: Any, *, key: str | None = None, name: str | None = None) -> CancelEvent:
        self.asked.set()
        assert self.may_answer.wait(DEADLINE)
        return super().open_run(run_id, key=key, name=name)


def ended(run: Run) -> Run:
    """The run, once it has ended."""
    assert run.wait(DEADLINE)
    return run


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def events_of(manager: RunManager, run: Run) -> list[dict[str, Any]]:
    """All events of a run, until its terminal event."""
    subscription = manager.subscribe(run.run_id, after="0")
    events = []
    while not events or not events[-1].get("complete"):
        events.append(subscription.get(timeout=DEADLINE))
    with pytest.raises(queue.Empty):
        subscription.get_nowait()
    return events


def messages_of(manager: RunManager, run: Run) -> list[str]:
    """The messages of a run's log."""
    return [event["message"] for event in events_of(manager, run) if "message" in event]


def until_cancelled(context: RunContext) -> None:
    """Work that stops when it is asked to."""
    assert context.cancel_event.wait(DEADLINE)
    context.raise_if_cancelled()


def nothing(context: RunContext) -> None:
    """Work that is done at once."""


def raising(error: BaseException) -> Callable[[RunContext], None]:
    """Work that fails."""

    def work(context: RunContext) -> None:
        raise error

    return work
