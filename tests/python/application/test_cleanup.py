"""The terminal event, and _cleanup_run_resources."""

import threading
from typing import Any

import pytest
from genglossary.runs.manager import RunManager

from .support import DEADLINE, drain, in_thread, join, log, read_to_end, terminal, texts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"db_status": None}, {}),
        ({"db_status": "completed"}, {"db_status": "completed"}),
        ({"db_status": "cancelled", "status_update_failed": False}, {"db_status": "cancelled"}),
        (
            {"db_status": "failed", "status_update_failed": True},
            {"db_status": "failed", "status_update_failed": True},
        ),
        ({"status_update_failed": True}, {"status_update_failed": True}),
    ],
)
def test_the_terminal_event(manager: RunManager, arguments: dict[str, Any], expected: dict[str, Any]) -> None:
    subscription = manager.register_subscriber(1)
    manager._cleanup_run_resources(run_id=1, **arguments)
    expected = {"run_id": 1, "complete": True, **expected}
    assert drain(subscription) == [expected]
    assert manager._completed_runs[1] == expected


def test_the_arguments_by_position(manager: RunManager) -> None:
    manager._cleanup_run_resources(1, "failed", True)
    assert manager._completed_runs[1] == terminal(1, "failed", status_update_failed=True)


def test_it_clears_the_cancel_event_and_the_subscribers(manager: RunManager) -> None:
    manager._cancel_events[1] = threading.Event()
    subscriptions = [manager.register_subscriber(1) for _ in range(3)]
    manager._cleanup_run_resources(1)
    assert 1 not in manager._cancel_events
    assert 1 not in manager._subscribers
    assert [drain(subscription) for subscription in subscriptions] == [[terminal(1)]] * 3


def test_it_does_not_set_the_cancel_event(manager: RunManager) -> None:
    event = threading.Event()
    manager._cancel_events[1] = event
    manager._cleanup_run_resources(1)
    assert not event.is_set()


def test_other_runs_are_left_alone(manager: RunManager) -> None:
    manager._cancel_events[2] = threading.Event()
    subscription = manager.register_subscriber(2)
    manager._cleanup_run_resources(1)
    assert 2 in manager._cancel_events
    assert 2 in manager._subscribers
    assert 2 not in manager._completed_runs
    assert subscription.empty()


def test_called_twice_the_first_terminal_event_stays(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    manager._cleanup_run_resources(1, db_status="completed")
    manager._cleanup_run_resources(1, db_status="failed", status_update_failed=True)
    assert manager._completed_runs[1] == terminal(1, "completed")
    assert drain(subscription) == [terminal(1, "completed")]
    assert drain(manager.register_subscriber(1)) == [terminal(1, "completed")]


def test_for_a_run_that_never_was(manager: RunManager) -> None:
    manager._cleanup_run_resources(123, db_status="failed")
    assert 123 not in manager._cancel_events
    assert 123 not in manager._subscribers
    assert drain(manager.register_subscriber(123)) == [terminal(123, "failed")]


def test_clearing_is_one_step_for_a_reader_that_registers_meanwhile(manager: RunManager) -> None:
    """A reader that sees the terminal event, or registers after it, finds no entry of the run."""
    for run_id in range(1, 101):
        manager._cancel_events[run_id] = threading.Event()
        subscription = manager.register_subscriber(run_id)
        seen: list[Any] = []

        def look(run_id: int = run_id, subscription: Any = subscription, seen: list[Any] = seen) -> None:
            seen.append(subscription.get(timeout=DEADLINE))
            seen.append(run_id in manager._cancel_events)
            seen.append(run_id in manager._subscribers)
            seen.append(run_id in manager._completed_runs)
            seen.append(drain(manager.register_subscriber(run_id)))

        thread = in_thread(look)
        manager._cleanup_run_resources(run_id)
        join(thread)
        assert seen == [terminal(run_id), False, False, True, [terminal(run_id)]]


def test_the_terminal_event_is_the_last_and_reaches_a_reader_far_behind(manager: RunManager) -> None:
    behind = manager.register_subscriber(1)
    full = manager.register_subscriber(1)
    for _ in range(RunManager.MAX_LOG_QUEUE_SIZE):
        full.put_nowait(log(1, "put"))
    for number in range(5000):
        manager._broadcast_log(1, log(1, f"line {number}"))
    fresh = manager.register_subscriber(1)
    manager._cleanup_run_resources(1, db_status="completed")
    for subscription in (behind, full, fresh):
        assert read_to_end(subscription)[-1] == terminal(1, "completed")


def test_what_is_published_later_goes_nowhere_and_makes_no_entry(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    manager._cleanup_run_resources(1)
    bytes_held = manager.stats()["bytes_held"]
    for _ in range(10):
        manager._broadcast_log(1, log(1, "too late"))
        manager._broadcast_log(1, {"run_id": 1, "complete": True})
    assert drain(subscription) == [terminal(1)]
    assert drain(manager.register_subscriber(1)) == [terminal(1)]
    assert drain(manager.register_subscriber(1, after="0")) == [terminal(1)]
    assert 1 not in manager._subscribers
    assert 1 not in manager._cancel_events
    stats = manager.stats()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["subscribers"]) == (0, 0, 0)
    assert stats["bytes_held"] == bytes_held


def test_what_is_published_to_nobody_makes_no_entry(manager: RunManager) -> None:
    manager._broadcast_log(9, log(9, "hello?"))
    assert 9 not in manager._subscribers
    assert 9 not in manager._completed_runs
    stats = manager.stats()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["bytes_held"]) == (0, 0, 0)
    assert drain(manager.register_subscriber(9)) == []


def test_every_reader_hears_the_end_of_a_run_that_is_cleaned_up_by_two_threads(manager: RunManager) -> None:
    for run_id in range(1, 101):
        subscription = manager.register_subscriber(run_id)
        barrier = threading.Barrier(2)

        def clean(status: str, run_id: int = run_id, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(DEADLINE)
            manager._cleanup_run_resources(run_id, db_status=status)

        for thread in [in_thread(clean, status) for status in ("completed", "cancelled")]:
            join(thread)
        (event,) = read_to_end(subscription)
        assert event == manager._completed_runs[run_id]


def test_finished_runs_do_not_pile_up(manager: RunManager) -> None:
    for run_id in range(2000):
        manager._broadcast_log(run_id, log(run_id, "line"))
        manager._cleanup_run_resources(run_id, db_status="completed")
    assert manager.stats()["retained_runs"] <= 256
    assert 1999 in manager._completed_runs
    assert 0 not in manager._completed_runs


def test_a_log_message_before_the_end_comes_before_it(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    manager._broadcast_log(1, log(1, "last words"))
    manager._cleanup_run_resources(1)
    events = read_to_end(subscription)
    assert texts(events[:-1]) == ["last words"]
    assert events[-1] == terminal(1)
