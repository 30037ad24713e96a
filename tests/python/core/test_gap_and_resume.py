"""Falling behind and coming back: every event is delivered, or inside exactly one gap."""

import itertools
from typing import Any

import pytest
from genglossary_runs import RunManager, Subscription

from .support import Background, drain, numbers, wait_until

HISTORY = 3


@pytest.fixture
def manager() -> RunManager:
    manager = RunManager(history=HISTORY)
    manager.open_run(1)
    return manager


def publish(manager: RunManager, *values: int) -> list[str]:
    """Publish `{"n": value}` for each; the ids."""
    return [str(manager.publish(1, {"n": value})) for value in values]


def gap(first: int, last: int) -> dict[str, Any]:
    """The dict that names these as missed."""
    missed = last - first + 1
    return {
        "run_id": 1,
        "level": "warning",
        "message": f"{missed} log {'message was' if missed == 1 else 'messages were'} dropped",
        "gap": {"from": first, "to": last, "missed": missed},
    }


# Falling behind


def test_a_reader_that_fell_behind_gets_one_gap_and_the_oldest_held(manager: RunManager, reader: Subscription) -> None:
    publish(manager, *range(1, 8))
    assert reader.qsize() == 3
    read = drain(reader)
    assert read == [gap(1, 4), {"n": 5}, {"n": 6}, {"n": 7}]
    assert list(read[0]) == ["run_id", "level", "message", "gap"]


def test_a_gap_of_one(manager: RunManager, reader: Subscription) -> None:
    publish(manager, *range(1, 5))
    assert drain(reader)[0] == gap(1, 1)
    assert gap(1, 1)["message"] == "1 log message was dropped"


def test_nothing_is_missed_at_the_limit(manager: RunManager, reader: Subscription) -> None:
    publish(manager, 1, 2, 3)
    assert drain(reader) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_gap_grows_until_it_is_read(manager: RunManager, reader: Subscription) -> None:
    publish(manager, *range(1, 5))
    publish(manager, *range(5, 9))
    assert reader.get_nowait() == gap(1, 5)
    publish(manager, 9, 10, 11)
    assert drain(reader) == [gap(6, 8), {"n": 9}, {"n": 10}, {"n": 11}]


def test_each_reader_has_its_own_gap(manager: RunManager, reader: Subscription) -> None:
    publish(manager, 1)
    late = manager.subscribe(1)
    publish(manager, *range(2, 7))
    assert [drain(reader)[0], drain(late)[0]] == [gap(1, 3), gap(2, 3)]
    assert manager.stats()["events_missed"] == 5


def test_the_bound_in_bytes(manager: RunManager) -> None:
    manager = RunManager(history_bytes=30)
    reader = manager.subscribe(1)
    publish(manager, 1, 2, 3, 4)
    assert numbers(drain(reader)) == [1, 2, 3, 4]
    publish(manager, 5, 6, 7, 8)
    manager.publish(1, {"n": 9, "text": "x" * 100})
    assert drain(reader) == [gap(5, 8), {"n": 9, "text": "x" * 100}]
    assert manager.stats()["events_held"] == 1


def test_the_terminal_event_reaches_one_far_behind(manager: RunManager, reader: Subscription) -> None:
    publish(manager, *range(1, 100))
    manager.finish_run(1, {"n": 100})
    assert list(reader) == [gap(1, 97), {"n": 98}, {"n": 99}, {"n": 100}]


def test_a_slow_reader_accounts_for_everything() -> None:
    total = 20_000
    manager = RunManager(history=HISTORY)
    manager.open_run(1)
    readers = [Background(list, manager.subscribe(1)) for _ in range(3)]

    def publish_all() -> None:
        for n in range(1, total):
            manager.publish(1, {"n": n})
        manager.finish_run(1, {"n": total})

    Background(publish_all).result()
    missed = 0
    for reader in readers:
        accounted: list[int] = []
        for event in reader.result():
            if "gap" in event:
                missed += event["gap"]["missed"]
                accounted += range(event["gap"]["from"], event["gap"]["to"] + 1)
            else:
                accounted.append(event["n"])
        assert accounted == list(range(1, total + 1))
    assert manager.stats()["events_missed"] == missed


# Coming back


def test_after_an_id_come_exactly_those_after_it(manager: RunManager) -> None:
    ids = publish(manager, 1, 2, 3)
    for number, event_id in enumerate(ids, start=1):
        reader = manager.subscribe(1, after=event_id)
        assert numbers(drain(reader)) == list(range(number + 1, 4))
        assert reader.last_event_id == ids[-1]


