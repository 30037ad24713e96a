"""A run is read, cancelled, published to and finished from any process, under the ids of its owner."""

import asyncio
import time

import pytest
from genglossary_runs import RunActiveError, StoreError, UnknownRunError

from .support import Place, Refused, check_complete, read_to_end, seq, wait_until


def test_readers_of_every_process_get_the_same_events_with_the_same_ids(place: Place) -> None:
    owner, other, here = place.worker(), place.worker(), place.manager()
    owner.ask("open", 7, None)
    live = here.subscribe(7, "0", must_exist=True)
    owner.ask("publish", 7, 1, 100)
    other.send("read", 7, "0")
    assert owner.ask("finish", 7, {"status": "completed"})
    seen = read_to_end(live)
    assert check_complete([(i, e | {"complete": "status" in e}) for i, e in seen]) == (101, 0)
    assert [tuple(event) for event in other.receive()] == seen
    assert [tuple(event) for event in owner.ask("read", 7, "0")] == seen
    # Late, in a process that has not read it before.
    assert [tuple(event) for event in place.worker().ask("read", 7, "0")] == seen


def test_a_run_is_read_after_its_process_has_ended(place: Place) -> None:
    owner = place.worker()
    owner.ask("open", "a text", None)
    owner.ask("publish", "a text", 1, 5)
    owner.ask("finish", "a text", {"status": "completed"})
    assert owner.exit() == 0
    here = place.manager()
    events = read_to_end(here.subscribe("a text", "0", must_exist=True))
    assert [event.get("n") for _, event in events] == [1, 2, 3, 4, 5, None]
    record = here.run_record("a text")
    assert record is not None
    assert (record["status"], record["key"], record["error"]) == ("completed", None, None)


