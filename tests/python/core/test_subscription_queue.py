"""A subscription is the reading side of a `queue.Queue`: where they mean the same, both take the same tests."""

import gc
import itertools
import queue
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from genglossary_runs import RunManager, Subscription

from .support import DEADLINE, Background, drain, numbers, wait_until

LIMIT = 5


@dataclass
class Source:
    """Something to read from, and how messages get there."""

    reader: Any
    put: Callable[[dict[str, Any]], object]


def a_queue() -> Source:
    fifo: queue.Queue[dict[str, Any]] = queue.Queue(LIMIT)
    return Source(fifo, fifo.put_nowait)


def a_reader_of_what_is_published() -> Source:
    manager = RunManager(history=LIMIT)
    manager.open_run(1)
    return Source(manager.subscribe(1), lambda event: manager.publish(1, event))


def a_reader_of_what_is_put() -> Source:
    manager = RunManager(history=LIMIT)
    manager.open_run(1)
    reader = manager.subscribe(1)
    return Source(reader, reader.put_nowait)


@pytest.fixture(
    params=[a_queue, a_reader_of_what_is_published, a_reader_of_what_is_put], ids=lambda make: make.__name__
)
def source(request: pytest.FixtureRequest) -> Source:
    made: Source = request.param()
    return made


# Side by side with queue.Queue


def test_first_in_first_out(source: Source) -> None:
    for n in range(LIMIT):
        source.put({"n": n})
    read = [
        source.reader.get(),
        source.reader.get(False),
        source.reader.get(True, 1),
        source.reader.get(block=True, timeout=0.5),
        source.reader.get_nowait(),
    ]
    assert numbers(read) == list(range(LIMIT))


