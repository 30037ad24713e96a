"""A cancel that lands on another process than the run's."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import genglossary.runs.manager as manager_module
import httpx
import pytest
from application.support import join, row, set_status, terminal, wait_for
from fastapi import FastAPI
from genglossary.api import Project, create_app
from genglossary.db.connection import database_connection, transaction
from genglossary.db.runs_repository import update_run_status_if_active
from genglossary.runs.executor import Job, PipelineExecutor
from genglossary.runs.manager import RunManager

from .support import (
    Held,
    Worker,
    assert_each_ended_once,
    finish,
    history,
    hold,
    hold_until_cancelled,
    rows,
    start,
    start_and_wait,
    terminal_events,
)


class Seen:
    """What the pipeline of a worker saw of its cancel."""

    at: float | None = None
    closes = 0
    close = PipelineExecutor.close


def note_cancel(job: Job) -> None:
    """Note when the cancel is seen; take no notice of it until released."""
    Seen.at, Seen.closes = None, 0
    Held.began.set()
    wait_for(job.context.cancel_event.is_set, "the cancel")
    Seen.at = time.monotonic()
    hold(job)
    job.check_cancelled()


def count_close(executor: PipelineExecutor) -> None:
    Seen.closes += 1
    Seen.close(executor)


def start_and_note(manager: RunManager) -> int:
    PipelineExecutor.close = count_close
    return start_and_wait(manager, note_cancel)


def cancel_seen(manager: RunManager) -> tuple[float | None, int]:
    """When it was seen, and how often the executor was closed."""
    return Seen.at, Seen.closes


def ask_model(job: Job) -> None:
    """Wait for the model, without a look at the cancel event."""
    Held.began.set()
    job.executor.ask_model()


class EndAt:
    """A pipeline that succeeds at a moment of the clock that all processes share, unless it sees a cancel before."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __call__(self, job: Job) -> None:
        while time.monotonic() < self._moment:
            job.check_cancelled()


def cancel(manager: RunManager, run_id: int) -> bool:
    """What the DELETE route does."""
    found = manager.cancel_run(run_id)
    with database_connection(manager.db_path) as conn, transaction(conn):
        update_run_status_if_active(conn, run_id, "cancelled")
    return found


def read(manager: RunManager, run_id: int) -> list[dict[str, Any]]:
    """The terminal event, and those after it, for a reader in the owner."""
    return terminal_events(manager.register_subscriber(run_id))


@pytest.fixture
def app(db_path: str) -> FastAPI:
    """The application, in this process."""
    return create_app({"books": Project(db_path)})


def delete(app: FastAPI, run_id: int) -> None:
    """What the user does to cancel."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://application") as client:
            return await client.delete(f"/projects/books/runs/{run_id}")

    assert asyncio.run(request()).json()["status"] == "cancelled"


def test_the_pipeline_sees_it_within_a_second(make_worker: Callable[..., Worker], app: FastAPI, db_path: str) -> None:
    """With the interval that the application has. One of three must do, as the machine may be busy."""
    owner = make_worker(watch_interval=0.5)
    delays: list[float] = []
    while len(delays) < 3 and not (delays and delays[-1] < 1.0):
        run_id = owner.call(start_and_note)
        delete(app, run_id)
        cancelled = time.monotonic()
        wait_for(lambda: owner.call(cancel_seen)[0], "the cancel in the other process")
        delays.append(owner.call(cancel_seen)[0] - cancelled)
        owner.call(finish)
        assert history(db_path, run_id)[-1] == "cancelled"
    assert min(delays) < 1.0
    assert_each_ended_once(db_path)


def test_the_executor_is_closed_once(owner: Worker, db_path: str) -> None:
    run_id = owner.call(start_and_note)
    set_status(db_path, run_id, "cancelled")
    wait_for(lambda: owner.call(cancel_seen)[0], "the cancel in the other process")
    # As many looks as there are in ten intervals.
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert owner.call(cancel_seen)[1] <= 1
    owner.call(finish)
    assert owner.call(cancel_seen)[1] == 2, "by the cancel, and at the end of the run as always"


def test_a_call_to_the_model_ends(owner: Worker, db_path: str) -> None:
    run_id = owner.call(start_and_wait, ask_model)
    set_status(db_path, run_id, "cancelled")
    assert [event["db_status"] for event in owner.call(read, run_id)] == ["cancelled"]
    assert row(db_path, run_id)["error_message"] is None


def test_no_start_until_it_has_stopped(
    owner: Worker, manager: RunManager, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For ever: it must not wait at all.
    monkeypatch.setattr(manager_module, "HANDOVER", math.inf)
    run_id = owner.call(start_and_wait, hold)
    delete(app, run_id)
    with pytest.raises(RuntimeError, match=rf"^Run already running: {run_id} \(cancelled, still stopping\)$"):
        manager.start_run(scope="full")
    owner.call(finish)
    assert manager.start_run(scope="full") == run_id + 1
    join(manager._thread)
    assert history(manager.db_path, run_id) == ["pending", "running", "cancelled"]


def test_a_cancelled_owner_that_dies_keeps_nobody_out(
    make_worker: Callable[..., Worker], manager: RunManager, app: FastAPI
) -> None:
    owner = make_worker()
    run_id = owner.call(start_and_wait, hold)
    delete(app, run_id)
    owner.kill()
    assert manager.start_run(scope="full") == run_id + 1
    join(manager._thread)
    assert [row["status"] for row in rows(manager.db_path)] == ["cancelled", "completed"]


def test_a_cancel_that_races_the_completion_leaves_one_outcome(
    make_worker: Callable[..., Worker], manager: RunManager, db_path: str
) -> None:
    owner = make_worker(watch_interval=0.002)
    outcomes = []
    # Seconds by which the cancel comes before the end of the pipeline; after a cancel that won it comes later.
    lead, step = 0.0, 0.003
    for _ in range(50):
        run_id = owner.call(start, EndAt(time.monotonic() + max(0.0, lead)))
        here = manager.register_subscriber(run_id)
        owner.ask(read, run_id)
        time.sleep(max(0.0, -lead))
        cancel(manager, run_id)
        (told,) = owner.answer()
        assert told == terminal(run_id, row(db_path, run_id)["status"])
        assert terminal_events(here) == [told]
        owner.call(finish)
        assert row(db_path, run_id)["status"] == told["db_status"]
        # How long a cancel takes is the machine's: a step is longer after one in the same direction.
        step = step * 2 if told["db_status"] in outcomes[-1:] else 0.003
        outcomes.append(told["db_status"])
        lead += -step if told["db_status"] == "cancelled" else step
    assert set(outcomes) == {"completed", "cancelled"}, "it was no race"
    assert_each_ended_once(db_path)


def test_many_cancels_are_one(make_worker: Callable[..., Worker], owner: Worker, db_path: str) -> None:
    """Every other process sets the row, and the owner is told, too."""
    run_id = owner.call(start_and_wait, hold_until_cancelled)
    others = [make_worker() for _ in range(3)]
    for other in others:
        other.ask(cancel, run_id)
    owner.call(RunManager.cancel_run, run_id)
    for other in others:
        assert other.answer() is False, "there is nothing to cancel in this process"
    owner.call(finish)
    assert history(db_path, run_id) == ["pending", "running", "cancelled"]
