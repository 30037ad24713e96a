"""Moments that no program plans for, each in an interpreter of its own."""

import pytest

from .support import run_python

# The end of the interpreter

READERS = """
import os, queue, sys, threading, time
from genglossary_runs import RunManager

manager = RunManager()
event = manager.open_run(1)

def until_the_end(read):
    while True:
        try:
            read()
        except (queue.Empty, StopIteration):
            pass

def start(*reads):
    for read in reads:
        for _ in range(4):
            threading.Thread(target=until_the_end, args=[read], daemon=True).start()

readers = [manager.subscribe(1) for _ in range(3)]
start(readers[0].get, readers[1].__next__, event.wait)
"""
"""Threads that wait without end."""

IMPATIENT = """
start(lambda: readers[2].get(timeout=0.001), lambda: event.wait(0.001))
"""
"""Threads that wait again and again, so that some are on their way back to Python at any time."""

REPEATS = 12


@pytest.mark.parametrize("threads", ["", IMPATIENT], ids=["parked", "impatient"])
@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit()",
        "import atexit; atexit.register(lambda: manager.publish(1, {}))",
        "import atexit; atexit.register(lambda: (manager.cancel_run(1), manager.finish_run(1, {})))",
        "for reader in readers: reader.close()",
    ],
    ids=["end", "exit", "publish at exit", "finish at exit", "close at exit"],
)
def test_the_interpreter_ends_while_threads_wait(threads: str, end: str) -> None:
    for _ in range(REPEATS):
        assert run_python(READERS + threads + "time.sleep(0.01)\nprint('ended')\n" + end) == "ended\n"


def test_the_process_ends_at_once_while_threads_wait() -> None:
    for _ in range(REPEATS):
        assert run_python(READERS + IMPATIENT + "print('ended', flush=True)\nos._exit(0)") == "ended\n"


def test_a_clean_up_of_the_application_may_wait_for_a_thread_that_waits() -> None:
    """It was registered before the import, so it is called after all that the import could register."""
    run_python("""
import atexit, threading

@atexit.register
def stop():
    cancel.set()
    worker.join(30)
    assert not worker.is_alive()

from genglossary_runs import CancelEvent

cancel = CancelEvent()
worker = threading.Thread(target=cancel.wait, daemon=True)
worker.start()
""")


def test_the_module_may_be_imported_anew() -> None:
    """As happens to one that is first imported where `sys.modules` is patched."""
    run_python("""
import sys, genglossary_runs._core
del sys.modules["genglossary_runs._core"]
import genglossary_runs._core
""")


def test_another_thread_may_be_importing_asyncio() -> None:
    run_python("""
import queue, sys, types
from genglossary_runs import RunManager

sys.modules["asyncio.events"] = types.ModuleType("asyncio.events")
try:
    RunManager().subscribe(1).get(timeout=0.001)
except queue.Empty:
    pass
""")


def test_what_lives_until_the_end_may_still_be_used() -> None:
    """A finalizer that publishes while the interpreter takes its modules apart."""
    run_python("""
import sys
from genglossary_runs import RunManager

class Last:
    def __init__(self):
        self.manager = RunManager()
        self.event = self.manager.open_run(1)
        self.event.add_callback(self.called)
        self.reader = self.manager.subscribe(1)
        self.called_back = False

    def called(self):
        self.called_back = True

    def __del__(self):
        self.manager.publish(1, {"n": 1})
        self.manager.cancel_run(1)
        self.manager.finish_run(1, {"n": 2})
        assert self.called_back and self.reader.get() == {"n": 1}

sys.modules["last"] = Last()
""")


# Forks

FORK = """
import signal

def work(run_id):
    # All that a manager and its readers do, in this thread and with others.
    event = manager.open_run(run_id)
    reader, other = manager.subscribe(run_id), manager.subscribe(run_id)
    read = []
    threads = [threading.Thread(target=lambda: read.extend(other)), threading.Thread(target=event.wait)]
    for thread in threads:
        thread.start()
    for n in range(20):
        manager.publish(run_id, {"n": n})
        assert reader.get(timeout=30) == {"n": n}
    assert manager.cancel_run(run_id) and event.is_set()
    assert manager.finish_run(run_id, {"n": 20})
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert read == [{"n": n} for n in range(21)]
    assert list(reader) == [{"n": 20}]
    assert manager.terminal_event(run_id) == {"n": 20}

def child():
    assert manager.stats() == RunManager().stats()
    assert manager.active_runs() == manager.subscribed_runs() == manager.retained_runs() == []
    assert not manager.cancel_run(1) and manager.cancel_event(1) is None
    for reader in readers:
        assert reader.closed and reader.ended and reader.empty() and reader.run_id == 1
        assert list(reader) == []
        reader.put_nowait({})
        reader.close()
    assert not event.is_set() and not event.wait(0)
    event.add_callback(int)
    event.set()
    assert event.is_set() and event.wait()
    work(1)

def fork_often(times):
    for run_id in range(times):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                child()
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        work(2 + run_id)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"the child ended with status {status}"
"""