@pytest.mark.parametrize(
    "arguments",
    [{"block": False}, {"block": False, "timeout": 60}, {"block": False, "timeout": -1}, {"timeout": 0}],
)
def test_nothing_to_get(source: Source, arguments: dict[str, Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(queue.Empty):
        source.reader.get(**arguments)
    with pytest.raises(queue.Empty):
        source.reader.get_nowait()
    assert time.monotonic() - begun < 10


def test_a_timeout_is_waited_for(source: Source) -> None:
    begun = time.monotonic()
    with pytest.raises(queue.Empty):
        source.reader.get(timeout=0.1)
    assert time.monotonic() - begun >= 0.099


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_negative_timeout_is_refused_whatever_is_there(source: Source, waiting: int) -> None:
    for n in range(waiting):
        source.put({"n": n})
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        source.reader.get(timeout=-1)
    assert source.reader.qsize() == waiting


def test_sizes(source: Source) -> None:
    for size in range(LIMIT):
        assert source.reader.qsize() == size
        assert source.reader.empty() is (size == 0)
        assert source.reader.full() is False
        source.put({})
    assert source.reader.full() is True
    for size in reversed(range(LIMIT)):
        source.reader.get_nowait()
        assert source.reader.qsize() == size
        assert source.reader.empty() is (size == 0)
        assert source.reader.full() is False


def test_a_blocked_get_receives_what_comes(source: Source) -> None:
    thread = Background(source.reader.get)
    thread.wait_until_parked()
    source.put({"n": 1})
    assert thread.result() == {"n": 1}


def test_several_that_wait_share_what_comes(source: Source) -> None:
    threads = [Background(source.reader.get) for _ in range(4)]
    for thread in threads:
        thread.wait_until_parked()
    for n in range(4):
        source.put({"n": n})
    assert sorted(numbers([thread.result() for thread in threads])) == [0, 1, 2, 3]
    assert source.reader.empty()


def test_many_consumers_get_each_message_once(source: Source) -> None:
    total = 400

    def consume() -> list[dict[str, Any]]:
        read = []
        while (event := source.reader.get(timeout=DEADLINE)) != {"n": -1}:
            read.append(event)
        return read

    consumers = [Background(consume) for _ in range(4)]
    for n in itertools.chain(range(total), [-1] * len(consumers)):
        wait_until(lambda: not source.reader.full())
        source.put({"n": n})
    read = [consumer.result() for consumer in consumers]
    assert sorted(n for events in read for n in numbers(events)) == list(range(total))
    assert all(numbers(events) == sorted(numbers(events)) for events in read)


@pytest.mark.parametrize("make", [a_queue, a_reader_of_what_is_put])
def test_putting_past_the_limit(make: Callable[[], Source]) -> None:
    source = make()
    for n in range(LIMIT):
        source.put({"n": n})
    with pytest.raises(queue.Full):
        source.put({"n": -1})
    assert source.reader.get_nowait() == {"n": 0}
    source.put({"n": LIMIT})
    assert numbers([source.reader.get_nowait() for _ in range(LIMIT)]) == list(range(1, LIMIT + 1))


# A subscription's own


def test_what_is_put_is_for_this_reader_alone(manager: RunManager, reader: Subscription) -> None:
    other = manager.subscribe(1)
    reader.put_nowait({"n": 1})
    assert numbers(drain(reader)) == [1]
    assert other.empty()
    assert manager.stats()["events_published"] == 0


def test_what_is_put_is_read_in_its_place(manager: RunManager, reader: Subscription) -> None:
    reader.put_nowait({"n": 0})
    for n in (1, 2):
        manager.publish(1, {"n": n})
    reader.put_nowait({"n": 3})
    reader.put_nowait({"n": 4})
    manager.finish_run(1, {"n": 5})
    reader.put_nowait({"n": 6})
    assert numbers(drain(reader)) == [0, 1, 2, 3, 4, 5, 6]


def test_what_is_put_in_a_place_that_was_shed_comes_behind_the_gap() -> None:
    manager = RunManager(history=2)
    manager.open_run(1)
    reader = manager.subscribe(1)
    manager.publish(1, {"n": 1})
    reader.put_nowait({"n": -1})
    for n in range(2, 6):
        manager.publish(1, {"n": n})
    gap, *rest = drain(reader)
    assert gap["gap"] == {"from": 1, "to": 3, "missed": 3}
    assert numbers(rest) == [-1, 4, 5]


def test_what_is_published_never_counts_against_what_is_put(manager: RunManager) -> None:
    manager = RunManager(history=LIMIT)
    manager.open_run(1)
    reader = manager.subscribe(1)
    for _ in range(LIMIT):
        manager.publish(1, {"n": 0})
    assert reader.full()
    for _ in range(LIMIT):
        reader.put_nowait({"n": 1})
    with pytest.raises(queue.Full, match="5 messages put to this subscription are unread; read some"):
        reader.put_nowait({"n": 1})
    assert reader.qsize() == 2 * LIMIT
    assert numbers(drain(reader)) == [0] * LIMIT + [1] * LIMIT


def test_not_empty_means_that_get_nowait_succeeds() -> None:
    """While a publisher leaves the reader behind, and finishes."""
    manager = RunManager(history=3)
    manager.open_run(1)
    reader = manager.subscribe(1)

    def publish() -> None:
        for n in range(2000):
            manager.publish(1, {"n": n})
        manager.finish_run(1, {"n": -1})

    thread = Background(publish)
    last: dict[str, Any] = {}
    while last.get("n") != -1:
        wait_until(lambda: not reader.empty())
        assert reader.qsize() > 0
        last = reader.get_nowait()
    thread.result()
    assert reader.empty()


def test_iteration_ends_after_the_terminal_event(manager: RunManager, reader: Subscription) -> None:
    for n in range(3):
        manager.publish(1, {"n": n})
    thread = Background(list, reader)
    manager.finish_run(1, {"n": 3})
    assert numbers(thread.result()) == [0, 1, 2, 3]
    assert list(reader) == []


def test_after_the_terminal_event_reading_ends_at_once(manager: RunManager, reader: Subscription) -> None:
    manager.finish_run(1, {"n": 1})
    assert not reader.ended
    assert reader.get() == {"n": 1}
    assert reader.ended
    for read in (reader.get, reader.get_nowait, lambda: reader.get(timeout=DEADLINE)):
        with pytest.raises(queue.Empty):
            read()
    assert (reader.qsize(), reader.empty(), reader.full()) == (0, True, False)


def test_a_closed_reader_has_and_receives_nothing(manager: RunManager, reader: Subscription) -> None:
    manager.publish(1, {"n": 1})
    reader.put_nowait({"n": 2})
    reader.close()
    reader.close()
    manager.publish(1, {"n": 3})
    reader.put_nowait({"n": 4})
    assert (reader.closed, reader.ended, reader.qsize(), reader.empty()) == (True, True, 0, True)
    for read in (reader.get, reader.get_nowait):
        with pytest.raises(queue.Empty):
            read()
    assert list(reader) == []
    assert manager.stats()["subscribers"] == 0


def test_a_reader_is_a_context_manager(manager: RunManager) -> None:
    with pytest.raises(ZeroDivisionError), manager.subscribe(1) as reader:
        assert manager.stats()["subscribers"] == 1
        raise ZeroDivisionError
    assert reader.closed
    assert manager.stats()["subscribers"] == 0


def test_a_reader_can_be_referenced_weakly(manager: RunManager) -> None:
    reader = manager.subscribe(1)
    reference = weakref.ref(reader)
    assert reference() is reader
    del reader
    gc.collect()
    assert reference() is None
    assert manager.stats()["subscribers"] == 0


def test_readers_are_told_apart_by_identity(manager: RunManager) -> None:
    first, second = manager.subscribe(1), manager.subscribe(1)
    assert first != second
    assert len({first, second, first}) == 2


def test_repr(manager: RunManager, reader: Subscription) -> None:
    manager.publish(1, {})
    assert repr(reader) == "<Subscription to run 1: open, 1 unread>"
    reader.close()
    assert repr(reader) == "<Subscription to run 1: closed, 0 unread>"


def test_each_reader_gets_a_dict_of_its_own(manager: RunManager, reader: Subscription) -> None:
    other = manager.subscribe(1)
    event = {"list": [1]}
    manager.publish(1, event)
    event["list"].append(2)
    mine = reader.get_nowait()
    mine["list"].append(3)
    assert other.get_nowait() == {"list": [1]}
