"""With a store beside the database, messages are read in any process, and after the end of all of them."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import genglossary.runs.manager as manager_module
import genglossary_runs.application.recovery as recovery
import pytest
from application.support import DEADLINE, join, read_to_end, row, set_status, terminal, texts, wait_for
from genglossary.db.connection import database_connection, immediate_transaction
from genglossary.runs.executor import Job, PipelineExecutor
from genglossary.runs.manager import RunManager
from genglossary_runs import StoreError, Subscription

from .support import Held, Worker, finish, hold_until_cancelled, ping, start, start_and_wait, store_terms

ELSEWHERE = "This run is executed by another process: its messages are not shown here, but its end is."


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Managers that are made in this process have a store."""
    monkeypatch.setattr(RunManager, "STORE", True)


@pytest.fixture
def make_owner(fork_server: None, db_path: str) -> Iterator[Callable[[], Worker]]:
    """Makes processes that serve the project with a store."""
    workers: list[Worker] = []

    def make() -> Worker:
        workers.append(Worker(db_path, 0.05, stored=True))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def owner(make_owner: Callable[[], Worker]) -> Worker:
    """The process that runs the project's runs."""
    return make_owner()


class Served:
    """The manager of a worker."""

    manager: RunManager


def say_much(job: Job) -> None:
    """Log more than a run's log holds, no faster than it is stored, then wait for `finish`."""
    for number in range(3 * RunManager.MAX_LOG_QUEUE_SIZE):
        job.log(f"line {number}")
        if number % 500 == 499:
            wait_for(lambda: Served.manager.stats()["store"]["events_stored"] > number, "the store")  # noqa: B023
    Held.began.set()
    assert Held.released.wait(DEADLINE)


def ask_model(job: Job) -> None:
    """Wait for the model, without a look at the cancel event."""
    Held.began.set()
    job.executor.ask_model(DEADLINE)


def started(manager: RunManager, work: Callable[[Job], None]) -> int:
    Served.manager = manager
    return start_and_wait(manager, work)


def messages(subscription: Subscription) -> list[str]:
    """Everything to the end, as a page shows it."""
    return texts(read_to_end(subscription))