def test_child_and_parent_both_work_on_after_a_fork() -> None:
    run_python(READERS + FORK + "fork_often(10)")


def test_a_child_of_a_process_with_waiting_threads_exits_as_any_other() -> None:
    """Not by `os._exit`: what is registered at exit is called in the child, too."""
    script = """
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        sys.exit()
    wait_until_ended(pid)
os._exit(0)
"""
    ended = """
def wait_until_ended(pid):
    until = time.monotonic() + 30
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(pid, 9)
            raise TimeoutError("the child does not exit")
        time.sleep(0.001)
"""
    run_python(READERS + IMPATIENT + ended + script)


def test_a_fork_may_come_at_any_time() -> None:
    """While many threads begin and end waiting; locks that they hold at that moment stay locked in the child."""
    run_python(
        READERS
        + IMPATIENT
        + """
def publish():
    while True:
        manager.publish(1, {})
        time.sleep(0.0002)

threading.Thread(target=publish, daemon=True).start()
"""
        + FORK
        + "fork_often(100)\nos._exit(0)"
    )


def test_threads_that_fork_at_the_same_time_do_not_wait_for_each_other_for_ever() -> None:
    """Whose turn it is needs the GIL for the hooks of others, such as logging's, before it lets the next one fork."""
    run_python("""
import os, sys, threading, time
from genglossary_runs import RunManager

# Hooks in Python, at which the GIL changes hands.
os.register_at_fork(before=lambda: time.sleep(0), after_in_parent=lambda: time.sleep(0))
sys.setswitchinterval(0.0001)
manager = RunManager()
manager.open_run(1)
forks = [0]

def fork_often():
    for _ in range(60):
        manager.publish(1, {})
        pid = os.fork()
        if pid == 0:
            os._exit(0 if not manager.active_runs() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        forks[0] += 1

threads = [threading.Thread(target=fork_often, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(50)
assert forks[0] == 240, f"only {forks[0]} forks"
os._exit(0)
""")


def test_a_child_of_a_child() -> None:
    run_python(
        READERS
        + FORK
        + """
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    work(1)
    manager.open_run(5)
    reader = manager.subscribe(5)
    if os.fork() == 0:
        assert manager.active_runs() == [] and reader.closed
        work(5)
        os._exit(0)
    assert manager.active_runs() == [5] and not reader.closed
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert os.waitpid(pid, 0)[1] == 0
assert manager.active_runs() == [1]
"""
    )


# Callbacks


def test_callbacks_that_raise_cancel_again_and_finish_the_run() -> None:
    run_python("""
import logging, sys
from genglossary_runs import RunManager

logging.getLogger("genglossary_runs").addHandler(logging.NullHandler())
manager = RunManager()
event = manager.open_run(1)
reader = manager.subscribe(1)
calls = []
for callback in (
    lambda: 1 / 0,
    sys.exit,
    event.set,
    lambda: calls.append(manager.cancel_run(1)),
    lambda: calls.append(manager.finish_run(1, {"n": 1})),
    lambda: calls.append(manager.finish_run(1, {"n": 2})),
    lambda: event.add_callback(lambda: calls.append("added")),
    lambda: calls.append(manager.open_run(1).is_set()),
    reader.close,
):
    event.add_callback(callback)
late = manager.subscribe(1)
assert manager.cancel_run(1)
assert calls == [True, True, False, "added", False], calls
assert list(late) == [{"n": 1}]
assert list(reader) == []
assert manager.active_runs() == [1]
""")


def test_a_callback_of_each_life_cancels_the_next() -> None:
    """A chain of runs, each cancelled within the callback of the one before."""
    run_python("""
import sys
from genglossary_runs import RunManager

sys.setrecursionlimit(10_000)
# CPython 3.12 has a limit of its own for calls that pass through C, which nothing can raise: at first 1,500, of which
# each run takes two.
runs = 500 if sys.version_info[:2] == (3, 12) else 1000
manager = RunManager()
called = []
for run_id in range(runs):
    def callback(run_id=run_id):
        called.append(run_id)
        manager.cancel_run(run_id + 1)
    manager.open_run(run_id).add_callback(callback)
manager.cancel_run(0)
assert called == list(range(runs))
""")


