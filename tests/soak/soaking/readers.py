"""Runs under load, with readers of every kind in threads and in event loops."""

import asyncio
import queue
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from genglossary_runs import CancelEvent, RunManager, Subscription, UnknownRunError

from soaking.account import DEADLINE, Account, WrongError
from soaking.readings import wait_until
from soaking.wire import Frames

RUNS = 6
EVENTS = 200
"""Events of a run that is not cancelled, its terminal event not counted."""
FORGOTTEN = 100
"""Subscriptions a wave that nobody reads or closes, half of them of runs that never begin."""

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop]
with suppress(ImportError):  # not every interpreter has it
    import uvloop

    LOOPS.append(uvloop.new_event_loop)

Reader = Callable[[RunManager, Subscription, random.Random], Account]
AsyncReader = Callable[[RunManager, Subscription, random.Random], Awaitable[Account]]


def wave(manager: RunManager, run_ids: Iterator[int], seed: str) -> list[Account]:
    """Execute some runs at once, each with a reader of every kind, and wait for all of them."""
    chance = random.Random(seed)
    runs = [next(run_ids) for _ in range(RUNS)]
    readers = [(run_id, kind) for run_id in runs for kind in READERS]
    loop_readers = [[(run_id, kind) for run_id in runs for kind in ASYNC_READERS] for _ in LOOPS]
    chance.shuffle(readers)
    threads = len(readers) + len(LOOPS) + 2 * RUNS
    with ThreadPoolExecutor(threads) as pool:
        # Half of the readers are there before their run is; the others come while it goes on, or after its end.
        futures: list[Future[list[Account]]] = []
        for index, (run_id, kind) in enumerate(readers):
            reader = manager.subscribe(run_id) if index % 2 else None
            futures.append(pool.submit(_read, manager, run_id, kind, reader, seed))
            del reader
        for make_loop, kinds in zip(LOOPS, loop_readers, strict=True):
            futures.append(pool.submit(_read_in_loop, manager, make_loop, kinds, seed))
        forgotten = [manager.subscribe(chance.choice(runs) if n % 2 else next(run_ids)) for n in range(FORGOTTEN)]
        publishers = [pool.submit(_execute, manager, pool, run_id, f"{seed} {run_id}") for run_id in runs]
        for run_id in chance.sample(runs, RUNS // 3):
            wait_until(partial(_has_begun, manager, run_id), "the start of a run")
            manager.cancel_run(run_id)
        for publisher in publishers:
            publisher.result(DEADLINE)
        accounts = [account for future in futures for account in future.result(DEADLINE)]
    forgotten.clear()
    return accounts


def _has_begun(manager: RunManager, run_id: int) -> bool:
    return manager.is_active(run_id) or run_id in manager.retained_runs()


def _execute(manager: RunManager, pool: ThreadPoolExecutor, run_id: int, seed: str) -> None:
    """One run: it publishes in bursts, stops when it is cancelled, and is finished by two threads at once."""
    chance = random.Random(seed)
    cancel = manager.open_run(run_id)
    called: list[int] = []
    cancel.add_callback(lambda: called.append(run_id))
    n = 0
    while n < EVENTS and not cancel.is_set():
        n += 1
        event_id = manager.publish(run_id, {"run_id": run_id, "level": "info", "message": "用語 " * n, "n": n})
        if event_id is None or int(event_id.rpartition("-")[2]) != n:
            raise WrongError(f"run {run_id}: event {n} was given the id {event_id}")
        if n % chance.randrange(1, 40) == 0:
            cancel.wait(0.002)
    if cancel.is_set():
        # The thread that set it may not have reached the callbacks yet.
        wait_until(lambda: called == [run_id], "the callback of a cancel")
    terminal = {"run_id": run_id, "complete": True, "n": n + 1}
    finishers = [pool.submit(manager.finish_run, run_id, terminal) for _ in range(2)]
    ended = sum(finisher.result(DEADLINE) for finisher in finishers)
    if ended != 1:
        raise WrongError(f"run {run_id} was ended {ended} times")
    if manager.publish(run_id, {"n": 0}) is not None:
        raise WrongError(f"run {run_id} took an event after its end")


def _subscribe(manager: RunManager, run_id: int) -> Subscription | None:
    """A reader of a run that may be unknown as yet, or known no more."""
    with suppress(UnknownRunError):
        return manager.subscribe(run_id, must_exist=True)
    return None


def _account(reader: Subscription, kind: Callable[..., object]) -> Account:
    return Account(f"{kind.__name__} of run {reader.run_id}", reader.last_event_id)


# Readers in threads


def _read(manager: RunManager, run_id: int, kind: Reader, reader: Subscription | None, seed: str) -> list[Account]:
    if reader is None:
        reader = _subscribe(manager, run_id)
    return [] if reader is None else [kind(manager, reader, random.Random(f"{seed} {run_id}"))]


def get_all(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Get each event, and now and then a message of its own."""
    account = _account(reader, get_all)
    put, got = 0, 0
    while not reader.ended:
        if chance.randrange(10) == 0:
            reader.put_nowait({"own": put})
            put += 1
        message = reader.get(timeout=DEADLINE)
        if "own" not in message:
            account.note(message)
        elif message["own"] != got:
            raise WrongError(f"own message {got} of run {reader.run_id} came as {message}")
        else:
            got += 1
    if put != got:
        raise WrongError(f"of {put} own messages of run {reader.run_id} {got} came")
    account.must_have_ended()
    return account


def iterate(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Iterate to the end."""
    account = _account(reader, iterate)
    for message in reader:
        account.note(message)
    account.must_have_ended()
    return account


def lag(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Read so slowly that events are missed."""
    account = _account(reader, lag)
    pause = threading.Event()
    for message in reader:
        account.note(message)
        pause.wait(0.002)
    account.must_have_ended()
    return account


def leave(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Read some and vanish without a word."""
    account = _account(reader, leave)
    stop = chance.randrange(EVENTS)
    for message in reader:
        account.note(message)
        if account.delivered >= stop:
            break
    return account


def be_closed(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Read until another thread closes the subscription."""
    account = _account(reader, be_closed)
    close = reader.close if chance.randrange(2) else partial(manager.unsubscribe, reader)
    closer = threading.Timer(chance.uniform(0, 0.05), close)
    closer.start()
    with suppress(queue.Empty):
        while True:
            account.note(reader.get(timeout=DEADLINE))
    if not reader.ended:
        raise WrongError(f"a reader of run {reader.run_id} that nobody closed was told nothing for {DEADLINE:.0f} s")
    closer.join()
    return account


def resume(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Read in several goes, each with a subscription of its own."""
    account = _account(reader, resume)
    while True:
        for message in reader:
            account.note(message)
            if chance.randrange(30) == 0:
                break
        if account.ended:
            return account
        try:
            reader = manager.subscribe(reader.run_id, after=reader.last_event_id, must_exist=True)
        except UnknownRunError:
            return account


READERS: tuple[Reader, ...] = (get_all, iterate, lag, leave, be_closed, resume)


# Readers in event loops


def _read_in_loop(
    manager: RunManager,
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    readers: list[tuple[int, AsyncReader]],
    seed: str,
) -> list[Account]:
    async def read_one(run_id: int, kind: AsyncReader) -> Account | None:
        chance = random.Random(f"{seed} {run_id}")
        if chance.randrange(2):
            await asyncio.sleep(chance.uniform(0, 0.05))
        reader = _subscribe(manager, run_id)
        return None if reader is None else await kind(manager, reader, chance)

    async def read_all() -> list[Account]:
        async with asyncio.timeout(DEADLINE):
            accounts = await asyncio.gather(*(read_one(run_id, kind) for run_id, kind in readers))
        return [account for account in accounts if account is not None]

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(read_all())


async def follow(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Iterate to the end."""
    account = _account(reader, follow)
    async for message in reader:
        account.note(message)
    account.must_have_ended()
    return account


async def follow_slowly(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Read so slowly that events are missed."""
    account = _account(reader, follow_slowly)
    async for message in reader:
        account.note(message)
        await asyncio.sleep(0.002)
    account.must_have_ended()
    return account


async def be_cancelled_often(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Have the await cancelled again and again: nothing is lost by that."""
    account = _account(reader, be_cancelled_often)
    while not reader.ended:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.004)):
                account.note(await reader.aget())
    account.must_have_ended()
    return account


async def read_frames(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Read server-sent events, with heartbeats between them."""
    account = _account(reader, read_frames)
    frames = Frames()
    async for chunk in reader.frames(heartbeat=0.005):
        for message, event_id in frames.feed(chunk):
            account.note(message, event_id)
    account.must_have_ended()
    return account


async def disappear(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Be cancelled for good, as when a client disconnects."""
    account = _account(reader, disappear)

    async def read() -> None:
        async for message in reader:
            account.note(message)

    task = asyncio.create_task(read())
    await asyncio.wait({task}, timeout=chance.uniform(0, 0.1))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return account


async def close_meanwhile(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Be closed while waiting."""
    account = _account(reader, close_meanwhile)
    closer = asyncio.get_running_loop().call_later(chance.uniform(0, 0.1), reader.close)
    async for message in reader:
        account.note(message)
    closer.cancel()
    return account


async def await_cancel(manager: RunManager, reader: Subscription, chance: random.Random) -> Account:
    """Follow the run, with a task beside it that waits for the run's cancel."""

    async def wait(cancel: CancelEvent) -> None:
        if not await cancel:
            raise WrongError(f"the cancel event of run {reader.run_id} is awaited and not set")

    cancel = manager.cancel_event(reader.run_id)
    waiter = asyncio.create_task(wait(cancel)) if cancel is not None else None
    account = await follow(manager, reader, chance)
    if waiter is not None and cancel is not None:
        if cancel.is_set():
            await waiter
        waiter.cancel()
        with suppress(asyncio.CancelledError):
            await waiter
    return account


ASYNC_READERS: tuple[AsyncReader, ...] = (
    follow,
    follow_slowly,
    be_cancelled_often,
    read_frames,
    disappear,
    close_meanwhile,
    await_cancel,
)
