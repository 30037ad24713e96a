"""Waiting: it lets other threads run, and ends when it should."""

import ctypes
import queue
import threading
import time

import pytest
from genglossary_runs import CancelEvent, RunManager, Subscription

from .support import DEADLINE, Background, run_python, wait_until_collected


def test_every_reader_that_waits_is_woken(manager: RunManager) -> None:
    threads = [Background(manager.subscribe(1).get) for _ in range(20)]
    for thread in threads:
        thread.wait_until_parked()
    manager.publish(1, {"n": 1})
    assert [thread.result() for thread in threads] == [{"n": 1}] * 20


def test_the_end_of_the_run_wakes(manager: RunManager) -> None:
    threads = [Background(list, manager.subscribe(1)) for _ in range(5)]
    for thread in threads:
        thread.wait_until_parked()
    manager.finish_run(1, {"n": 1})
    assert [thread.result() for thread in threads] == [[{"n": 1}]] * 5


def test_put_wakes_the_reader_it_is_for(manager: RunManager, reader: Subscription) -> None:
    other = Background(manager.subscribe(1).get)
    thread = Background(reader.get)
    thread.wait_until_parked()
    other.wait_until_parked()
    reader.put_nowait({"n": 1})
    assert thread.result() == {"n": 1}
    other.wait_until_parked()
    assert other.is_alive()
    manager.publish(1, {"n": 2})
    assert other.result() == {"n": 2}


def test_close_ends_a_blocked_get(manager: RunManager, reader: Subscription) -> None:
    threads = [Background(reader.get) for _ in range(3)]
    for thread in threads:
        thread.wait_until_parked()
    reader.close()
    for thread in threads:
        with pytest.raises(queue.Empty):
            thread.result()


def test_close_ends_a_get_with_a_timeout(reader: Subscription) -> None:
    thread = Background(reader.get, True, 10 * DEADLINE)
    thread.wait_until_parked()
    reader.close()
    with pytest.raises(queue.Empty):
        thread.result()


def test_close_ends_an_iteration(manager: RunManager, reader: Subscription) -> None:
    manager.publish(1, {"n": 1})
    thread = Background(list, reader)
    thread.wait_until_parked()
    reader.close()
    assert thread.result() == [{"n": 1}]


def test_closing_and_publishing_race(manager: RunManager) -> None:
    """However they fall, the reader ends."""
    for _ in range(200):
        reader = manager.subscribe(1)
        thread = Background(list, reader)
        manager.publish(1, {"n": 1})
        reader.close()
        assert thread.result() in ([], [{"n": 1}])


def test_no_wake_up_is_lost(manager: RunManager) -> None:
    """Two threads hand a ball to and fro: one lost wake-up would end the game."""
    manager.open_run(2)
    here, there = manager.subscribe(1), manager.subscribe(2)

    def throw_back() -> None:
        for _ in range(2000):
            manager.publish(1, there.get(timeout=DEADLINE))

    thread = Background(throw_back)
    for n in range(2000):
        manager.publish(2, {"n": n})
        assert here.get(timeout=DEADLINE) == {"n": n}
    thread.result()


@pytest.mark.parametrize("timeout", [None, 0.3])
def test_waiting_lets_other_threads_run(reader: Subscription, timeout: float | None) -> None:
    turns = 0
    enough = threading.Event()

    def count() -> None:
        nonlocal turns
        while not enough.is_set():
            turns += 1
            if timeout is None and turns == 1000:
                reader.close()

    thread = Background(count)
    with pytest.raises(queue.Empty):
        reader.get(timeout=timeout)
    enough.set()
    thread.result()
    assert turns >= 100


@pytest.mark.parametrize("timeout", [1e10, 1e300, float("inf")])
def test_a_timeout_longer_than_the_clock_reaches_has_no_end(
    manager: RunManager, reader: Subscription, timeout: float
) -> None:
    thread = Background(reader.get, True, timeout)
    thread.wait_until_parked()
    manager.publish(1, {"n": 1})
    assert thread.result() == {"n": 1}
    event = CancelEvent()
    thread = Background(event.wait, timeout)
    thread.wait_until_parked()
    event.set()
    assert thread.result() is True


