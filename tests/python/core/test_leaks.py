"""Nothing is left behind. Thousands are built, and the garbage collector is asked again before anybody judges."""

import gc
import json
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from genglossary_runs import RunActiveError, RunManager, Subscription, UnknownRunError

from .support import Background, drain, run_python, wait_until, wait_until_collected

# Entries


def test_readers_that_are_dropped_leave_no_entry() -> None:
    manager = RunManager()
    for run_id in range(0, 100, 2):
        manager.open_run(run_id)
    readers = [manager.subscribe(n % 100) for n in range(5000)]
    assert manager.stats()["subscribers"] == 5000
    assert manager.stats()["subscribed_runs"] == 50
    readers.clear()
    assert manager.stats()["subscribers"] == manager.stats()["subscribed_runs"] == 0


def never_read(reader: Subscription) -> None:
    pass


def read_a_little(reader: Subscription) -> None:
    reader.get_nowait()


def put_to(reader: Subscription) -> None:
    reader.put_nowait({"n": 1})


def never_start_an_iteration(reader: Subscription) -> None:
    (event for event in reader)


def begin_an_iteration(reader: Subscription) -> None:
    next(event for event in reader)


def keep_in_a_cycle(reader: Subscription) -> None:
    cycle: list[Any] = [reader]
    cycle.append(cycle)


def raise_with_it(reader: Subscription) -> None:
    try:
        raise ValueError(reader)
    except ValueError as error:
        error.args = (error, reader)


def park_a_thread(reader: Subscription) -> None:
    drain(reader)
    Background(reader.get).wait_until_parked()


ABANDON = [
    never_read,
    read_a_little,
    put_to,
    never_start_an_iteration,
    begin_an_iteration,
    keep_in_a_cycle,
    raise_with_it,
    park_a_thread,
]


@pytest.mark.parametrize("abandon", ABANDON, ids=lambda abandon: abandon.__name__)
def test_readers_that_are_abandoned_leave_nothing_after_the_run(abandon: Callable[[Subscription], None]) -> None:
    threads = threading.active_count()
    manager = RunManager(retained_runs=0)
    for run_id in range(5 if abandon is park_a_thread else 300):
        manager.open_run(run_id)
        for _ in range(3):
            reader = manager.subscribe(run_id)
            manager.publish(run_id, {"n": 0})
            abandon(reader)
            del reader
        manager.finish_run(run_id, {})
    wait_until(lambda: threading.active_count() <= threads)
    stats = manager.stats()
    held = ("active_runs", "subscribed_runs", "subscribers", "retained_runs", "events_held", "bytes_held")
    assert [stats[name] for name in held] == [0] * len(held)  # type: ignore[literal-required]
    reference = weakref.ref(manager)
    del manager
    wait_until_collected(lambda: reference() is None)


def test_cancel_events_that_were_asked_for_go_with_the_run() -> None:
    manager = RunManager(retained_runs=0)
    events = []
    for run_id in range(1000):
        events.append(manager.cancel_event(run_id, create=True))
        manager.open_run(run_id)
        manager.finish_run(run_id, {})
    assert manager.active_runs() == []
    assert [manager.cancel_event(run_id) for run_id in range(1000)] == [None] * 1000


# Objects


class Thing:
    """Something that can be referenced weakly."""

    def __call__(self) -> None:
        """Nothing happens."""


def finish(manager: RunManager) -> object:
    return manager.finish_run(1, {})


def cancel(manager: RunManager) -> object:
    return manager.cancel_run(1)


@pytest.mark.parametrize("end", [finish, cancel], ids=lambda end: end.__name__)
def test_callbacks_are_let_go_once_they_cannot_be_called_again(manager: RunManager, end: Any) -> None:
    event = manager.cancel_event(1)
    assert event is not None
    things = [Thing() for _ in range(1000)]
    references = [weakref.ref(thing) for thing in things]
    for thing in things:
        event.add_callback(thing)
    del thing, things
    gc.collect()
    assert all(reference() is not None for reference in references)
    end(manager)
    wait_until_collected(lambda: all(reference() is None for reference in references))


def test_a_manager_lets_go_of_the_callbacks_of_runs_that_never_ended() -> None:
    manager = RunManager()
    thing = Thing()
    reference = weakref.ref(thing)
    manager.open_run(1).add_callback(thing)
    del thing, manager
    wait_until_collected(lambda: reference() is None)


