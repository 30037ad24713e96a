"""Event loops at odd moments: the end of the interpreter, a fork, a blocked loop, a wait that steps itself."""

import asyncio
import os
import weakref
from typing import Any

import pytest
from core.support import run_python, wait_until_collected
from genglossary_runs import CancelEvent, RunManager

from .servers import LOOPS


def test_the_interpreter_ends_with_parked_readers() -> None:
    """In a loop of the main thread, in loops of daemon threads, and in threads, while another publishes."""
    run_python("""
import asyncio, threading, uvloop
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)
manager.open_run(2)
parked = threading.Semaphore(0)

async def read():
    asyncio.get_running_loop().call_soon(parked.release)
    await manager.subscribe(2).aget()

def run(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(read())

def publish():
    while True:
        manager.publish(1, {"n": 0})

def follow():
    reader = manager.subscribe(1)
    parked.release()
    for _ in reader:
        pass

def get():
    reader = manager.subscribe(2)
    parked.release()
    reader.get()

async def follow_on_loop():
    async for _ in manager.subscribe(1):
        parked.release()

for target, *args in [
    (run, asyncio.new_event_loop), (run, uvloop.new_event_loop), (get,), (follow,),
    (asyncio.run, follow_on_loop()), (publish,),
]:
    threading.Thread(target=target, args=args, daemon=True).start()
for _ in range(5):
    parked.acquire()

async def main():
    # Kept by a global, so that it is there when the interpreter takes things down.
    global task
    task = asyncio.ensure_future(manager.subscribe(2).aget())
    await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
task._log_destroy_pending = False
""")


def test_the_process_ends_at_once_with_parked_readers() -> None:
    run_python("""
import asyncio, os
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)

async def main():
    task = asyncio.ensure_future(manager.subscribe(1).aget())
    await asyncio.sleep(0)
    os._exit(0)

asyncio.run(main())
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system knows no fork")
def test_parent_and_child_work_on_after_a_fork() -> None:
    output = run_python("""
import asyncio, os
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)

async def read(manager, n):
    reader = manager.subscribe(1)
    task = asyncio.ensure_future(reader.aget())
    await asyncio.sleep(0)
    await asyncio.to_thread(manager.publish, 1, {"n": n})
    return (await task)["n"]

async def main():
    reader = manager.subscribe(1)
    task = asyncio.ensure_future(reader.aget())
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        # A loop runs in this thread, as Python sees it; the child makes one of its own.
        asyncio.events._set_running_loop(None)
        assert reader.closed
        manager.open_run(1)
        for n in range(3):
            assert asyncio.run(read(manager, n)) == n
        print("child", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not task.done()
    manager.publish(1, {"n": 7})
    assert (await task)["n"] == 7
    assert await read(manager, 8) == 8
    print("parent")

asyncio.run(main())
""")
    assert output.split() == ["child", "parent"]


BLOCKING = """
import asyncio, logging, queue
from genglossary_runs import RunManager

records = []
class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)
logging.getLogger().addHandler(Handler())

manager = RunManager()
manager.open_run(1)
reader = manager.subscribe(1)

def look():
    try:
        reader.get(timeout=0.001)
    except queue.Empty:
        pass

async def stay_clear():
    await asyncio.to_thread(look)
    manager.publish(1, {"n": 0})
    reader.get()
    try:
        reader.get_nowait()
    except queue.Empty:
        pass

async def block():
    look()
    look()

look()
asyncio.run(stay_clear())
assert not records, "no loop was blocked"
asyncio.run(block())
asyncio.run(block())
for record in records:
    print(record.name, record.levelname, record.getMessage())
"""


def test_a_blocking_get_on_a_loops_thread_is_warned_of_once() -> None:
    output = run_python(BLOCKING)
    (line,) = output.splitlines()
    assert line.startswith("genglossary_runs WARNING ")
    assert "aget()" in line
    assert "run_stream" in line


@pytest.mark.parametrize("loop", LOOPS)
def test_a_turn_that_is_left_in_its_midst_does_not_freeze_the_loop(loop: str) -> None:
    """`SystemExit` leaves a turn whose other callbacks stay queued; the loop's clean-up looks at the bell again."""
    run_python(f"""
import asyncio, sys, uvloop
from genglossary_runs import RunManager

manager = RunManager()
manager.open_run(1)

async def read():
    async for _ in manager.subscribe(1):
        pass

async def main():
    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()

    def leave():
        manager.publish(1, {{}})
        loop.call_soon(sys.exit, 3)

    loop.call_soon(leave)
    await reader

factory = {{"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}}["{loop}"]
try:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
except SystemExit as left:
    assert left.code == 3
else:
    raise AssertionError("it was not left")
""")


def test_what_a_wait_drops_may_step_it_again(manager: RunManager) -> None:
    """A finalizer of the future that a wait lets go of finds no lock held."""

    async def main() -> None:
        steps = manager.subscribe(1).aget().__await__()
        first = next(steps)
        stepped: list[Any] = []
        watch = weakref.ref(first, lambda _: stepped.append(next(steps)))
        del first
        next(steps)
        assert watch() is None
        assert len(stepped) == 1

    asyncio.run(main())


def test_a_task_that_awaits_an_event_which_cancels_it_is_collected() -> None:
    async def main() -> "weakref.ref[asyncio.Task[None]]":
        event = CancelEvent()

        async def job() -> None:
            task = asyncio.current_task()
            assert task is not None
            event.add_callback(task.cancel)
            await event

        task = asyncio.create_task(job())
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return weakref.ref(task)

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(main())
    loop.close()
    del loop
    wait_until_collected(lambda: task() is None)
