"""cancel_run."""

import threading
from unittest.mock import MagicMock

import genglossary.runs.manager as module
import pytest
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager

from .support import DEADLINE, Pipeline, in_thread, join, log, row, set_status


def test_it_sets_the_cancel_event(manager: RunManager, pipeline: Pipeline, db_path: str) -> None:
    pipeline.polls()
    run_id = manager.start_run(scope="full")
    event = manager._cancel_events[run_id]
    assert not event.is_set()
    manager.cancel_run(run_id=run_id)
    assert event.is_set()
    join(manager._thread)
    assert row(db_path, run_id)["status"] == "cancelled"


def test_it_stays_set_until_the_run_ends(manager: RunManager, pipeline: Pipeline, db_path: str) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    job = pipeline.wait_until_running()
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    assert manager._cancel_events[run_id].is_set()
    assert job.context.cancel_event.is_set()
    pipeline.release.set()
    join(manager._thread)
    assert run_id not in manager._cancel_events


def test_it_closes_the_executor_so_that_a_blocked_call_ends(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.asks_model()
    run_id = manager.start_run(scope="full")
    job = pipeline.wait_until_running()
    assert not job.executor.closed
    manager.cancel_run(run_id)
    assert job.executor.closed
    join(manager._thread)


def test_the_event_is_set_before_the_executor_is_closed(manager: RunManager, pipeline: Pipeline) -> None:
    """The call that fails because of it must already count as cancelled."""
    seen = []
    executor, event = MagicMock(), threading.Event()
    executor.close.side_effect = lambda: seen.append(event.is_set())
    manager._cancel_events[3] = event
    manager._executors[3] = executor
    manager.cancel_run(3)
    assert seen == [True]


def test_an_executor_put_there_is_closed(manager: RunManager) -> None:
    executor = MagicMock()
    manager._executors[3] = executor
    manager.cancel_run(3)
    executor.close.assert_called_once_with()


def test_the_executor_of_another_run_is_left_alone(manager: RunManager) -> None:
    executor = MagicMock()
    manager._executors[3] = executor
    manager._cancel_events[3] = threading.Event()
    manager.cancel_run(4)
    executor.close.assert_not_called()
    assert not manager._cancel_events[3].is_set()


def test_a_repeated_cancel_is_harmless(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.holds()
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    manager.cancel_run(run_id)
    manager.cancel_run(run_id)
    assert manager._cancel_events[run_id].is_set()


def test_close_is_called_outside_any_lock(manager: RunManager, pipeline: Pipeline) -> None:
    """A `close` that waits for a thread that uses the manager must not hang."""
    ended = []

    def use_everything() -> None:
        subscription = manager.register_subscriber(run_id)
        manager._broadcast_log(run_id, log(run_id, "from close"))
        manager.unregister_subscriber(run_id, subscription)
        with manager._cancel_events_lock:
            assert run_id in manager._cancel_events
        with manager._subscribers_lock:
            assert run_id not in manager._subscribers
        assert run_id in manager._executors
        with pytest.raises(RuntimeError, match="already running"):
            manager.start_run(scope="full")
        manager.cancel_run(1000)
        ended.append(True)

    def close() -> None:
        in_thread(use_everything).join(DEADLINE)

    pipeline.holds()
    run_id = manager.start_run(scope="full")
    job = pipeline.wait_until_running()
    job.executor.close = close  # type: ignore[method-assign]
    manager.cancel_run(run_id)
    assert ended == [True]
    job.executor.close = MagicMock()  # type: ignore[method-assign]


def test_what_close_raises_is_logged_and_not_raised(manager: RunManager, caplog: pytest.LogCaptureFixture) -> None:
    executor = MagicMock()
    executor.close.side_effect = OSError("connection reset while closing")
    event = threading.Event()
    manager._cancel_events[3] = event
    manager._executors[3] = executor
    manager.cancel_run(3)
    assert event.is_set()
    records = [record for record in caplog.records if record.name.startswith("genglossary_runs")]
    assert "connection reset while closing" in "".join(
        record.getMessage() + (record.exc_text or "") for record in records
    )


def test_an_unknown_run_is_nothing(manager: RunManager) -> None:
    manager.cancel_run(4711)
    assert len(manager._cancel_events) == 0
    assert 4711 not in manager._completed_runs


def test_a_finished_run_is_nothing(manager: RunManager, db_path: str) -> None:
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    manager.cancel_run(run_id)
    assert run_id not in manager._cancel_events
    assert row(db_path, run_id)["status"] == "completed"


def test_a_run_that_only_has_subscribers_is_nothing(manager: RunManager) -> None:
    subscription = manager.register_subscriber(5)
    manager.cancel_run(5)
    assert 5 not in manager._cancel_events
    assert subscription.empty()


def test_a_cancel_while_the_executor_is_made_is_not_lost(
    manager: RunManager, db_path: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = module.PipelineExecutor

    def make(**settings: object) -> object:
        manager.cancel_run(1)
        return made(**settings)

    monkeypatch.setattr(module, "PipelineExecutor", make)
    pipeline.does(Job.check_cancelled)
    manager.start_run(scope="full")
    join(manager._thread)
    assert row(db_path, 1)["status"] == "cancelled"


def test_a_cancel_at_any_moment_ends_the_run(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    """Also between the pipeline's look at the event and its call of the model, or while the executor is made."""

    def work(job: Job) -> None:
        job.check_cancelled()
        job.executor.ask_model(DEADLINE)

    pipeline.does(work)
    for number in range(30):
        before = len(pipeline.jobs)
        run_id = manager.start_run(scope="full")
        if number % 3 == 0:
            pipeline.wait_until_running(before + 1)
        manager.cancel_run(run_id)
        join(manager._thread)
        assert row(db_path, run_id)["status"] == "cancelled"
