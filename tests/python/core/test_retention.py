"""Finished runs are kept for late readers: bounded by count, by bytes and by age."""

import time
from collections.abc import Callable

import pytest
from genglossary_runs import RunManager

from .support import drain, numbers, wait_until

TERMINAL = {"done": True}


def run(manager: RunManager, run_id: int, messages: int = 2) -> None:
    """A run from its beginning to its end."""
    manager.open_run(run_id)
    for n in range(messages):
        manager.publish(run_id, {"n": n})
    manager.finish_run(run_id, TERMINAL)


def test_what_is_retained_can_be_read_from_the_start() -> None:
    manager = RunManager()
    run(manager, 1)
    assert manager.retained_runs() == [1]
    assert manager.terminal_event(1) == TERMINAL
    for _ in range(2):
        assert drain(manager.subscribe(1, after="0")) == [{"n": 0}, {"n": 1}, TERMINAL]
        assert drain(manager.subscribe(1)) == [TERMINAL]
    assert manager.stats()["subscribers"] == 0


def test_by_count() -> None:
    manager = RunManager(retained_runs=3)
    for run_id in range(10):
        run(manager, run_id)
    assert manager.retained_runs() == [7, 8, 9]
    assert manager.terminal_event(6) is None
    assert manager.terminal_event(7) == TERMINAL
    assert manager.stats()["events_held"] == 9


def test_by_bytes() -> None:
    manager = RunManager(retained_bytes=1000)
    for run_id in range(10):
        manager.publish(run_id, {})
        manager.finish_run(run_id, {"text": "x" * 280})
    assert manager.retained_runs() == [7, 8, 9]
    assert manager.stats()["bytes_held"] <= 1000


def test_a_run_of_more_bytes_than_may_be_kept() -> None:
    manager = RunManager(retained_bytes=1000)
    run(manager, 1)
    manager.finish_run(2, {"text": "x" * 1000})
    assert manager.retained_runs() == []
    run(manager, 3)
    assert manager.retained_runs() == [3]


def test_by_age() -> None:
    manager = RunManager(retention=0.1)
    begun = time.monotonic()
    run(manager, 1)
    wait_until(lambda: manager.terminal_event(1) is None)
    assert time.monotonic() - begun >= 0.1
    assert manager.retained_runs() == []
    stats = manager.stats()
    assert (stats["retained_runs"], stats["events_held"], stats["bytes_held"]) == (0, 0, 0)


NONE_KEPT = [{"retained_runs": 0}, {"retained_bytes": 0}, {"retention": 0}]


@pytest.mark.parametrize("limits", NONE_KEPT, ids=lambda limits: next(iter(limits)))
def test_nothing_may_be_kept(limits: dict[str, int]) -> None:
    manager = RunManager(**limits)
    reader = manager.subscribe(1)
    run(manager, 1)
    assert manager.retained_runs() == []
    assert manager.terminal_event(1) is None
    assert drain(reader) == [{"n": 0}, {"n": 1}, TERMINAL]


@pytest.mark.parametrize("limits", NONE_KEPT, ids=lambda limits: next(iter(limits)))
def test_one_who_comes_after_retention_waits_for_a_new_life(limits: dict[str, int]) -> None:
    manager = RunManager(**limits)
    run(manager, 1)
    reader = manager.subscribe(1)
    assert not reader.ended
    assert manager.subscribed_runs() == [1]
    with pytest.raises(LookupError):
        manager.subscribe(2, must_exist=True)
    run(manager, 1)
    assert drain(reader) == [{"n": 0}, {"n": 1}, TERMINAL]


def test_readers_that_were_there_read_on_after_retention_has_let_go() -> None:
    manager = RunManager(retained_runs=1)
    readers = [manager.subscribe(run_id) for run_id in range(5)]
    late = []
    for run_id in range(5):
        run(manager, run_id)
        late.append(manager.subscribe(run_id, after="0"))
    assert manager.retained_runs() == [4]
    for reader in readers + late:
        assert drain(reader) == [{"n": 0}, {"n": 1}, TERMINAL]


def test_a_new_life_takes_the_old_one_out_of_retention() -> None:
    manager = RunManager()
    run(manager, 1)
    run(manager, 2)
    held = manager.stats()["bytes_held"]
    manager.open_run(1)
    assert manager.retained_runs() == [2]
    assert manager.stats()["bytes_held"] == held // 2
    manager.finish_run(1, {"n": "new"})
    assert manager.retained_runs() == [2, 1]
    assert drain(manager.subscribe(1, after="0")) == [{"n": "new"}]


READS: list[Callable[[RunManager], object]] = [
    lambda manager: manager.terminal_event(0),
    lambda manager: manager.subscribe(0),
    lambda manager: manager.subscribe(0, after="0"),
    lambda manager: manager.retained_runs(),
    lambda manager: manager.stats(),
]


@pytest.mark.parametrize("read", READS)
def test_reading_does_not_prolong_it(read: Callable[[RunManager], object]) -> None:
    manager = RunManager(retained_runs=2)
    for run_id in range(2):
        run(manager, run_id)
    read(manager)
    run(manager, 2)
    assert manager.retained_runs() == [1, 2]


def test_a_finished_run_can_be_read_while_others_finish() -> None:
    manager = RunManager(retained_runs=50)
    for run_id in range(200):
        run(manager, run_id)
        reader = manager.subscribe(max(0, run_id - 49), after="0")
        assert numbers(drain(reader)[:-1]) == [0, 1]
