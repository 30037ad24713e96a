"""The life of a run: opened, published to, cancelled, finished, and who reads it meanwhile."""

import itertools
import threading
from typing import Any

import pytest
from genglossary_runs import CancelEvent, RunActiveError, RunManager, Subscription, UnknownRunError

from .support import DEADLINE, Background, drain, numbers

# Opening


def test_open_run_returns_its_cancel_event() -> None:
    manager = RunManager()
    event = manager.open_run(7)
    assert isinstance(event, CancelEvent)
    assert not event.is_set()
    assert manager.cancel_event(7) == event
    assert manager.is_active(7)
    assert manager.active_runs() == [7]


def test_a_run_that_is_open_cannot_be_opened(manager: RunManager) -> None:
    with pytest.raises(RunActiveError, match=r"run 1 is already open; finish it, or choose another id"):
        manager.open_run(1)
    assert manager.is_active(1)


@pytest.mark.parametrize("run_id", [0, -1, 2**63 - 1, -(2**63)])
def test_any_integer_of_64_bits_names_a_run(run_id: int) -> None:
    manager = RunManager()
    manager.open_run(run_id)
    reader = manager.subscribe(run_id)
    manager.publish(run_id, {"run_id": run_id})
    assert reader.run_id == run_id
    assert reader.get_nowait() == {"run_id": run_id}
    assert manager.active_runs() == manager.subscribed_runs() == [run_id]


def test_opening_takes_over_what_readers_have_made() -> None:
    manager = RunManager()
    reader = manager.subscribe(1)
    manager.publish(1, {"n": 1})
    manager.open_run(1)
    manager.publish(1, {"n": 2})
    assert numbers(drain(reader)) == [1, 2]
    assert manager.stats()["subscribers"] == 1


def test_opening_takes_over_a_cancel_event() -> None:
    manager = RunManager()
    event = manager.cancel_event(1, create=True)
    assert event is not None
    assert manager.active_runs() == [1]
    assert not manager.is_active(1)
    event.set()
    assert manager.open_run(1) == event
    assert manager.is_active(1)


def test_opening_begins_a_new_life(manager: RunManager) -> None:
    old = manager.subscribe(1)
    first_id = manager.publish(1, {"n": 1})
    manager.finish_run(1, {"n": 2})
    event = manager.open_run(1)
    assert not event.is_set()
    assert manager.terminal_event(1) is None
    assert manager.retained_runs() == []
    new = manager.subscribe(1, after="0")
    second_id = manager.publish(1, {"n": 3})
    assert numbers(drain(new)) == [3]
    assert numbers(drain(old)) == [1, 2]
    assert first_id is not None
    assert second_id is not None
    assert fence(second_id) > fence(first_id)


def fence(event_id: str) -> int:
    return int(event_id.partition("-")[0])


def test_no_two_lives_share_an_id() -> None:
    """Also of lives that begin within the same millisecond."""
    manager = RunManager()
    fences = []
    for _ in range(500):
        manager.open_run(1)
        event_id = manager.publish(1, {})
        assert event_id is not None
        fences.append(fence(event_id))
        manager.finish_run(1, {})
    assert all(earlier < later for earlier, later in itertools.pairwise(fences))


def test_one_of_many_opens_wins() -> None:
    manager = RunManager()
    for run_id in range(100):
        start = threading.Barrier(4)

        def open_it(run_id: int = run_id, start: threading.Barrier = start) -> bool:
            start.wait(DEADLINE)
            try:
                manager.open_run(run_id)
            except RunActiveError:
                return False
            return True

        threads = [Background(open_it) for _ in range(4)]
        assert sum(thread.result() for thread in threads) == 1


# Publishing


def test_ids_count_without_holes(manager: RunManager) -> None:
    ids = [manager.publish(1, {}) for _ in range(3)]
    assert [event_id and event_id.partition("-")[2] for event_id in ids] == ["1", "2", "3"]
    assert len({event_id and event_id.partition("-")[0] for event_id in ids}) == 1


def test_publishing_where_nobody_could_read() -> None:
    manager = RunManager()
    assert manager.publish(1, {}) is None
    manager.open_run(1)
    manager.finish_run(1, {"n": 1})
    assert manager.publish(1, {"n": 2}) is None
    assert numbers(drain(manager.subscribe(1, after="0"))) == [1]
    assert manager.stats()["events_published"] == 1