class Killed(BaseException):
    """What is raised in a thread that is killed."""


def test_a_thread_that_is_killed_leaves_nothing(manager: RunManager) -> None:
    def read(reader: Subscription) -> None:
        while True:
            try:
                reader.get(timeout=0.01)
            except queue.Empty:
                pass

    threads = [Background(read, manager.subscribe(1)) for _ in range(10)]
    for thread in threads:
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Killed))
    for thread in threads:
        with pytest.raises(Killed):
            thread.result()
    del thread, threads
    wait_until_collected(lambda: manager.stats()["subscribers"] == 0)


# Signals, which only the main thread of an interpreter handles


INTERRUPT = """
import os, signal, threading, time
from genglossary_runs import RunManager

manager = RunManager()
event = manager.open_run(1)
reader = manager.subscribe(1)

for _ in range(9):
    sent = []

    def interrupt():
        time.sleep(0.005)  # let the main thread begin to wait; an early signal ends the wait all the same
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    try:
        threading.Thread(target=interrupt).start()
        while True:
            {wait}
    except KeyboardInterrupt:
        print(time.monotonic() - sent[0])

manager.publish(1, {{"n": 1}})
assert reader.get() == {{"n": 1}}
assert manager.cancel_run(1) and event.wait()
"""


@pytest.mark.parametrize("wait", ["reader.get()", "reader.get(timeout=60)", "next(reader)", "event.wait()"])
def test_ctrl_c_is_noticed_within_100_ms(wait: str) -> None:
    """One of nine must be, since the machine may be busy. What was published is not lost."""
    delays = [float(line) for line in run_python(INTERRUPT.format(wait=wait)).split()]
    assert len(delays) == 9
    assert min(delays) < 0.1


def test_a_signal_handler_may_publish_what_is_waited_for() -> None:
    run_python("""
import signal
from genglossary_runs import RunManager

manager = RunManager()
event = manager.open_run(1)
reader = manager.subscribe(1)
signal.signal(signal.SIGALRM, lambda *_: manager.publish(1, {"n": 1}))
signal.setitimer(signal.ITIMER_REAL, 0.05)
assert reader.get() == {"n": 1}
signal.signal(signal.SIGALRM, lambda *_: manager.cancel_run(1))
signal.setitimer(signal.ITIMER_REAL, 0.05)
assert event.wait() is True
signal.signal(signal.SIGALRM, lambda *_: reader.close())
signal.setitimer(signal.ITIMER_REAL, 0.05)
assert list(reader) == []
""")


def test_a_signal_does_not_shorten_a_wait() -> None:
    run_python("""
import queue, signal, time
from genglossary_runs import CancelEvent, RunManager

seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
reader = RunManager().subscribe(1)
begun = time.monotonic()
try:
    reader.get(timeout=0.3)
except queue.Empty:
    pass
assert time.monotonic() - begun >= 0.299
assert CancelEvent().wait(0.3) is False
assert time.monotonic() - begun >= 0.599
assert len(seen) > 3
signal.setitimer(signal.ITIMER_REAL, 0)
""")


def test_a_wait_that_is_over_is_over_in_time(reader: Subscription) -> None:
    """The main thread waits in slices; the last is a short one. One of nine must be, since the machine may be busy."""
    delays = []
    for _ in range(9):
        begun = time.monotonic()
        with pytest.raises(queue.Empty):
            reader.get(timeout=0.06)
        delays.append(time.monotonic() - begun)
    assert min(delays) < 0.095


def test_a_blocking_get_does_not_import_asyncio() -> None:
    """It would take longer than the wait, and leave a half-made module behind if Ctrl-C came meanwhile."""
    run_python("""
import queue, sys
from genglossary_runs import RunManager

try:
    RunManager().subscribe(1).get(timeout=0.001)
except queue.Empty:
    pass
assert "asyncio" not in sys.modules
""")
