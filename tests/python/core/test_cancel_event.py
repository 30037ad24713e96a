"""A cancel event is a `threading.Event` that is set once and has callbacks: what both can do, both are tested for."""

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from genglossary_runs import CancelEvent, RunManager

from .support import DEADLINE, Background, run_python, wait_until_collected


def an_event_of_a_run() -> CancelEvent:
    return RunManager().open_run(1)


@pytest.fixture(params=[threading.Event, CancelEvent, an_event_of_a_run], ids=lambda make: make.__name__)
def event(request: pytest.FixtureRequest) -> Any:
    return request.param()


# Side by side with threading.Event


def test_set(event: Any) -> None:
    assert event.is_set() is False
    assert event.set() is None
    assert event.is_set() is True
    event.set()
    assert event.is_set() is True


def test_wait_for_what_is_set(event: Any) -> None:
    event.set()
    assert event.wait() is True
    assert event.wait(0) is True
    assert event.wait(timeout=-1) is True


@pytest.mark.parametrize("timeout", [0, -1, -1e300])
def test_no_time_to_wait(event: Any, timeout: float) -> None:
    begun = time.monotonic()
    assert event.wait(timeout) is False
    assert time.monotonic() - begun < 10


def test_a_timeout_is_waited_for(event: Any) -> None:
    begun = time.monotonic()
    assert event.wait(timeout=0.1) is False
    assert time.monotonic() - begun >= 0.099


@pytest.mark.parametrize("timeout", [None, DEADLINE])
def test_all_who_wait_are_woken(event: Any, timeout: float | None) -> None:
    threads = [Background(event.wait, timeout) for _ in range(10)]
    for thread in threads:
        thread.wait_until_parked()
    event.set()
    assert [thread.result() for thread in threads] == [True] * 10


def test_waiting_lets_other_threads_run(event: Any) -> None:
    thread = Background(event.set)
    assert event.wait(DEADLINE) is True
    thread.result()


def test_it_can_be_referenced_weakly(event: Any) -> None:
    assert weakref.ref(event)() is event


# Callbacks


@pytest.fixture
def calls() -> list[Any]:
    return []


def test_callbacks_are_called_once_in_order_when_it_is_set(calls: list[Any]) -> None:
    event = CancelEvent()
    for n in range(3):
        event.add_callback(lambda n=n: calls.append((n, event.is_set(), threading.current_thread())))
    assert calls == []
    thread = Background(event.set)
    thread.result()
    event.set()
    assert calls == [(n, True, thread) for n in range(3)]


def test_a_callback_is_called_at_once_if_it_is_set_already(calls: list[Any]) -> None:
    event = CancelEvent()
    event.set()
    event.add_callback(lambda: calls.append(threading.current_thread()))
    assert calls == [threading.current_thread()]


def test_the_same_callback_may_be_added_twice(calls: list[Any]) -> None:
    event = CancelEvent()
    callback = lambda: calls.append(1)  # noqa: E731
    event.add_callback(callback)
    event.add_callback(callback)
    event.set()
    assert calls == [1, 1]


def test_cancelling_the_run_calls_them(manager: RunManager, calls: list[Any]) -> None:
    event = manager.cancel_event(1)
    assert event is not None
    event.add_callback(lambda: calls.append(1))
    manager.cancel_run(1)
    manager.cancel_run(1)
    assert calls == [1]


def test_the_end_of_the_run_forgets_them(manager: RunManager, calls: list[Any]) -> None:
    event = manager.cancel_event(1)
    assert event is not None
    callback = Callback(calls)
    reference = weakref.ref(callback)
    event.add_callback(callback)
    del callback
    manager.finish_run(1, {})
    wait_until_collected(lambda: reference() is None)
    event.set()
    assert calls == []