def test_last_event_id_follows_the_reader(manager: RunManager, reader: Subscription) -> None:
    fence = reader.last_event_id.partition("-")[0]
    assert reader.last_event_id == f"{fence}-0"
    ids = publish(manager, 1, 2)
    assert reader.last_event_id == f"{fence}-0"
    for event_id in ids:
        reader.get_nowait()
        assert reader.last_event_id == event_id
    publish(manager, *range(3, 9))
    reader.get_nowait()
    assert reader.last_event_id == f"{fence}-5"


def test_a_message_put_to_the_reader_leaves_its_place_alone(manager: RunManager, reader: Subscription) -> None:
    (event_id,) = publish(manager, 1)
    reader.get_nowait()
    reader.put_nowait({"n": -1})
    reader.get_nowait()
    assert reader.last_event_id == event_id


def test_going_on_where_another_reader_stands(manager: RunManager, reader: Subscription) -> None:
    publish(manager, 1, 2)
    reader.get_nowait()
    place = reader.last_event_id
    reader.close()
    publish(manager, 3)
    assert numbers(drain(manager.subscribe(1, after=place))) == [2, 3]


def test_a_closed_reader_still_says_where_it_stood(manager: RunManager, reader: Subscription) -> None:
    (event_id,) = publish(manager, 1)
    reader.get_nowait()
    reader.close()
    assert reader.last_event_id == event_id


def test_coming_back_too_late(manager: RunManager) -> None:
    ids = publish(manager, *range(1, 8))
    assert drain(manager.subscribe(1, after=ids[0]))[:2] == [gap(2, 4), {"n": 5}]
    assert drain(manager.subscribe(1, after=ids[3])) == [{"n": 5}, {"n": 6}, {"n": 7}]


def test_after_0_is_from_the_start(manager: RunManager) -> None:
    publish(manager, 1, 2)
    assert numbers(drain(manager.subscribe(1, after="0"))) == [1, 2]
    publish(manager, 3, 4)
    assert drain(manager.subscribe(1, after="0")) == [gap(1, 1), {"n": 2}, {"n": 3}, {"n": 4}]


@pytest.mark.parametrize(
    "after",
    ["", "0", "nonsense", "1-1", "-", "-1", "1-", "0-0", "９-１", "{fence}", "{fence}-", "{fence}-x", "{fence}--1",
     "{fence}-+1", "{fence}- 1", "{fence}-1-1", "{fence}-99", f"{{fence}}-{2**64 - 1}",
     f"{{fence}}-{2**64}", f"{2**64}-1", "\0", "\ud800", "x" * 100_000],
)  # fmt: skip
def test_anything_else_is_from_the_start(manager: RunManager, reader: Subscription, after: str) -> None:
    publish(manager, 1, 2)
    after = after.replace("{fence}", reader.last_event_id.partition("-")[0])
    assert numbers(drain(manager.subscribe(1, after=after))) == [1, 2]


@pytest.mark.parametrize("space", [" ", "\t", "\r\n", "\u3000"], ids=ascii)
def test_white_space_around_an_id_is_ignored(manager: RunManager, space: str) -> None:
    ids = publish(manager, 1, 2)
    assert numbers(drain(manager.subscribe(1, after=f"{space}{ids[0]}{space}"))) == [2]


def test_an_id_of_another_life_is_from_the_start(manager: RunManager) -> None:
    ids = publish(manager, 1, 2)
    manager.finish_run(1, {"n": 3})
    manager.open_run(1)
    publish(manager, 4, 5)
    assert numbers(drain(manager.subscribe(1, after=ids[0]))) == [4, 5]


def test_coming_back_to_a_finished_run(manager: RunManager) -> None:
    ids = publish(manager, 1, 2)
    manager.finish_run(1, {"n": 3})
    assert numbers(drain(manager.subscribe(1, after=ids[0]))) == [2, 3]
    at_the_end = manager.subscribe(1)
    assert numbers(drain(at_the_end)) == [3]
    nothing_more = manager.subscribe(1, after=at_the_end.last_event_id)
    assert nothing_more.ended
    assert list(nothing_more) == []


def test_coming_back_again_and_again(manager: RunManager) -> None:
    """A client that loses its connection after every event misses none while it keeps up."""
    total = 500
    place = manager.subscribe(1).last_event_id
    read: list[int] = []
    stop = iter(range(total))

    def publish_in_step() -> None:
        for n in stop:
            wait_until(lambda: len(read) + HISTORY > n)  # noqa: B023
            manager.publish(1, {"n": n})
        manager.finish_run(1, {"n": total})

    thread = Background(publish_in_step)
    while not read or read[-1] != total:
        with manager.subscribe(1, after=place) as reader:
            read += numbers(list(itertools.islice(reader, 1)))
            place = reader.last_event_id
    thread.result()
    assert read == list(range(total + 1))
