"""The core's log records in Python's `logging`, and handlers that misbehave."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from genglossary_runs import CancelEvent, RunManager

from .support import DEADLINE, Background, drain, numbers, run_python

LOGGER = logging.getLogger("genglossary_runs")


class Handler(logging.Handler):
    """Does what it is told with each record, and counts them."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())
        self.act()


@pytest.fixture
def handle() -> Iterator[Callable[..., Handler]]:
    """Adds a handler for the time of the test."""
    handlers: list[Handler] = []

    def add(act: Callable[[], object] = lambda: None) -> Handler:
        handlers.append(Handler(act))
        LOGGER.addHandler(handlers[-1])
        return handlers[-1]

    yield add
    for handler in handlers:
        LOGGER.removeHandler(handler)
    LOGGER.setLevel(logging.NOTSET)


def raises(error: Exception) -> None:
    raise error


def complain() -> None:
    """Have the core log an error."""
    event = CancelEvent()
    event.set()
    event.add_callback(lambda: 1 / 0)


def test_a_level_changed_at_run_time_takes_effect(handle: Callable[..., Handler]) -> None:
    handler = handle()
    manager = RunManager()
    for run_id, level in enumerate([logging.WARNING, logging.DEBUG, logging.INFO, logging.DEBUG]):
        LOGGER.setLevel(level)
        manager.open_run(run_id)
    assert handler.records == ["run 1 opened", "run 3 opened"]


def test_what_is_logged(handle: Callable[..., Handler]) -> None:
    handler = handle()
    LOGGER.setLevel(logging.DEBUG)
    manager = RunManager()
    manager.open_run(1)
    manager.publish(1, {})
    manager.cancel_run(1)
    manager.finish_run(1, {})
    manager.finish_run(1, {})
    manager.cancel_run(1)
    assert handler.records == ["run 1 opened", "run 1 cancelled", "run 1 finished"]


def test_logging_that_is_disabled(handle: Callable[..., Handler]) -> None:
    handler = handle()
    LOGGER.disabled = True
    try:
        complain()
    finally:
        LOGGER.disabled = False
    assert handler.records == []
    complain()
    assert len(handler.records) == 1


def test_a_handler_that_raises(handle: Callable[..., Handler], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises is shown, and goes no further."""
    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: shown.append(unraisable.exc_value))
    error = ZeroDivisionError("of the handler")
    handler = handle(lambda: raises(error))
    LOGGER.setLevel(logging.DEBUG)
    manager = RunManager()
    event = manager.open_run(1)
    reader = manager.subscribe(1)
    calls: list[int] = []
    event.add_callback(lambda: 1 / 0)
    event.add_callback(lambda: calls.append(1))
    assert manager.cancel_run(1) is True
    assert manager.finish_run(1, {"n": 1}) is True
    assert numbers(drain(reader)) == [1]
    assert calls == [1]
    assert len(handler.records) == 4
    assert shown == [error] * 4


def test_a_handler_that_blocks_holds_up_its_own_thread_alone(handle: Callable[..., Handler]) -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        assert go_on.wait(DEADLINE)

    handle(block)
    manager = RunManager()
    event = manager.open_run(1)
    reader = manager.subscribe(1)
    event.add_callback(lambda: 1 / 0)
    thread = Background(manager.cancel_run, 1)
    assert blocked.wait(DEADLINE)
    assert event.is_set()
    assert event.wait()
    manager.publish(1, {"n": 1})
    manager.cancel_run(1)
    manager.finish_run(1, {"n": 2})
    manager.open_run(1)
    assert numbers(drain(reader)) == [1, 2]
    assert manager.stats()["active_runs"] == 1
    assert thread.is_alive()
    go_on.set()
    assert thread.result() is True


def test_a_handler_that_logs_back_into_the_manager(handle: Callable[..., Handler]) -> None:
    manager = RunManager()
    event = manager.open_run(1)
    reader = manager.subscribe(1)
    LOGGER.setLevel(logging.DEBUG)
    numbered = iter(range(1, 100))
    handle(lambda: manager.publish(1, {"n": next(numbered)}))
    event.add_callback(lambda: 1 / 0)
    manager.cancel_run(1)
    manager.open_run(2)
    manager.finish_run(2, {})
    assert numbers(drain(reader)) == [1, 2, 3, 4]


def test_a_handler_that_ends_the_run(handle: Callable[..., Handler]) -> None:
    manager = RunManager()
    event = manager.open_run(1)
    reader = manager.subscribe(1)
    handle(lambda: manager.finish_run(1, {"n": 1}))
    event.add_callback(lambda: 1 / 0)
    event.add_callback(lambda: manager.publish(1, {"n": 2}))
    manager.cancel_run(1)
    assert [event["n"] for event in reader] == [1]


def test_a_blocking_get_on_a_running_loop_warns_once() -> None:
    run_python("""
import asyncio, logging, queue
from genglossary_runs import RunManager

records = []
handler = logging.Handler()
handler.emit = lambda record: records.append((record.levelname, record.getMessage()))
logging.getLogger("genglossary_runs").addHandler(handler)
reader = RunManager().subscribe(1)

async def read():
    for _ in range(3):
        try:
            reader.get(timeout=0.001)
        except queue.Empty:
            pass

try:
    reader.get(timeout=0.001)
except queue.Empty:
    pass
assert records == []
asyncio.run(read())
assert [level for level, _ in records] == ["WARNING"]
assert "holds up this thread's event loop" in records[0][1]
""")