def test_nothing_of_a_published_object_is_kept(manager: RunManager) -> None:
    class Event(dict[str, Any]):
        pass

    event = Event(text=Thing.__name__ * 100)
    reference = weakref.ref(event)
    manager.publish(1, event)
    del event
    wait_until_collected(lambda: reference() is None)


def test_a_manager_goes_while_its_readers_and_events_are_kept() -> None:
    manager = RunManager()
    kept = [manager.open_run(1), manager.subscribe(1), manager.subscribe(2)]
    reference = weakref.ref(manager)
    del manager
    wait_until_collected(lambda: reference() is None)
    assert len(kept) == 3


def test_no_call_loses_count_of_an_object() -> None:
    """References that are never given back would show as blocks of memory, or in the count of a shared object."""
    manager = RunManager(history=5, retained_runs=1)
    shared: list[Any] = ["shared", 3.5, 10**30, {"key": "value"}]

    def everything() -> None:
        event = manager.open_run(1)
        reader = manager.subscribe(1, after="0")
        manager.publish(1, {"shared": shared, "flat": False})
        manager.publish(1, {"flat": "message", "number": 1})
        reader.put_nowait({"shared": shared})
        for refused in (
            lambda: manager.publish(1, {"a": b""}),
            lambda: manager.open_run(1),
            lambda: manager.subscribe(2, must_exist=True),
            lambda: manager.subscribe(b"1"),  # type: ignore[arg-type]
        ):
            with pytest.raises((TypeError, RunActiveError, UnknownRunError)):
                refused()
        repr(reader), repr(event), hash(event), reader.last_event_id
        drain(reader)
        event.add_callback(int)
        manager.cancel_run(1)
        event.wait(0)
        manager.finish_run(1, {"shared": shared})
        list(reader), manager.terminal_event(1), manager.stats(), manager.retained_runs(), manager.subscribed_runs()

    def growth() -> int:
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(200):
            everything()
        gc.collect()
        return sys.getallocatedblocks() - before

    references = [sys.getrefcount(item) for item in shared]
    wait_until(lambda: growth() < 100)  # caches fill up first
    assert [sys.getrefcount(item) for item in shared] == references


# Memory, measured from outside

RESIDENT = """
import ctypes, gc, json
from genglossary_runs import RunManager

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

def measure(work):
    work(10)
    before = resident()
    kept = work(100)
    print(json.dumps({"kept": len(kept), "grown": resident() - before}))
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures with glibc and /proc")

CLOSED_READERS = {
    "of a run that nobody opened": """
def life(manager, run_id):
    reader = manager.subscribe(run_id)
    publish(manager, run_id)
    reader.close()
    return reader
""",
    "that were put to": """
def life(manager, run_id):
    reader = manager.subscribe(run_id)
    for _ in range(100):
        reader.put_nowait({"text": "x" * 10_000})
    reader.close()
    return reader
""",
}


@linux
@pytest.mark.parametrize("life", CLOSED_READERS.values(), ids=CLOSED_READERS.keys())
def test_closed_readers_that_are_kept_hold_no_messages(life: str) -> None:
    """A hundred, each of which has had a megabyte before it."""
    measured = json.loads(
        run_python(
            RESIDENT
            + life
            + """
manager = RunManager()

def publish(manager, run_id):
    for _ in range(100):
        manager.publish(run_id, {"text": "x" * 10_000})

measure(lambda runs: [life(manager, run_id) for run_id in range(runs)])
"""
        )
    )
    assert measured["kept"] == 100
    assert measured["grown"] < 20_000_000


@linux
def test_memory_after_many_runs_is_what_it_was_after_some() -> None:
    measured = json.loads(
        run_python(
            RESIDENT
            + """
manager = RunManager(retained_runs=10)

def runs(count):
    for run_id in range(100 * count):
        event = manager.open_run(run_id)
        event.add_callback(lambda: event)
        readers = [manager.subscribe(run_id) for _ in range(3)]
        for n in range(5):
            manager.publish(run_id, {"run_id": run_id, "level": "info", "message": "x" * 200})
        readers[0].get()
        manager.finish_run(run_id, {"run_id": run_id, "complete": True})
        assert len(list(readers[1])) == 6
    return []

measure(runs)
"""
        )
    )
    assert measured["grown"] < 1_000_000