def test_every_reader_gets_the_events_of_its_run_and_no_other() -> None:
    manager = RunManager()
    readers = {run_id: [manager.subscribe(run_id) for _ in range(3)] for run_id in (1, 2)}
    for n in range(100):
        manager.publish(1 + n % 2, {"n": n})
    assert all(numbers(drain(reader)) == list(range(0, 100, 2)) for reader in readers[1])
    assert all(numbers(drain(reader)) == list(range(1, 100, 2)) for reader in readers[2])


def test_a_reader_sees_new_events_only(manager: RunManager) -> None:
    manager.publish(1, {"n": 1})
    reader = manager.subscribe(1)
    manager.publish(1, {"n": 2})
    assert numbers(drain(reader)) == [2]


def test_publishers_agree_on_one_order() -> None:
    manager = RunManager(history=10_000)
    manager.open_run(1)
    readers = [manager.subscribe(1) for _ in range(3)]

    def publish(publisher: int) -> list[str | None]:
        return [manager.publish(1, {"publisher": publisher, "n": n}) for n in range(500)]

    threads = [Background(publish, publisher) for publisher in range(4)]
    ids = [event_id for thread in threads for event_id in thread.result()]
    assert sorted(int(str(event_id).partition("-")[2]) for event_id in ids) == list(range(1, 2001))
    read = [drain(reader) for reader in readers]
    assert read[0] == read[1] == read[2]
    for publisher in range(4):
        assert [event["n"] for event in read[0] if event["publisher"] == publisher] == list(range(500))


# Subscribing


def test_the_entry_of_a_run_that_nobody_opened_goes_with_its_last_reader() -> None:
    manager = RunManager()
    first, second = manager.subscribe(1), manager.subscribe(1)
    assert manager.subscribed_runs() == [1]
    first.close()
    assert manager.subscribed_runs() == [1]
    del second
    assert manager.subscribed_runs() == []
    assert manager.stats()["subscribed_runs"] == 0
    assert manager.publish(1, {}) is None


def test_a_reader_may_insist_that_the_run_exists(manager: RunManager) -> None:
    with pytest.raises(UnknownRunError, match="run 2 is unknown; open it first"):
        manager.subscribe(2, must_exist=True)
    assert manager.stats()["subscribed_runs"] == 0
    manager.subscribe(1, must_exist=True)
    manager.finish_run(1, {})
    manager.subscribe(1, must_exist=True)
    reader = manager.subscribe(2)
    manager.subscribe(2, must_exist=True)
    reader.close()
    with pytest.raises(UnknownRunError):
        manager.subscribe(2, must_exist=True)


def test_lists_of_runs_are_sorted() -> None:
    manager = RunManager()
    readers = [manager.subscribe(run_id) for run_id in (5, -3, 9, 0)]
    for run_id in (9, -3, 5):
        manager.open_run(run_id)
    assert manager.active_runs() == [-3, 5, 9]
    assert manager.subscribed_runs() == [-3, 0, 5, 9]
    for run_id in (9, -3, 5):
        manager.finish_run(run_id, {})
    assert manager.retained_runs() == [9, -3, 5]
    assert len(readers) == 4


def test_a_reader_outlives_its_manager() -> None:
    manager = RunManager()
    manager.open_run(1)
    reader = manager.subscribe(1)
    manager.publish(1, {"n": 1})
    del manager
    assert numbers(drain(reader)) == [1]


# Cancelling


def test_cancelling_sets_the_event(manager: RunManager) -> None:
    event = manager.cancel_event(1)
    assert event is not None
    assert manager.cancel_run(1) is True
    assert event.is_set()
    assert manager.cancel_run(1) is True


def test_there_is_nothing_to_cancel(manager: RunManager) -> None:
    event = manager.cancel_event(1)
    manager.finish_run(1, {})
    reader = manager.subscribe(2)
    assert [manager.cancel_run(run_id) for run_id in (1, 2, 3)] == [False, False, False]
    assert [manager.cancel_event(run_id) for run_id in (1, 2, 3)] == [None, None, None]
    assert event is not None
    assert not event.is_set()
    assert reader.empty()


