"""What happens when the server dies, stops, is emptied or drops connections, and when owners are taken for dead."""

import logging
import signal
import threading
import time
from collections.abc import Callable

import pytest
from genglossary_runs import RedisStore, RunActiveError, RunManager, StoreError
from genglossary_runs.runner import RunContext, Runner

from ..servers import RedisServer, ask
from ..support import INTERRUPTED, Place, Publisher, check_complete, read_to_end, wait_until

Start = Callable[..., RedisServer]

AOF = ["--appendonly", "yes", "--appendfsync", "everysec"]


def place_on(server: RedisServer, **store: float) -> Place:
    return Place("redis", f"{server.url}#faults", **store)


def publish_until(stop: threading.Event, publisher: Publisher, pause: float = 0.002) -> None:
    """Publish until told to stop."""
    while not stop.is_set():
        publisher.publish({"n": len(publisher.times)})
        time.sleep(pause)


@pytest.mark.parametrize("options", [AOF, []], ids=["aof", "no-aof"])
def test_the_server_is_killed_and_started_again(redis_server: Start, options: list[str]) -> None:
    server = redis_server(*options)
    place = place_on(server, lease=5.0)
    here, other = place.manager(history=10_000), place.worker(history=10_000)
    here.open_run(7)
    local = here.subscribe(7, "0")
    assert other.ask("follow", 7, "0")
    for number in range(100):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] >= 100)
    server.kill()
    for number in range(100, 200):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["error"] is not None)
    with pytest.raises(StoreError):
        here.open_run(8)
    server.start()
    wait_until(lambda: here.stats()["store"]["error"] is None)
    for number in range(200, 300):
        here.publish(7, {"n": number})
    here.finish_run(7, {"complete": True})
    # Everything that memory still held is stored again, wherever the server had lost it.
    assert check_complete(read_to_end(local)) == (301, 0)
    assert check_complete(other.ask("rest")) == (301, 0)
    assert check_complete(place.worker().ask("read", 7, "0")) == (301, 0)
    place.close()


def test_publishing_does_not_wait_while_the_server_is_stopped(redis_server: Start) -> None:
    server = redis_server()
    place = place_on(server)
    # The lease is longer than the server is stopped.
    place.store["lease"] = 10.0
    here, other = place.manager(history=100_000), place.worker(history=100_000)
    here.open_run(7)
    assert other.ask("follow", 7, "0")
    stream = place.worker()
    stream.send("frames", 7)
    assert stream.receive()
    stop = threading.Event()
    publisher = Publisher(here, 7)
    thread = threading.Thread(target=publish_until, args=(stop, publisher))
    thread.start()
    server.signal(signal.SIGSTOP)
    wait_until(lambda: here.stats()["store"]["error"] is not None)
    began = time.monotonic()
    with pytest.raises(StoreError):
        here.open_run(8)
    assert time.monotonic() - began < 5
    time.sleep(max(0.0, 6 - (time.monotonic() - began)))
    server.signal(signal.SIGCONT)
    wait_until(lambda: here.stats()["store"]["error"] is None)
    stop.set()
    thread.join()
    here.finish_run(7, {"complete": True})
    publisher.check()
    number = len(publisher.times)
    assert check_complete(other.ask("rest")) == (number + 1, 0)
    # A stream is told once, without an id, that nothing comes for a while.
    frames = stream.receive()
    assert [frame for frame in frames if frame.startswith("event: stalled")] == [
        'event: stalled\ndata: {"run_id":7,"stalled":true}'
    ]
    assert sum(frame.startswith("id: ") for frame in frames) == number + 1
    place.close()


