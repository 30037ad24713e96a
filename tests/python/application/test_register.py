"""register_subscriber and unregister_subscriber, and the reading of rows."""

import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import genglossary.runs.manager as module
import pytest
from genglossary.db import runs_repository
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager

from .support import (
    DEADLINE,
    Pipeline,
    add_run,
    broken,
    broken_connection,
    drain,
    in_thread,
    join,
    log,
    read_to_end,
    row,
    set_status,
    terminal,
    texts,
    wait_for,
)

MakeManager = Callable[..., RunManager]


# Before the run starts


def test_a_subscriber_from_before_the_start_receives_all_of_it(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.says(*(f"line {number}" for number in range(500)))
    subscription = manager.register_subscriber(1)
    manager.start_run(scope="full")
    join(manager._thread)
    assert read_to_end(subscription) == [*(log(1, f"line {n}") for n in range(500)), terminal(1, "completed")]


def test_a_subscriber_that_reads_along_receives_all_of_a_long_run(manager: RunManager, pipeline: Pipeline) -> None:
    """More than the log of a run holds; the pipeline waits for its reader now and then, so nothing is evicted."""
    subscription = manager.register_subscriber(1)
    read: list[dict[str, Any]] = []

    def read_along() -> None:
        while not (read and read[-1].get("complete")):
            read.append(subscription.get(timeout=DEADLINE))

    def work(job: Job) -> None:
        for number in range(3000):
            job.log(f"line {number}")
            if number % 300 == 299:
                wait_for(lambda number=number: len(read) > number, "the reader")

    pipeline.does(work)
    reader = in_thread(read_along)
    manager.start_run(scope="full")
    join(manager._thread)
    join(reader)
    assert texts(read) == [f"line {number}" for number in range(3000)]
    assert read[-1] == terminal(1, "completed")


def test_one_that_fell_behind_gets_one_warning_that_names_the_gap(manager: RunManager, pipeline: Pipeline) -> None:
    count = 2500
    pipeline.says(*(f"line {number}" for number in range(count)))
    subscription = manager.register_subscriber(1)
    manager.start_run(scope="full")
    join(manager._thread)
    gap, *logs, last = read_to_end(subscription)
    missed = gap["gap"]["missed"]
    assert gap["run_id"] == 1
    assert gap["level"] == "warning"
    assert gap["message"] == f"{missed} log messages were dropped"
    assert set(gap["gap"]) == {"from", "to", "missed"}
    assert missed > 0
    assert missed + len(logs) == count
    assert texts(logs) == [f"line {number}" for number in range(missed, count)]
    assert [event for event in logs if "gap" in event] == []
    assert last == terminal(1, "completed")


# During the run


def test_a_subscriber_sees_new_messages_only(manager: RunManager, pipeline: Pipeline) -> None:
    go_on = threading.Event()

    def work(job: Job) -> None:
        job.log("before")
        pipeline.release.set()
        assert go_on.wait(DEADLINE)
        job.log("after")

    pipeline.does(work)
    run_id = manager.start_run(scope="full")
    assert pipeline.release.wait(DEADLINE)
    subscription = manager.register_subscriber(run_id)
    go_on.set()
    assert read_to_end(subscription) == [log(run_id, "after"), terminal(run_id, "completed")]


def test_it_sees_older_ones_when_it_asks(manager: RunManager) -> None:
    first = manager.register_subscriber(1)
    manager._broadcast_log(1, log(1, "one"))
    manager._broadcast_log(1, log(1, "two"))
    assert texts([first.get_nowait()]) == ["one"]
    assert texts(drain(manager.register_subscriber(1, after="0"))) == ["one", "two"]
    assert texts(drain(manager.register_subscriber(1, after=first.last_event_id))) == ["two"]
    assert drain(manager.register_subscriber(1, after=None)) == []
    manager._broadcast_log(1, log(1, "three"))
    assert texts(drain(manager.register_subscriber(run_id=1, after=first.last_event_id))) == ["two", "three"]


def test_every_subscriber_gets_the_same_in_the_same_order_and_nothing_of_another_run(manager: RunManager) -> None:
    """Four threads publish to two runs."""
    subscriptions = {run_id: [manager.register_subscriber(run_id) for _ in range(5)] for run_id in (1, 2)}

    def publish(run_id: int, name: str) -> None:
        for number in range(100):
            manager._broadcast_log(run_id, log(run_id, f"{name}{number}"))

    for thread in [in_thread(publish, run_id, name) for run_id in (1, 2) for name in "ab"]:
        join(thread)
    for run_id, readers in subscriptions.items():
        received = [drain(reader) for reader in readers]
        assert all(events == received[0] for events in received)
        assert {event["run_id"] for event in received[0]} == {run_id}
        for name in "ab":
            of_one = [text for text in texts(received[0]) if text.startswith(name)]
            assert of_one == [f"{name}{number}" for number in range(100)]


# After the run


def test_after_the_run_the_terminal_event_comes_at_once(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.says("before")
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    for _ in range(3):
        subscription = manager.register_subscriber(run_id)
        assert not subscription.empty()
        assert drain(subscription) == [terminal(run_id, "completed")]


def test_after_the_run_older_messages_come_when_asked_for(manager: RunManager, pipeline: Pipeline) -> None:
    pipeline.says("one", "two")
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    events = drain(manager.register_subscriber(run_id, after="0"))
    assert events == [log(run_id, "one"), log(run_id, "two"), terminal(run_id, "completed")]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("after", [None, "0", "17-3", "nonsense"])
def test_a_run_this_process_never_saw_is_answered_by_its_row(
    manager: RunManager, db_path: str, status: str, after: str | None
) -> None:
    run_id = add_run(db_path, status)
    assert drain(manager.register_subscriber(run_id, after=after)) == [terminal(run_id, status)]


def test_a_run_that_retention_has_let_go_is_answered_by_its_row(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    pipeline.raises(ValueError("boom"))
    run_id = manager.start_run(scope="full")
    join(manager._thread)
    for other in range(1000, 1500):
        manager._cleanup_run_resources(other)
    assert run_id not in manager._completed_runs
    assert drain(manager.register_subscriber(run_id)) == [terminal(run_id, "failed")]


@pytest.mark.parametrize("status", ["pending", "running"])
def test_an_unfinished_row_of_another_process_is_waited_for(manager: RunManager, db_path: str, status: str) -> None:
    run_id = add_run(db_path, status)
    subscription = manager.register_subscriber(run_id)
    assert subscription.empty()
    assert run_id in manager._subscribers


def test_a_run_that_is_live_here_wins_over_a_finished_row(
    manager: RunManager, db_path: str, pipeline: Pipeline
) -> None:
    """DELETE sets the row before the run has stopped."""

    def work(job: Job) -> None:
        assert pipeline.release.wait(DEADLINE)
        job.log("still stopping")

    pipeline.does(work)
    run_id = manager.start_run(scope="full")
    pipeline.wait_until_running()
    manager.cancel_run(run_id)
    set_status(db_path, run_id, "cancelled")
    subscription = manager.register_subscriber(run_id)
    assert subscription.empty()
    pipeline.release.set()
    events = read_to_end(subscription)
    assert events[0] == log(run_id, "still stopping")
    assert events[-1] == terminal(run_id, "cancelled")


@pytest.mark.parametrize("broken_part", ["get_run", "database_connection"])
def test_a_row_that_cannot_be_read_counts_as_unfinished(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch, broken_part: str
) -> None:
    run_id = add_run(db_path, "completed")
    replacement = (
        broken_connection
        if broken_part == "database_connection"
        else broken(sqlite3.OperationalError("disk I/O error"))
    )
    monkeypatch.setattr(module, broken_part, replacement)
    subscription = manager.register_subscriber(run_id)
    assert subscription.empty()
    manager._broadcast_log(run_id, log(run_id, "still of use"))
    assert texts(drain(subscription)) == ["still of use"]


def test_a_database_that_is_not_there_counts_as_unfinished(make_manager: MakeManager, tmp_path: Any) -> None:
    manager = make_manager(str(tmp_path / "empty.db"))
    assert manager.register_subscriber(1).empty()


# Registration and the end, however they race


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("status", ["running", "cancelled", "completed"])
@pytest.mark.parametrize("moment", ["before the row is read", "after the row is read"])
def test_a_run_that_finishes_during_registration_is_heard_once(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch, live: bool, status: str, moment: str
) -> None:
    run_id = add_run(db_path, status)
    if live:
        manager._cancel_events[run_id] = threading.Event()
    finished = []

    def finish() -> None:
        if not finished:
            finished.append(True)
            manager._cleanup_run_resources(run_id, db_status="completed")

    def get_run(conn: sqlite3.Connection, run_id: int) -> sqlite3.Row | None:
        if moment == "before the row is read":
            finish()
        found = runs_repository.get_run(conn, run_id)
        finish()
        return found

    monkeypatch.setattr(module, "get_run", get_run)
    subscription = manager.register_subscriber(run_id)
    finish()
    events = drain(subscription)
    assert len(events) == 1
    assert events[0]["complete"] is True
    assert drain(subscription) == []


def test_of_many_that_register_while_a_run_finishes_each_hears_the_end_once(manager: RunManager) -> None:
    heard: list[list[dict[str, Any]]] = []
    for run_id in range(1, 201):
        barrier = threading.Barrier(4)

        def register(run_id: int = run_id, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(DEADLINE)
            heard.append(read_to_end(manager.register_subscriber(run_id)))

        threads = [in_thread(register) for _ in range(3)]
        barrier.wait(DEADLINE)
        manager._cleanup_run_resources(run_id, db_status="completed")
        for thread in threads:
            join(thread)
    assert len(heard) == 600
    assert all(events == [terminal(events[0]["run_id"], "completed")] for events in heard)


def test_the_same_with_real_runs(manager: RunManager, db_path: str, pipeline: Pipeline) -> None:
    """The subscribers' threads register before, during and after the run."""
    pipeline.says("only line")
    for _ in range(20):
        run_id = add_run(db_path)
        heard: list[list[dict[str, Any]]] = []
        barrier = threading.Barrier(4)

        def register(run_id: int = run_id, heard: list[Any] = heard, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(DEADLINE)
            while not heard:
                heard.append(read_to_end(manager.register_subscriber(run_id)))
            for _ in range(3):
                heard.append(read_to_end(manager.register_subscriber(run_id)))

        threads = [in_thread(register) for _ in range(3)]
        barrier.wait(DEADLINE)
        manager._execute_run(run_id, "full")
        for thread in threads:
            join(thread)
        for events in heard:
            assert events[-1] == terminal(run_id, "completed")
            assert texts(events) in (["only line"], [])


# Unregistering


def test_an_unregistered_subscriber_has_and_receives_nothing_more(manager: RunManager) -> None:
    subscription = manager.register_subscriber(run_id=1)
    manager._broadcast_log(1, log(1, "unread"))
    subscription.put_nowait(log(1, "its own"))
    manager.unregister_subscriber(run_id=1, queue=subscription)
    assert 1 not in manager._subscribers
    manager._broadcast_log(1, log(1, "later"))
    manager._cleanup_run_resources(1)
    assert subscription.empty()
    assert subscription.qsize() == 0
    with pytest.raises(queue.Empty):
        subscription.get_nowait()
    with pytest.raises(queue.Empty):
        subscription.get(timeout=0.01)


def test_a_blocked_get_ends_when_it_is_unregistered(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    about_to_wait = threading.Event()
    ended = []

    def read() -> None:
        about_to_wait.set()
        try:
            subscription.get()
        except queue.Empty:
            ended.append(True)

    thread = in_thread(read)
    assert about_to_wait.wait(DEADLINE)
    manager.unregister_subscriber(1, subscription)
    join(thread)
    assert ended == [True]


def test_the_others_stay(manager: RunManager) -> None:
    gone, stays = manager.register_subscriber(1), manager.register_subscriber(1)
    manager.unregister_subscriber(1, gone)
    assert 1 in manager._subscribers
    manager._broadcast_log(1, log(1, "to the other"))
    assert texts(drain(stays)) == ["to the other"]


def test_unregistering_again_is_ignored(manager: RunManager) -> None:
    subscription = manager.register_subscriber(1)
    for _ in range(3):
        manager.unregister_subscriber(1, subscription)
    manager._cleanup_run_resources(1)
    manager.unregister_subscriber(1, subscription)
    assert 1 not in manager._subscribers


@pytest.mark.parametrize(
    "foreign", [None, object(), "text", 1, queue.Queue(), []], ids=lambda foreign: type(foreign).__name__
)
def test_foreign_objects_are_ignored(manager: RunManager, foreign: Any) -> None:
    subscription = manager.register_subscriber(1)
    manager.unregister_subscriber(1, foreign)
    manager.unregister_subscriber(2, foreign)
    manager._broadcast_log(1, log(1, "still there"))
    assert texts(drain(subscription)) == ["still there"]


def test_a_subscriber_is_unknown_to_another_run_and_to_another_manager(
    manager: RunManager, make_manager: MakeManager
) -> None:
    subscription = manager.register_subscriber(1)
    manager.unregister_subscriber(2, subscription)
    make_manager().unregister_subscriber(1, subscription)
    assert 1 in manager._subscribers
    manager._broadcast_log(1, log(1, "still there"))
    assert texts(drain(subscription)) == ["still there"]


# Reading rows


def test_get_run(manager: RunManager, db_path: str) -> None:
    run_id = add_run(db_path, "completed")
    found = manager.get_run(run_id)
    assert isinstance(found, sqlite3.Row)
    assert dict(found) == row(db_path, run_id)
    assert manager.get_run(run_id=run_id + 1) is None


@pytest.mark.parametrize("status", ["pending", "running"])
def test_get_active_run(manager: RunManager, db_path: str, status: str) -> None:
    assert manager.get_active_run() is None
    add_run(db_path, "completed")
    assert manager.get_active_run() is None
    run_id = add_run(db_path, status)
    add_run(db_path, "cancelled")
    found = manager.get_active_run()
    assert found is not None
    assert dict(found) == row(db_path, run_id)


def test_get_current_or_latest_run(manager: RunManager, db_path: str) -> None:
    assert manager.get_current_or_latest_run() is None
    add_run(db_path, "completed")
    latest = add_run(db_path, "failed")
    found = manager.get_current_or_latest_run()
    assert found is not None
    assert found["id"] == latest
    active = add_run(db_path, "running")
    add_run(db_path, "failed")
    found = manager.get_current_or_latest_run()
    assert found is not None
    assert dict(found) == row(db_path, active)


@pytest.mark.parametrize("name", ["get_active_run", "get_current_or_latest_run", "get_run"])
def test_the_functions_that_read_rows_are_looked_up_in_the_module(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = {"id": 12, "status": "running"}
    monkeypatch.setattr(module, name, lambda conn, *args: found)
    arguments = [12] if name == "get_run" else []
    assert getattr(manager, name)(*arguments) is found