class Callback:
    """A callable that can be referenced weakly."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def __call__(self) -> None:
        self.calls.append(1)


def test_what_a_callback_raises_is_logged_and_the_others_are_called(
    calls: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("in the callback")

    event = CancelEvent()
    event.add_callback(broken)
    event.add_callback(lambda: calls.append(1))
    event.set()
    assert calls == [1]
    event.add_callback(broken)
    assert [(record.name, record.levelno) for record in caplog.records] == [("genglossary_runs", logging.ERROR)] * 2
    assert "a callback of a cancel event raised ZeroDivisionError: in the callback" in caplog.text
    assert "in broken" in caplog.text


def test_a_callback_that_cannot_be_called_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    event = CancelEvent()
    event.add_callback(42)  # type: ignore[arg-type]
    event.set()
    assert "'int' object is not callable" in caplog.text


def test_a_callback_may_use_the_event(calls: list[Any]) -> None:
    event = CancelEvent()

    def callback() -> None:
        event.set()
        assert event.wait(0)
        event.add_callback(lambda: calls.append("inner"))
        calls.append("outer")

    event.add_callback(callback)
    event.set()
    assert calls == ["inner", "outer"]


def test_a_callback_may_use_the_manager(manager: RunManager, calls: list[Any]) -> None:
    reader = manager.subscribe(1)

    def callback() -> None:
        calls.append(manager.cancel_run(1))
        manager.publish(1, {"n": 1})
        calls.append(manager.finish_run(1, {"n": 2}))
        calls.append(manager.open_run(1).is_set())

    event = manager.cancel_event(1)
    assert event is not None
    event.add_callback(callback)
    assert manager.cancel_run(1) is True
    assert calls == [True, True, False]
    assert [event["n"] for event in reader] == [1, 2]


def test_setting_and_adding_race(calls: list[Any]) -> None:
    """However they fall, each callback is called once."""
    for _ in range(300):
        event = CancelEvent()
        setters = [Background(event.set) for _ in range(2)]
        for n in range(10):
            event.add_callback(lambda n=n: calls.append(n))
        for setter in setters:
            setter.result()
    assert sorted(calls) == sorted(list(range(10)) * 300)


# Its wrappers, and the garbage collector


def test_all_that_a_manager_hands_out_for_a_run_are_equal(manager: RunManager) -> None:
    first, second = manager.cancel_event(1), manager.cancel_event(1)
    assert first is not None
    assert first == second
    assert hash(first) == hash(second)
    assert first != manager.open_run(2)
    assert first != CancelEvent()
    assert len({first, second}) == 1


def test_repr() -> None:
    event = CancelEvent()
    assert repr(event) == "<CancelEvent: unset>"
    event.set()
    assert repr(event) == "<CancelEvent: set>"


class Cycle:
    """Something that a callback keeps, and that keeps the event."""

    event: CancelEvent
    other: Any

    def called(self) -> None:
        """Nothing happens."""


def an_own_event(cycle: Cycle) -> None:
    cycle.event = CancelEvent()


def an_event_whose_run_has_finished(cycle: Cycle) -> None:
    manager = RunManager()
    cycle.event = manager.open_run(1)
    manager.finish_run(1, {})


def an_event_whose_manager_is_gone(cycle: Cycle) -> None:
    cycle.event = RunManager().open_run(1)


@pytest.mark.parametrize(
    "make",
    [
        an_own_event,
        an_event_whose_run_has_finished,
        an_event_whose_manager_is_gone,
    ],
    ids=lambda make: make.__name__,
)
def test_cycles_through_callbacks_are_collected(make: Callable[[Cycle], None]) -> None:
    cycle = Cycle()
    make(cycle)
    cycle.event.add_callback(cycle.called)
    reference = weakref.ref(cycle)
    del cycle
    wait_until_collected(lambda: reference() is None)


def test_a_collection_while_threads_wait_finalizes_nothing_alive() -> None:
    """The collector looks twice; shown fewer callbacks the second time, it would take the others for garbage."""
    run_python("""
import gc, os, random, threading, time, weakref
from genglossary_runs import CancelEvent

class Thing:
    def close(self): pass

gc.disable()
event, thing = CancelEvent(), Thing()
alive = weakref.ref(thing)
event.add_callback(thing.close)
del thing

def wait():
    while True:
        event.wait(random.random() * 0.01)

for _ in range(100):
    threading.Thread(target=wait, daemon=True).start()
for n in range(1000):
    gc.collect()
    assert alive() is not None, n
    if n % 5 == 0:
        time.sleep(0.001)  # let them run
os._exit(0)
""")


def test_ctrl_c_in_a_callback_is_not_swallowed() -> None:
    run_python("""
import signal
from genglossary_runs import CancelEvent

event = CancelEvent()
event.add_callback(lambda: signal.raise_signal(signal.SIGINT))
try:
    event.set()
    for _ in range(1_000_000):
        pass
except KeyboardInterrupt:
    raise SystemExit(0)
raise SystemExit("Ctrl-C was swallowed")
""")


def test_collecting_a_wrapper_leaves_the_callbacks_of_the_run_alone(manager: RunManager, calls: list[Any]) -> None:
    """The wrapper is in a cycle of garbage; the run's event is not."""
    event = manager.cancel_event(1)
    assert event is not None
    event.add_callback(lambda: calls.append(1))
    cycle = Cycle()
    cycle.event, cycle.other = event, cycle
    del cycle, event
    gc.collect()
    manager.cancel_run(1)
    assert calls == [1]