def test_a_new_loop_at_the_address_of_one_that_has_just_gone() -> None:
    """While somebody still forgets a wait of the old one: here a callback that is let go of changes the loops."""
    run_python("""
import asyncio, gc
from genglossary_runs import RunManager

class Loop(asyncio.SelectorEventLoop):
    __slots__ = tuple(f"a_size_that_nothing_else_has_{n}" for n in range(45))

class Last:
    def __call__(self, future):
        pass

    def __del__(self):
        global loop
        address = id(loop)
        loop.close()
        del loop
        gc.collect()
        loops = [Loop()]
        while id(loops[-1]) != address and len(loops) < 100:
            loops.append(Loop())
        reader = manager.subscribe(1)
        loops[-1].call_later(0.01, manager.publish, 1, {"n": 1})
        read.append(loops[-1].run_until_complete(next_of(reader)))
        for loop in loops:
            loop.close()

async def wait():
    # The loop's wait alone has the future, and so its callback.
    awaitable.send(None).add_done_callback(Last())

async def next_of(reader):
    return await reader.aget()

manager = RunManager()
manager.open_run(1)
awaitable = manager.subscribe(1).aget()
read = []
loop = Loop()
loop.run_until_complete(wait())
del awaitable
assert read == [{"n": 1}]
""")


# The garbage collector


def test_garbage_is_collected_at_any_allocation() -> None:
    run_python(
        READERS
        + FORK
        + """
import gc

class Node:
    pass

gc.set_threshold(1)
for run_id in range(2, 12):
    node = Node()
    node.me, node.manager = node, manager
    node.event = manager.open_run(run_id)
    node.reader = manager.subscribe(run_id)
    node.event.add_callback(lambda node=node: node.manager.publish(node.reader.run_id, {"n": [1, {}]}))
    manager.cancel_run(run_id)
    assert node.reader.get() == {"n": [1, {}]}
    manager.finish_run(run_id, {"n": ()})
    del node
    work(100 + run_id)
stats = manager.stats()
assert (stats["active_runs"], stats["subscribers"]) == (1, 3), stats
"""
    )


# Much


def test_ten_thousand_readers_of_one_run() -> None:
    run_python("""
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)
readers = [manager.subscribe(1) for _ in range(10_000)]
for n in range(10):
    manager.publish(1, {"n": n})
manager.finish_run(1, {"n": 10})
assert all([event["n"] for event in reader] == list(range(11)) for reader in readers)
""")


def test_a_thousand_threads_that_wait() -> None:
    run_python("""
import threading
from genglossary_runs import RunManager

threading.stack_size(256 << 10)
manager = RunManager()
event = manager.open_run(1)
read = []
reads = [lambda: read.append(manager.subscribe(1, after="0").get()), lambda: read.append(event.wait())]
threads = [threading.Thread(target=reads[n % 2]) for n in range(1000)]
for thread in threads:
    thread.start()
manager.publish(1, {})
manager.cancel_run(1)
for thread in threads:
    thread.join(30)
assert read.count({}) == read.count(True) == 500
""")


def test_a_message_of_100_mb() -> None:
    run_python("""
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)
reader = manager.subscribe(1)
text = "\\u3042" * 33_000_000 + "\\n"
manager.publish(1, {"n": 1})
manager.publish(1, {"text": text})
assert reader.get()["gap"] == {"from": 1, "to": 1, "missed": 1}
assert reader.get() == {"text": text}
del text
manager.publish(1, {"n": 3})
stats = manager.stats()
assert (stats["events_held"], stats["bytes_held"]) == (1, 7), stats
manager.finish_run(1, {})
assert reader.get() == {"n": 3}
""")


def test_a_million_tiny_messages() -> None:
    run_python("""
import threading
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)
reader, late = manager.subscribe(1), manager.subscribe(1)
accounted = [0]

def read():
    for event in reader:
        accounted[0] += event["gap"]["missed"] if "gap" in event else 1

thread = threading.Thread(target=read)
thread.start()
for _ in range(999_999):
    manager.publish(1, {})
assert manager.finish_run(1, {})
thread.join(30)
assert accounted == [1_000_000]
assert late.get()["gap"] == {"from": 1, "to": 999_000, "missed": 999_000}
assert len(list(late)) == 1000
assert manager.stats()["events_held"] == 1000
""")