def test_everything_is_deleted_while_a_run_goes_on(redis_server: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = redis_server()
    place = place_on(server)
    here, other = place.manager(history=50), place.worker()
    here.open_run(7, key="book")
    live = here.subscribe(7, "0")
    assert other.ask("follow", 7, "0")
    for number in range(100):
        here.publish(7, {"n": number})
        time.sleep(0.001)
    wait_until(lambda: here.stats()["store"]["events_stored"] >= 100)
    server.ask("FLUSHALL")
    wait_until(lambda: "deleted or replaced" in caplog.text)
    here.publish(7, {"n": 100})
    wait_until(lambda: place.manager().run_record(7) is not None)
    with pytest.raises(RunActiveError):
        place.manager().open_new_run(key="book")
    here.finish_run(7, {"complete": True})
    # What memory still held of the run was stored again, and the rest is a gap.
    for seen in (read_to_end(live), other.ask("rest"), place.worker().ask("read", 7, "0")):
        received, missed = check_complete(seen)
        assert (received + missed, received >= 50) == (102, True)
    assert here.stats()["store"]["error"] is None
    place.close()


def test_a_server_that_was_emptied_while_it_could_not_be_reached_was_taken_for_the_same(
    redis_server: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_server()
    place = place_on(server)
    here = place.manager()
    here.open_run(7)
    here.publish(7, {"n": 0})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 1)
    server.ask("FLUSHALL")
    # Before the next look, four times a second.
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: "deleted or replaced" in caplog.text)
    wait_until(lambda: here.run_record(7) is not None)
    assert caplog.text.count("deleted or replaced") == 1
    place.close()


def test_connections_are_killed_in_a_loop(redis_server: Start) -> None:
    server = redis_server()
    place = place_on(server)
    here, other = place.manager(history=10_000), place.worker(history=10_000)
    here.open_run(7)
    assert other.ask("follow", 7, "0")
    end = time.monotonic() + 3
    number = 0
    while time.monotonic() < end:
        server.ask("CLIENT", "KILL", "TYPE", "pubsub" if number % 3 else "normal", "SKIPME", "yes")
        for _ in range(10):
            number += 1
            here.publish(7, {"n": number})
        time.sleep(0.02)
    here.finish_run(7, {"complete": True})
    assert check_complete(other.ask("rest")) == (number + 1, 0)
    place.close()


@pytest.mark.parametrize("options", [[*AOF, "--appendfsync", "always"], []], ids=["aof", "no-aof"])
def test_owner_and_server_are_killed_together(redis_server: Start, options: list[str]) -> None:
    server = redis_server(*options)
    place = place_on(server)
    here, owner = place.manager(), place.worker()
    owner.ask("open", 7, "book")
    live = here.subscribe(7, "0", must_exist=True)
    owner.send("flood", 7, 0.001)
    wait_until(lambda: live.qsize() > 5)
    server.kill()
    owner.kill()
    server.start()
    seen = read_to_end(live)
    check_complete(seen)
    assert seen[-1][1]["error"] == INTERRUPTED
    # Once the run is over, or lost with the server's memory, its key is free.
    here.open_new_run(key="book")
    place.close()


def test_an_owner_that_was_stopped_for_too_long(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#stopped", lease=1.0)
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, "book")
    owner.ask("publish", 7, 1, 5)
    live = here.subscribe(7, "0", must_exist=True)
    wait_until(lambda: live.qsize() == 5)
    owner.signal(signal.SIGSTOP)
    seen = read_to_end(live)
    assert check_complete(seen) == (6, 0)
    assert seen[-1][1]["error"] == INTERRUPTED
    here.open_run(8, key="book")
    owner.signal(signal.SIGCONT)
    # It learns of it, also of a run that is quiet, and what it writes late is refused.
    assert owner.ask("cancelled", 30.0)[0]
    assert "dead" in owner.ask("reason")
    owner.ask("publish", 7, 6, 5)
    owner.ask("finish", 7, {"status": "completed"})
    assert [tuple(event) for event in place.worker().ask("read", 7, "0")] == seen
    assert here.run_record(7)["error"] == INTERRUPTED
    assert here.finish_run(8, {"complete": True})
    place.close()