def test_a_reader_resumes_in_another_process_after_the_event_it_had(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    ids = owner.ask("publish", 7, 1, 50)
    live = here.subscribe(7, ids[29], must_exist=True)
    owner.ask("finish", 7, {})
    events = read_to_end(live)
    assert [event.get("n") for _, event in events] == [*range(31, 51), None]
    ended = here.subscribe(7, events[-1][0], must_exist=True)
    assert ended.ended


def test_an_id_that_is_ahead_of_what_is_stored_is_a_position_all_the_same(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    last = owner.ask("publish", 7, 1, 1)[0]
    fence = last.split("-")[0]
    ahead = here.subscribe(7, f"{fence}-3", must_exist=True)
    owner.ask("publish", 7, 2, 5)
    owner.ask("finish", 7, {})
    assert [event.get("n") for _, event in read_to_end(ahead)] == [4, 5, 6, None]


def test_a_reader_that_waits_sees_a_run_begin_in_another_process(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    waiting = here.subscribe(7)
    owner.ask("open", 7, None)
    owner.ask("publish", 7, 1, 3)
    owner.ask("finish", 7, {})
    assert [event.get("n") for _, event in read_to_end(waiting)] == [1, 2, 3, None]


def test_an_unknown_run_is_unknown_in_every_process(place: Place) -> None:
    here = place.manager()
    with pytest.raises(UnknownRunError):
        here.subscribe(7, must_exist=True)
    assert here.run_record(7) is None
    assert here.publish(7, {}) is None
    assert not here.cancel_run(7)
    assert not here.finish_run(7, {})


def test_commands_from_another_process_reach_the_owner(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    first = owner.ask("publish", 7, 1, 1)[0]
    second = here.publish(7, {"n": 2})
    assert second is not None
    assert (second.split("-")[0], seq(second)) == (first.split("-")[0], 2)
    assert here.finish_run(7, {"status": "completed"})
    assert not here.finish_run(7, {"status": "completed"})
    assert here.publish(7, {}) is None
    events = owner.ask("read", 7, "0")
    assert [event.get("n") for _, event in events] == [1, 2, None]


def test_a_cancel_reaches_the_owner_within_100_ms(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    times = []
    for run_id in range(1, 8):
        owner.ask("open", run_id, None)
        owner.send("cancelled", 30.0)
        time.sleep(0.2)
        sent = time.time()
        assert here.cancel_run(run_id)
        is_set, at = owner.receive()
        assert is_set
        times.append(at - sent)
        owner.ask("finish", run_id, {})
        wait_until(lambda: not here.cancel_run(run_id))  # noqa: B023
    assert sorted(times)[len(times) // 2] < 0.1, times


def test_a_key_and_an_id_have_one_active_run_over_all_processes(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, "book")
    with pytest.raises(RunActiveError) as refused:
        here.open_run(7)
    assert refused.value.run_id == 7
    with pytest.raises(RunActiveError, match="book") as refused:
        here.open_new_run(key="book")
    assert refused.value.run_id == 7
    owner.ask("finish", 7, {})
    wait_until(lambda: here.run_record(7)["status"] != "running")
    run_id, _ = here.open_new_run(key="book")
    with pytest.raises(Refused) as refused_there:
        owner.ask("open", 8, "book")
    assert (refused_there.value.kind, refused_there.value.run_id) == ("RunActiveError", run_id)
    here.finish_run(run_id, {})


def test_ids_that_the_store_gives_rise_over_all_processes(place: Place) -> None:
    workers, here = [place.worker(), place.worker()], place.manager()
    given = []
    for _ in range(3):
        given += [worker.ask("open_new", None) for worker in workers]
        given.append(here.open_new_run()[0])
    assert given == sorted(set(given))


def test_records_come_newest_first_and_in_pages(place: Place) -> None:
    here = place.manager()
    for run_id in range(1, 6):
        here.open_run(run_id, key=f"key {run_id % 2}")
        here.finish_run(run_id, {"status": "failed", "error": "why"}, result='{"pages": 3}')
    here.open_run(6)
    page = here.run_records(limit=2)
    assert [record["run_id"] for record in page] == [6, 5]
    page = here.run_records(limit=9, before=page[-1]["fence"])
    assert [record["run_id"] for record in page] == [4, 3, 2, 1]
    assert [record["run_id"] for record in here.run_records(key="key 1")] == [5, 3, 1]
    assert [record["run_id"] for record in here.run_records(status="running")] == [6]
    record = page[0]
    assert (record["error"], record["result"]) == ("why", {"pages": 3})
    assert record["started_at"] <= record["finished_at"] <= time.time() + 1


async def test_nothing_blocks_an_event_loop(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    longest, stop = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        while not stop.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    reader = await here.asubscribe(7, "0", must_exist=True)
    assert (await here.apublish(7, {"n": 1})).endswith("-1")
    assert (await here.arun_record(7))["status"] == "running"
    assert await here.acancel_run(7)
    run_id, _ = await here.aopen_new_run(key="k")
    with pytest.raises(RunActiveError):
        await here.aopen_run(run_id)
    assert await here.afinish_run(run_id, {})
    assert await here.afinish_run(7, {"status": "completed"})
    assert [event.get("n") async for event in reader] == [1, None]
    assert len(await here.arun_records()) == 2
    with pytest.raises(UnknownRunError):
        await here.asubscribe(8, must_exist=True)
    stop.set()
    await watcher
    assert longest < 0.5


def test_two_managers_of_a_process_share_an_engine(place: Place) -> None:
    one, two = place.manager(), place.manager()
    one.open_run(7)
    reader = two.subscribe(7, "0", must_exist=True)
    one.publish(7, {"n": 1})
    assert one.finish_run(7, {})
    assert len(read_to_end(reader)) == 2
    assert one.stats()["store"]["events_stored"] == two.stats()["store"]["events_stored"] == 2


def test_what_needs_a_store_says_so_without_one() -> None:
    from genglossary_runs import RunManager

    manager = RunManager()
    for call in (
        manager.open_new_run,
        manager.run_records,
        lambda: manager.run_record(7),
        lambda: manager.open_run(7, key="k"),
    ):
        with pytest.raises(ValueError, match="needs a manager with a store"):
            call()
    assert issubclass(StoreError, OSError)
    assert "store" not in manager.stats()