def test_a_run_may_be_cancelled_before_it_opens() -> None:
    manager = RunManager()
    manager.cancel_event(1, create=True)
    assert manager.cancel_run(1) is True
    assert manager.open_run(1).is_set()


# Finishing


def test_the_terminal_event_is_the_last_and_comes_once(manager: RunManager) -> None:
    readers = [manager.subscribe(1) for _ in range(3)]
    manager.publish(1, {"n": 1})
    assert manager.finish_run(1, {"n": 2}) is True
    assert manager.finish_run(1, {"n": 3}) is False
    manager.publish(1, {"n": 4})
    for reader in readers:
        assert [event["n"] for event in reader] == [1, 2]
        assert reader.ended
        assert not reader.closed
    assert manager.terminal_event(1) == {"n": 2}


def test_finishing_clears_every_entry(manager: RunManager, reader: Subscription) -> None:
    manager.publish(1, {"n": 1})
    manager.finish_run(1, {"n": 2})
    assert not manager.is_active(1)
    assert manager.active_runs() == manager.subscribed_runs() == []
    stats = manager.stats()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["subscribers"]) == (0, 0, 0)
    assert numbers(drain(reader)) == [1, 2]


def test_one_who_comes_late_gets_the_terminal_event(manager: RunManager) -> None:
    manager.publish(1, {"n": 1})
    manager.finish_run(1, {"n": 2})
    assert numbers(drain(manager.subscribe(1))) == [2]
    assert numbers(drain(manager.subscribe(1, after="0"))) == [1, 2]


def test_a_run_that_never_opened_is_recorded_as_finished() -> None:
    manager = RunManager()
    assert manager.finish_run(1, {"n": 1}) is True
    assert manager.terminal_event(1) == {"n": 1}
    assert numbers(drain(manager.subscribe(1))) == [1]
    assert manager.finish_run(1, {"n": 2}) is False


def test_unless_active_leaves_an_open_run_alone(manager: RunManager) -> None:
    assert manager.finish_run(1, {}, unless_active=True) is False
    assert manager.is_active(1)
    reader = manager.subscribe(2)
    assert manager.finish_run(2, {"n": 1}, unless_active=True) is True
    assert numbers(drain(reader)) == [1]
    manager.cancel_event(3, create=True)
    assert manager.finish_run(3, {}, unless_active=True) is True
    assert manager.finish_run(4, {}, unless_active=True) is True
    assert manager.active_runs() == [1]


def test_one_of_many_finishes_wins() -> None:
    for _ in range(100):
        manager = RunManager()
        manager.open_run(1)
        reader = manager.subscribe(1)
        start = threading.Barrier(4)

        def finish(n: int, manager: RunManager = manager, start: threading.Barrier = start) -> bool:
            start.wait(DEADLINE)
            return manager.finish_run(1, {"n": n})

        threads = [Background(finish, n) for n in range(4)]
        won = [thread.result() for thread in threads]
        assert sum(won) == 1
        assert numbers(drain(reader)) == [won.index(True)]


def test_subscribing_while_it_finishes_gets_the_terminal_event_once() -> None:
    for _ in range(200):
        manager = RunManager()
        manager.open_run(1)
        start = threading.Barrier(4)

        def read(manager: RunManager = manager, start: threading.Barrier = start) -> list[dict[str, Any]]:
            start.wait(DEADLINE)
            return list(manager.subscribe(1))

        threads = [Background(read) for _ in range(3)]
        start.wait(DEADLINE)
        manager.publish(1, {"n": 1})
        manager.finish_run(1, {"n": 2})
        assert all(numbers(thread.result()) in ([1, 2], [2]) for thread in threads)


# Subclasses


class Named(RunManager):
    """A manager with a constructor of its own."""

    def __init__(self, name: str, *, size: int) -> None:
        self.name = name
        self.size = size


def test_a_subclass_may_have_a_constructor_of_its_own() -> None:
    manager = Named("mine", size=3)
    manager.open_run(1)
    assert (manager.name, manager.size, manager.active_runs()) == ("mine", 3, [1])


def test_a_subclass_may_still_set_the_limits() -> None:
    class Small(RunManager):
        pass

    manager = Small(history=1)
    reader = manager.subscribe(1)
    for n in range(3):
        manager.publish(1, {"n": n})
    assert reader.qsize() == 1