def test_work_asks_whether_the_run_is_still_its_own(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#asks", lease=1.0)
    runner = Runner(place.manager())
    go, outcome = threading.Event(), []

    def work(context: RunContext) -> None:
        context.assert_owner()
        outcome.append("owns")
        go.wait(30)
        context.assert_owner()
        outcome.append("wrote")

    run = runner.start(work)
    wait_until(lambda: outcome == ["owns"])
    # As if this process had been stopped, and another had found its lease over.
    port = int(redis_url.split(":")[2].split("/")[0])
    assert ask(port, "HSET", f"runs:{{asks}}:run:{run.fence}", "status", "failed", "end_fence", 9) >= 0
    go.set()
    assert run.wait(30)
    assert (outcome, run.status) == (["owns"], "cancelled")
    place.close()


def test_another_application_uses_the_server_too(redis_server: Start) -> None:
    server = redis_server()
    others = {"runs": "1", "runs:7": "2", "{default}": "3", "runs:default:clock": "4"}
    for name, value in others.items():
        server.ask("SET", name, value)
    one, two = RunManager(store=RedisStore(server.url)), RunManager(store=RedisStore(server.url, project="two"))
    one.open_run(7)
    two.open_run(7)
    one.finish_run(7, {"complete": True})
    two.finish_run(7, {"complete": True})
    wait_until(lambda: one.run_record(7)["status"] != "running")
    assert len(one.run_records()) == len(two.run_records()) == 1
    for name, value in others.items():
        assert server.ask("GET", name) == value


def test_a_server_that_may_evict_runs_is_warned_of(redis_server: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = redis_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    manager = RunManager(store=RedisStore(server.url))
    with caplog.at_level(logging.WARNING):
        assert manager.run_record(7) is None
        wait_until(lambda: "maxmemory-policy allkeys-lru" in caplog.text)


def test_a_full_server_keeps_no_run_from_going_on(redis_server: Start) -> None:
    server = redis_server("--maxmemory", "5mb")
    place = place_on(server)
    here = place.manager(history=100_000, history_bytes=1 << 28)
    here.open_run(7)
    live = here.subscribe(7, "0")
    number = 0
    while here.stats()["store"]["error"] is None and number < 5000:
        number += 1
        here.publish(7, {"text": "x" * 2000})
        time.sleep(0.0005)
    assert "OOM" in here.stats()["store"]["error"]
    server.ask("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: here.stats()["store"]["error"] is None)
    here.finish_run(7, {"complete": True})
    assert check_complete(read_to_end(live)) == (number + 1, 0)
    assert check_complete(place.worker().ask("read", 7, "0")) == (number + 1, 0)
    place.close()


def test_a_process_has_two_connections_however_many_read(redis_server: Start) -> None:
    server = redis_server()
    place = place_on(server)
    owner, here = place.worker(), place.manager()
    for run_id in range(20):
        owner.ask("open", run_id, None)
    readers = [here.subscribe(run_id, "0", must_exist=True) for run_id in range(20) for _ in range(5)]
    wait_until(lambda: clients(server) == 4)
    assert len(readers) == 100
    place.close()


def clients(server: RedisServer) -> int:
    """Connections to the server, without that of who asks."""
    lines = server.ask("INFO", "clients").splitlines()
    return int(next(line for line in lines if line.startswith("connected_clients:")).split(":")[1]) - 1


def test_the_store_says_where_it_is(redis_url: str) -> None:
    store = RedisStore(redis_url.replace("redis://", "redis://user:secret@"), project="a-b")
    assert "secret" not in repr(store) + store.address
    assert RunManager(store=store).store.project == "a-b"
    assert RunManager(store=store).stats()["store"]["address"] == store.address
    for settings in ({"project": ""}, {"project": "a{b"}, {"lease": 0.1}, {"retention": -1.0}, {"max_runs": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            RedisStore(redis_url, **settings)
    with pytest.raises(ValueError, match="not the URL of a Redis server"):
        RedisStore("http://127.0.0.1")
    with pytest.raises(ValueError, match="other limits"):
        RedisStore(redis_url.replace("redis://", "redis://user:secret@"), project="a-b", lease=3.0)