def test_a_log_view_on_another_worker_is_live(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    view = manager.register_subscriber(run_id, after="0")
    assert view.get(timeout=DEADLINE)["message"] == "begun"
    owner.call(finish)
    assert view.get(timeout=DEADLINE) == terminal(run_id, "completed")


def test_after_a_restart_the_whole_log_can_be_asked_for(
    make_owner: Callable[[], Worker], make_manager: Callable[..., RunManager]
) -> None:
    first = make_owner()
    run_id = first.call(started, say_much)
    first.call(finish)
    wait_for(lambda: not first.call(RunManager.is_kept, run_id), "the end of the run in the store")
    first.kill()
    manager = make_manager()
    view = manager.register_subscriber(run_id, after="0")
    assert messages(view) == [f"line {number}" for number in range(3 * RunManager.MAX_LOG_QUEUE_SIZE)]
    resumed = manager.register_subscriber(run_id, after=view.last_event_id.split("-")[0] + "-2998")
    assert messages(resumed) == ["line 2998", "line 2999"]
    # Without `after` it is new messages only, as ever.
    assert read_to_end(manager.register_subscriber(run_id)) == [terminal(run_id, "completed")]


def test_the_page_of_another_worker_resumes_where_the_first_stopped(
    owner: Worker, manager: RunManager, make_manager: Callable[..., RunManager]
) -> None:
    run_id = owner.call(started, say_much)
    view = manager.register_subscriber(run_id, after="0")
    read = [view.get(timeout=DEADLINE) for _ in range(1500)]
    again = make_manager().register_subscriber(run_id, after=view.last_event_id)
    owner.call(finish)
    assert texts(read) + messages(again) == [f"line {number}" for number in range(3000)]


def test_a_killed_owner(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    view = manager.register_subscriber(run_id, after="0")
    assert view.get(timeout=DEADLINE)["message"] == "begun"
    owner.kill()
    assert view.get(timeout=DEADLINE) == terminal(run_id, "failed")
    assert row(manager.db_path, run_id)["error_message"] == "Interrupted: the process that ran it ended"
    # So it is for one that comes later, under the same id.
    late = manager.register_subscriber(run_id, after="0")
    assert read_to_end(late)[-1] == terminal(run_id, "failed")
    assert late.last_event_id == view.last_event_id


def record_and_die(manager: RunManager) -> None:
    """Let the pipeline succeed, and be killed once the row says so, before readers are told."""

    def die(*args: Any) -> None:
        os.kill(os.getpid(), 9)

    manager._cleanup_run_resources = die  # type: ignore[method-assign]
    Held.released.set()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_owner_that_died_between_the_row_and_the_store_is_not_called_interrupted(
    owner: Worker, manager: RunManager, make_manager: Callable[..., RunManager], moment: str
) -> None:
    run_id = owner.call(start_and_wait)
    view = manager.register_subscriber(run_id, after="0") if moment == "before" else None
    owner.ask(record_and_die)
    owner.wait_until_dead()
    views = [
        view or manager.register_subscriber(run_id, after="0"),
        make_manager().register_subscriber(run_id, after="0"),
    ]
    ends = []
    for each in views:
        assert read_to_end(each)[-1] == terminal(run_id, "completed")
        ends.append(each.last_event_id)
    assert ends[0] == ends[1], manager.run_record(run_id)
    assert row(manager.db_path, run_id)["status"] == "completed"
    # A page that has the end is told nothing twice.
    assert manager.register_subscriber(run_id, after=ends[0]).ended


def test_a_cancel_that_comes_through_the_store_ends_a_blocked_call(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(started, ask_model)
    assert manager.cancel_run(run_id)
    assert read_to_end(manager.register_subscriber(run_id))[-1] == terminal(run_id, "cancelled")


def test_a_cancelled_row_whose_pipeline_does_not_stop(
    owner: Worker, manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers elsewhere wait a while for the owner's word, and are then told what the row says."""
    monkeypatch.setattr(recovery, "LATE", 0.2)
    run_id = owner.call(started, say_much)
    view = manager.register_subscriber(run_id, after="0")
    set_status(manager.db_path, run_id, "cancelled")
    events = read_to_end(view)
    assert len(events) == 3001
    assert events[-1] == terminal(run_id, "cancelled")
    fence = view.last_event_id.split("-")[0]
    assert fence != manager.run_record(run_id)["fence"]
    owner.call(finish)


def test_a_start_that_was_taken_back_was_never_in_the_store(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = manager.register_subscriber(1)

    def fails(*args: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(manager, "is_active", fails)
        with pytest.raises(OSError, match="no space"):
            manager.start_run(scope="full")
    assert manager.run_record(1) is None
    # Whoever waits for the id gets the run that is given it next.
    assert manager.start_run(scope="full") == 1
    assert messages(waiting)[0] == "stored"


def test_readers_that_waited_elsewhere_get_a_run_from_its_start(owner: Worker, manager: RunManager) -> None:
    view = manager.register_subscriber(1)
    assert owner.call(start, store_terms) == 1
    assert messages(view) == ["stored", "stored, not committed"]


def test_publishing_to_a_run_that_only_has_readers_stays_here(owner: Worker, manager: RunManager) -> None:
    view = manager.register_subscriber(7)
    manager._broadcast_log(7, {"run_id": 7, "level": "info", "message": "to whom it may concern"})
    assert view.get(timeout=DEADLINE)["message"] == "to whom it may concern"
    assert manager.run_record(7) is None


def test_a_cancel_event_that_was_put_there_is_the_one_of_the_run(manager: RunManager) -> None:
    event = manager._cancel_events[1] = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PipelineExecutor, "work", staticmethod(hold_until_cancelled))
        assert manager.start_run(scope="full") == 1
        wait_for(lambda: manager._cancel_events[1] is event, "the run")
        manager.cancel_run(1)
        join(manager._thread)
    assert event.is_set()
    assert row(manager.db_path, 1)["status"] == "cancelled"


def test_the_file_can_be_deleted_at_the_cost_of_history(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    for suffix in ("", "-wal", "-shm"):
        os.remove(f"{manager.db_path}.run-events{suffix}")
    view = manager.register_subscriber(run_id)
    owner.call(finish)
    assert read_to_end(view)[-1] == terminal(run_id, "completed")
    assert row(manager.db_path, run_id)["status"] == "completed"
    assert owner.call(start, store_terms) == run_id + 1
    assert read_to_end(manager.register_subscriber(run_id + 1, after="0"))[-1] == terminal(run_id + 1, "completed")


def test_a_store_that_cannot_be_used_is_none(
    make_manager: Callable[..., RunManager], db_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkdir(f"{db_path}.run-events")
    manager = make_manager()
    assert manager.store is None
    assert "kept in memory only" in caplog.text
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    assert row(db_path, run_id)["status"] == "completed"


def test_a_store_that_fails_later_keeps_no_run_from_being_started_read_and_cancelled(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"{manager.db_path}.run-events"
    for suffix in ("", "-wal", "-shm"):
        os.remove(path + suffix)
    os.mkdir(path)
    with pytest.raises(StoreError):
        manager.run_record(1)
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(hold_until_cancelled))
    run_id = manager.start_run(scope="full")
    view = manager.register_subscriber(run_id, after="0")
    assert not manager.cancel_run(99)
    assert manager.cancel_run(run_id)
    assert read_to_end(view) == [terminal(run_id, "cancelled")]
    assert "kept in memory only" in caplog.text


def test_the_start_holds_no_lock_of_the_database_while_it_waits_for_the_store(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = []

    def keep(run_id: int) -> bool:
        with database_connection(manager.db_path) as conn, immediate_transaction(conn):
            statuses.append(manager_module.get_run(conn, run_id)["status"])
        return False

    monkeypatch.setattr(manager, "keep_run", keep)
    manager.start_run(scope="full")
    join(manager._thread)
    assert statuses == ["pending"]


@pytest.mark.parametrize(("variable", "stored"), [("1", True), ("0", False), ("", False)])
def test_the_environment_switches_it_on(
    make_manager: Callable[..., RunManager], monkeypatch: pytest.MonkeyPatch, variable: str, stored: bool
) -> None:
    monkeypatch.setattr(RunManager, "STORE", False)
    monkeypatch.setenv("GENGLOSSARY_RUNS_STORE", variable)
    manager = make_manager()
    assert (manager.store is not None) == stored
    assert os.path.exists(f"{manager.db_path}.run-events") == stored


def test_the_owner_of_another_run_is_not_asked(owner: Worker, manager: RunManager) -> None:
    """A run that its owner could not store is followed by its row alone, as without a store."""
    assert owner.call(ping) == "pong"
    run_id = owner.call(start_without_store)
    view = manager.register_subscriber(run_id)
    assert view.get(timeout=DEADLINE)["message"] == ELSEWHERE
    owner.call(finish)
    assert read_to_end(view) == [terminal(run_id, "completed")]


def start_without_store(manager: RunManager) -> int:
    def fails(run_id: int) -> bool:
        raise StoreError("the disk is full")

    manager.keep_run = fails  # type: ignore[method-assign]
    return start_and_wait(manager)


async def test_no_event_loop_waits_for_the_store(owner: Worker, manager: RunManager) -> None:
    run_id = owner.call(start_and_wait)
    view = await manager.asubscribe(run_id, "0")
    assert (await view.aget(timeout=DEADLINE))["message"] == "begun"
    owner.call(finish)
    assert await view.aget(timeout=DEADLINE) == terminal(run_id, "completed")
    assert (await manager.asubscribe(run_id)).get_nowait() == terminal(run_id, "completed")
