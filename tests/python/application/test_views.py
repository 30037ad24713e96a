"""The names that the application's tests reach into."""

import threading
from typing import Any
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager

from .support import DEADLINE, Pipeline, add_run, broken, drain, in_thread, join, log, read_to_end, row, terminal, texts

# _thread


def test_thread_is_the_newest_thread_or_none(manager: RunManager) -> None:
    assert manager._thread is None
    manager.start_run(scope="full")
    first = manager._thread
    assert isinstance(first, threading.Thread)
    join(first)
    manager.start_run(scope="full")
    assert isinstance(manager._thread, threading.Thread)
    assert manager._thread is not first
    join(manager._thread)


def test_thread_can_be_assigned(manager: RunManager) -> None:
    thread = MagicMock()
    manager._thread = thread
    assert manager._thread is thread


# _broadcast_log


def test_broadcast_works_for_a_run_that_only_has_subscribers(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    manager._broadcast_log(1, log(1, "line", step="extract", current_term="用語"))
    assert drain(subscription) == [log(1, "line", step="extract", current_term="用語")]
    assert 1 not in manager._cancel_events


def test_broadcast_with_complete_is_delivered_like_any_other_and_does_not_end_the_run(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    manager._broadcast_log(1, {"run_id": 1, "complete": True})
    manager._broadcast_log(1, log(1, "after"))
    assert 1 not in manager._completed_runs
    assert 1 in manager._subscribers
    manager._cleanup_run_resources(1, db_status="completed")
    assert drain(subscription) == [{"run_id": 1, "complete": True}, log(1, "after"), terminal(1, "completed")]


@pytest.mark.parametrize("filled_by", ["put_nowait", "publishing", "both"])
def test_broadcast_with_complete_gets_past_a_full_queue(manager: RunManager, filled_by: str) -> None:
    subscription = manager.register_subscriber(1)
    for number in range(RunManager.MAX_LOG_QUEUE_SIZE):
        if filled_by != "publishing":
            subscription.put_nowait(log(1, f"put {number}"))
        if filled_by != "put_nowait":
            manager._broadcast_log(1, log(1, f"published {number}"))
    assert subscription.full()
    manager._broadcast_log(1, {"run_id": 1, "complete": True})
    assert drain(subscription)[-1] == {"run_id": 1, "complete": True}


def test_broadcast_to_a_full_queue_raises_nothing(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    for _ in range(3 * RunManager.MAX_LOG_QUEUE_SIZE):
        manager._broadcast_log(1, log(1, "line"))
    assert subscription.full()


# What tests replace on the instance


def test_every_message_of_a_run_goes_through_the_instances_broadcast_log(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add_run(db_path)
    broadcast = MagicMock()
    manager._broadcast_log = broadcast  # type: ignore[method-assign]
    monkeypatch.setattr(module, "update_run_status_if_active", broken(OSError("no")))

    def work(job: Job) -> None:
        job.log("from the pipeline")
        raise ValueError("boom")

    pipeline.does(work)
    manager._execute_run(run_id, "full")
    logs = [call.args[1] for call in broadcast.call_args_list if not call.args[1].get("complete")]
    assert {call.args[0] for call in broadcast.call_args_list} == {run_id}
    assert {event["level"] for event in logs} == {"info", "error", "warning"}
    assert "from the pipeline" in texts(logs)


def test_a_broadcast_log_that_calls_the_original_sees_all(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    run_id = add_run(db_path)
    original, seen = manager._broadcast_log, []

    def spy(run_id: int, message: dict[str, Any]) -> None:
        seen.append(message)
        original(run_id, message)

    manager._broadcast_log = spy  # type: ignore[method-assign]
    pipeline.says("one", "two")
    subscription = manager.register_subscriber(run_id)
    manager._execute_run(run_id, "full")
    assert [message for message in seen if not message.get("complete")] == read_to_end(subscription)[:-1]


def test_the_instances_try_update_status_is_used(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    run_id = add_run(db_path)
    calls = []

    def replacement(conn: Any, run_id: int, status: str, error_message: str | None = None) -> bool:
        calls.append((run_id, status, error_message))
        return True

    manager._try_update_status = replacement  # type: ignore[method-assign]
    pipeline.raises(ValueError("boom"))
    manager._execute_run(run_id, "full")
    assert calls == [(run_id, "failed", "boom")]
    assert row(db_path, run_id)["status"] == "running"


# _cancel_events


def test_cancel_events_as_a_dict(manager: RunManager) -> None:
    events = {run_id: threading.Event() for run_id in (1, 2, 3)}
    assert len(manager._cancel_events) == 0
    for run_id, event in events.items():
        manager._cancel_events[run_id] = event
    assert len(manager._cancel_events) == 3
    assert 2 in manager._cancel_events
    assert 4 not in manager._cancel_events
    assert manager._cancel_events[2] is events[2]
    assert manager._cancel_events.get(3) is events[3]
    assert manager._cancel_events.get(4) is None
    assert manager._cancel_events.get(4, "default") == "default"
    assert set(manager._cancel_events.values()) == set(events.values())
    with pytest.raises(KeyError):
        _ = manager._cancel_events[4]


def test_values_are_a_snapshot(manager: RunManager) -> None:
    manager._cancel_events[1] = threading.Event()
    values = manager._cancel_events.values()
    manager._cancel_events[2] = threading.Event()
    manager._cleanup_run_resources(1)
    assert len(list(values)) == 1


def test_an_event_put_there_is_what_a_cancel_sets(manager: RunManager) -> None:
    event = threading.Event()
    manager._cancel_events[1] = event
    manager.cancel_run(1)
    assert event.is_set()
    assert manager._cancel_events[1].is_set()


def test_the_last_event_put_there_counts(manager: RunManager) -> None:
    first, second = threading.Event(), threading.Event()
    manager._cancel_events[1] = first
    manager._cancel_events[1] = second
    manager.cancel_run(1)
    assert second.is_set()
    assert manager._cancel_events[1] is second


def test_a_runs_own_event_can_be_waited_for(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    event = manager._cancel_events[run_id]
    assert list(manager._cancel_events.values()) == [event]
    waiter = in_thread(event.wait, DEADLINE)
    manager.cancel_run(run_id)
    join(waiter)
    assert event.is_set()


# _executors, _subscribers, _completed_runs


def test_executors_as_a_dict(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    job = pipeline.wait_until_running()
    assert run_id in manager._executors
    assert manager._executors[run_id] is job.executor
    assert manager._executors.get(run_id + 1) is None
    pipeline.release.set()
    join(manager._thread)
    assert run_id not in manager._executors
    assert len(manager._executors) == 0


def test_subscribers_as_long_as_one_is_registered(manager: RunManager) -> None:
    assert 1 not in manager._subscribers
    one, two = manager.register_subscriber(1), manager.register_subscriber(1)
    assert 1 in manager._subscribers
    assert 2 not in manager._subscribers
    manager.unregister_subscriber(1, one)
    assert 1 in manager._subscribers
    manager.unregister_subscriber(1, two)
    assert 1 not in manager._subscribers


def test_subscribers_of_an_active_run(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    assert run_id not in manager._subscribers
    subscription = manager.register_subscriber(run_id)
    assert run_id in manager._subscribers
    pipeline.release.set()
    join(manager._thread)
    assert run_id not in manager._subscribers
    assert drain(subscription)[-1] == terminal(run_id, "completed")


def test_of_a_subscriber_that_vanished_without_a_word_only_the_name_is_left(manager: RunManager) -> None:
    """It has registered and not unregistered; the end of the run clears that, too."""
    manager.register_subscriber(1)
    assert 1 in manager._subscribers
    assert manager.stats() == {**manager.stats(), "subscribers": 0, "subscribed_runs": 0}
    manager._cleanup_run_resources(1)
    assert 1 not in manager._subscribers


def test_completed_runs(manager: RunManager) -> None:
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    assert run_id in manager._completed_runs
    assert manager._completed_runs[run_id] == terminal(run_id, "completed")
    assert run_id + 1 not in manager._completed_runs
    with pytest.raises(KeyError):
        _ = manager._completed_runs[run_id + 1]


def test_an_active_run_is_not_completed(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    assert run_id not in manager._completed_runs


# The locks


def use_all(manager: RunManager) -> None:
    """Read and write everything that the locks seem to guard."""
    manager._cancel_events[5] = threading.Event()
    assert 5 in manager._cancel_events
    assert len(manager._cancel_events) == 1
    assert [event.is_set() for event in manager._cancel_events.values()] == [False]
    subscription = manager.register_subscriber(5)
    assert 5 in manager._subscribers
    assert 5 not in manager._completed_runs
    manager._broadcast_log(5, log(5, "line"))
    assert texts(drain(subscription)) == ["line"]
    manager.unregister_subscriber(5, subscription)
    manager._cleanup_run_resources(5)
    assert manager._completed_runs[5] == terminal(5)


@pytest.mark.parametrize(
    "names", [["_cancel_events_lock"], ["_subscribers_lock"], ["_cancel_events_lock", "_subscribers_lock"]]
)
def test_the_locks_do_not_deadlock(manager: RunManager, names: list[str]) -> None:
    done = []

    def with_locks(rest: list[str]) -> None:
        if rest:
            with getattr(manager, rest[0]):
                with_locks(rest[1:])
        else:
            use_all(manager)
            done.append(True)

    join(in_thread(with_locks, names))
    assert done == [True]


@pytest.mark.parametrize("name", ["_cancel_events_lock", "_subscribers_lock"])
def test_the_locks_are_free_again_after_use(manager: RunManager, name: str) -> None:
    def once() -> None:
        with getattr(manager, name):
            pass

    once()
    join(in_thread(once))
    with pytest.raises(ValueError, match="inside"), getattr(manager, name):
        raise ValueError("inside")
    join(in_thread(once))


def test_there_is_no_current_run_id(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    manager.start_run(scope="full")
    pipeline.wait_until_running()
    assert not hasattr(manager, "_current_run_id")
    assert not hasattr(RunManager, "_current_run_id")
