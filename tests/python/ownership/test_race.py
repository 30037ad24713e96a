"""Eight processes start the same project at once: exactly one wins."""

import json
import os
import time
from collections.abc import Callable, Mapping

import genglossary.runs.manager as manager_module
import pytest
from application.support import DEADLINE, add_run, broken, in_thread, join, wait_for
from genglossary.runs.manager import RunManager
from genglossary_runs._core import OwnerLock
from genglossary_runs.application.outcome import Outcome

from .support import (
    Worker,
    assert_each_ended_once,
    history,
    hold,
    is_active,
    latest_status,
    lock_file,
    ping,
    release,
    rows,
    start,
    wait_until_finished,
)

WORKERS = 8
ROUNDS = 200
# The winner of every so many rounds is killed, and the next round begins with what it left.
KILL_EVERY = 8


def start_at(manager: RunManager, moment: float) -> int:
    """Start at this moment of the clock that all processes share."""
    time.sleep(max(0.0, moment - time.monotonic()))
    return start(manager, hold)


def race(workers: list[Worker], when: Callable[[int], float]) -> Worker:
    """Have all of them start; the one that won."""
    now = time.monotonic()
    for number, worker in enumerate(workers):
        worker.ask(start_at, now + when(number))
    winners = []
    for worker in workers:
        try:
            worker.answer()
            winners.append(worker)
        except RuntimeError as refused:
            if not str(refused).startswith("Run already running: "):
                raise
    assert len(winners) == 1
    return winners[0]


@pytest.mark.parametrize(
    "when",
    [pytest.param(lambda number: 0.004, id="at once"), pytest.param(lambda number: number * 0.002, id="one by one")],
)
def test_exactly_one_wins(make_worker: Callable[..., Worker], db_path: str, when: Callable[[int], float]) -> None:
    workers = [make_worker() for _ in range(WORKERS)]
    for worker in workers:
        worker.call(ping)
    for number in range(1, ROUNDS // 2 + 1):
        winner = race(workers, when)
        *earlier, newest = rows(db_path)
        assert len(earlier) == number - 1
        assert newest["id"] == number
        # A loser would have marked it by now.
        assert history(db_path, number) in (["pending"], ["pending", "running"])
        if number % KILL_EVERY == 0:
            winner.kill()
            workers[workers.index(winner)] = make_worker()
            assert is_active(db_path)
        else:
            # The next round begins while this winner may still be letting go.
            winner.call(release)
            wait_until_finished(db_path)
    assert workers[0].call(latest_status) in ("completed", "failed")
    assert_each_ended_once(db_path)
    outcomes = [row["status"] for row in rows(db_path)]
    assert outcomes == ["failed" if number % KILL_EVERY == 0 else "completed" for number in range(1, ROUNDS // 2 + 1)]


def other_owner(db_path: str) -> OwnerLock:
    """What stands for another process that is about to start a run, or to give up."""
    lock = OwnerLock.acquire(lock_file(db_path))
    assert lock is not None
    return lock


def test_another_process_is_about_to_start(manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = other_owner(db_path)
    monkeypatch.setattr(manager_module, "HANDOVER", 0.1)
    with pytest.raises(RuntimeError, match="another process is about to start one"):
        manager.start_run(scope="full")
    assert rows(db_path) == []
    other.remove()
    assert manager.start_run(scope="full") == 1


def test_another_process_gives_up(manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = other_owner(db_path)
    monkeypatch.setattr(manager_module, "HANDOVER", DEADLINE)
    asked = []
    run_elsewhere = manager._ownership.run_elsewhere

    def ask() -> int | None:
        asked.append(True)
        return run_elsewhere()

    monkeypatch.setattr(manager._ownership, "run_elsewhere", ask)
    thread = in_thread(lambda: manager.start_run(scope="full"))
    wait_for(lambda: asked, "the start to meet the other")
    other.remove()
    join(thread)
    join(manager._thread)
    assert [row["status"] for row in rows(db_path)] == ["completed"]


def die(db_path: str, *runs: int) -> None:
    """As an owner of these runs."""
    lock = other_owner(db_path)
    lock.describe(json.dumps({"runs": runs}))
    lock.release()


def test_what_dies_while_another_is_recorded_is_not_forgotten(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the record and the answer another process has started a run, and died: nobody else tells of it."""
    add_run(db_path, "running")
    die(db_path, 1)

    def meanwhile(outcomes: Mapping[int, Outcome], recorded: list[int]) -> None:
        assert recorded == [1]
        add_run(db_path, "running")
        die(db_path, 2, 1)

    with monkeypatch.context() as patched:
        patched.setattr(manager._recovery, "announce", meanwhile)
        manager.get_active_run()
    assert manager.start_run(scope="full") == 3
    join(manager._thread)
    assert [row["status"] for row in rows(db_path)] == ["failed", "failed", "completed"]


def test_a_start_that_is_interrupted_after_its_commit_blocks_nothing(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(manager._recovery, "announce", broken(KeyboardInterrupt()))
        manager.start_run(scope="full")
    assert [row["status"] for row in rows(db_path)] == ["pending"]
    assert manager.active_runs() == []
    assert manager.start_run(scope="full") == 2
    join(manager._thread)
    assert [row["status"] for row in rows(db_path)] == ["failed", "completed"]


def test_a_completed_run_after_a_cancelled_one_that_died_refuses_nothing(
    manager: RunManager, db_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner that is about to release the lock names both, and only its own counts."""
    monkeypatch.setattr(manager_module, "HANDOVER", DEADLINE)
    add_run(db_path, "cancelled")
    add_run(db_path, "completed")
    other = other_owner(db_path)
    other.describe(json.dumps({"runs": [2, 1]}))
    asked = []
    run_elsewhere = manager._ownership.run_elsewhere
    monkeypatch.setattr(manager._ownership, "run_elsewhere", lambda: asked.append(True) or run_elsewhere())
    start = in_thread(lambda: manager.start_run(scope="full"))
    wait_for(lambda: len(asked) > 1, "the start to ask again")
    other.remove()
    join(start)
    join(manager._thread)
    assert rows(db_path)[-1]["status"] == "completed"


def test_a_start_in_a_child_that_was_forked_during_another_start(manager: RunManager) -> None:
    with manager._start_run_lock:
        child = os.fork()
        if child == 0:
            os._exit(not manager._start_run_lock.acquire(timeout=DEADLINE))
    assert os.waitpid(child, 0)[1] == 0
