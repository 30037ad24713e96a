"""An owner dies, stops, or forks: its runs end once, no id is used twice, and nothing is lost without a word."""

import json
import os
import random
import signal
import time

import pytest
from genglossary_runs import RunActiveError, RunManager

from .support import INTERRUPTED, Place, check_complete, read_to_end, wait_until

KILLS = int(os.environ.get("STORE_KILLS", "50"))
AT_ONCE = 25


@pytest.mark.timeout(600)
def test_kills_at_random_moments(place: Place) -> None:
    chance = random.Random(4)
    here = place.manager(history=100)
    for first in range(1, KILLS + 1, AT_ONCE):
        batch = range(first, first + AT_ONCE)
        lives, told = {}, {}
        for run_id in batch:
            owner = place.worker(history=100)
            owner.ask("open", run_id, None)
            live = lives[run_id] = here.subscribe(run_id, "0", must_exist=True)
            owner.send("flood", run_id, chance.choice([0.0, 0.0001, 0.001]))
            wait_until(lambda: live.qsize() > 0)  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.1))
            owner.kill()
            # What readers of the dead process had been given; the last line may be cut off.
            told[run_id] = [json.loads(line) for line in owner.lines() if line.endswith("\n")]
        for run_id in batch:
            check_killed(place, here, run_id, read_to_end(lives[run_id]), told[run_id])
    assert here.run_records(status="running") == []


def check_killed(place: Place, here: RunManager, run_id: int, seen: list, told: list) -> None:
    """What a reader saw of a run whose process was killed, and what a reader of that process had been told."""
    received, missed = check_complete(seen)
    assert received + missed == int(seen[-1][0].split("-")[1])
    terminal_id, terminal = seen[-1]
    assert terminal == {"run_id": run_id, "complete": True, "status": "failed", "error": INTERRUPTED}
    by_id = dict(seen)
    for event_id, event in told:
        assert event_id != terminal_id
        assert by_id.get(event_id, event) == event or "gap" in event or "gap" in by_id[event_id]
    record = here.run_record(run_id)
    assert (record["status"], record["error"]) == ("failed", INTERRUPTED)
    # A reader that comes back with the last that it had of the dead process learns the end, once.
    if told:
        assert read_to_end(here.subscribe(run_id, told[-1][0], must_exist=True))[-1] == seen[-1]
    assert read_to_end(here.subscribe(run_id, terminal_id, must_exist=True)) == []
    # So does one that comes late, in another process.
    if run_id % 10 == 0:
        assert [tuple(event) for event in place.worker().ask("read", run_id, "0")] == seen


def test_a_reader_elsewhere_sees_the_end_of_a_run_whose_process_was_killed(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, "book")
    live = here.subscribe(7, must_exist=True)
    owner.kill()
    began = time.monotonic()
    assert [event["error"] for _, event in read_to_end(live)] == [INTERRUPTED]
    assert time.monotonic() - began < 5 + 1.5 * place.lease
    # Its key is free.
    here.open_new_run(key="book")


def test_a_reader_never_saw_the_end_of_a_killed_life_when_the_next_began_here(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    owner.ask("publish", 7, 1, 3)
    live = here.subscribe(7, "0", must_exist=True)
    wait_until(lambda: live.qsize() == 3)
    owner.kill()
    wait_until(lambda: not place.lease or here.run_record(7)["status"] != "running")
    here.open_run(7)
    assert here.publish(7, {"n": 1}).endswith("-1")
    here.finish_run(7, {"complete": True})
    seen = read_to_end(live)
    assert check_complete(seen) == (4, 0)
    assert seen[-1][1]["error"] == INTERRUPTED
    assert len(place.worker().ask("read", 7, "0")) == 2


def test_a_key_of_a_killed_process_is_free_once_its_lease_is_over(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, "book")
    owner.kill()

    def opened() -> bool:
        try:
            here.open_run(8, key="book")
        except RunActiveError:
            assert place.lease > 0, "a lock is free at once"
            return False
        return True

    wait_until(opened, place.lease * 1.5 + 10)
    assert here.run_record(7)["error"] == INTERRUPTED


def test_a_stopped_owner_is_not_taken_for_dead(place: Place) -> None:
    # With a lease it may be stopped for as long as that lasts.
    place.store["lease"] = 15.0
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    live = here.subscribe(7, "0", must_exist=True)
    owner.signal(signal.SIGSTOP)
    time.sleep(3)
    assert here.run_record(7)["status"] == "running"
    owner.signal(signal.SIGCONT)
    owner.ask("publish", 7, 1, 3)
    owner.ask("finish", 7, {"complete": True})
    assert check_complete(read_to_end(live)) == (4, 0)


def test_what_was_published_is_stored_when_the_process_exits(place: Place) -> None:
    for run_id in range(1, 6):
        owner = place.worker(history=10_000)
        owner.ask("open", run_id, None)
        owner.ask("publish", run_id, 1, 3000)
        assert owner.exit() == 0
        events = read_to_end(place.manager().subscribe(run_id, "0", must_exist=True))
        assert check_complete(events) == (3001, 0)
        assert events[-1][1]["error"] == INTERRUPTED


def test_two_processes_that_race_for_a_key(place: Place) -> None:
    one, two = place.worker(), place.worker()
    for run_id in range(1, 201):
        one.send("open", 2 * run_id, "book")
        two.send("open", 2 * run_id + 1, "book")
        outcomes = []
        for worker in (one, two):
            try:
                outcomes.append(worker.receive())
            except Exception as error:
                outcomes.append(error)
        assert sorted(outcome is True for outcome in outcomes) == [False, True], outcomes
        winner, number = (one, 2 * run_id) if outcomes[0] is True else (two, 2 * run_id + 1)
        loser = outcomes[1] if outcomes[0] is True else outcomes[0]
        assert loser.run_id == number
        assert winner.ask("finish", number, {})
        # The end is stored before the next start of the same process is; the other process may be a batch behind.
        wait_until(lambda: place.workers[0].ask("record", number)["status"] != "running")  # noqa: B023


def test_a_forked_child_has_an_engine_of_its_own(place: Place) -> None:
    here = place.manager()
    here.open_run(7)
    here.publish(7, {"n": 1})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert here.run_record(7)["status"] == "running"
            here.open_run(8)
            here.publish(8, {"n": 1})
            here.finish_run(8, {"complete": True})
            assert here.publish(7, {"n": 2}).endswith("-2")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    here.publish(7, {"n": 3})
    here.finish_run(7, {"complete": True})
    assert [event.get("n") for _, event in read_to_end(here.subscribe(7, "0"))] == [1, 2, 3, None]


def test_forks_while_runs_are_written(place: Place) -> None:
    here = place.manager()
    here.open_run(7)
    other = place.worker()
    other.send("read", 7, "0")
    for number in range(100):
        here.publish(7, {"n": number})
        if number % 5 == 0:
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
    here.finish_run(7, {"complete": True})
    assert check_complete(other.receive()) == (101, 0)
