"""A replica takes over: from one moment to the next the address leads to it, with or without the newest data."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from genglossary_runs import RunManager
from proxy import Proxy

from ..servers import RedisServer
from ..support import INTERRUPTED, Place, Worker, check_complete, read_to_end, seq, wait_until


class Pair:
    """A master and its replica, and the address that leads to one of them."""

    def __init__(self, start: Callable[..., RedisServer], folder: Path, *, proxied: bool = True) -> None:
        for name in ("master", "replica"):
            (folder / name).mkdir()
        at_once = ("--repl-diskless-sync-delay", "0")
        self.master = start("--dir", str(folder / "master"), *at_once)
        # What the replica hears of the master comes this way.
        self.link = Proxy(self.master.port)
        port = self.link.port if proxied else self.master.port
        options = ("--replicaof", "127.0.0.1", str(port), "--repl-diskless-load", "swapdb", *at_once)
        self.replica = start("--dir", str(folder / "replica"), *options)
        self.address = Proxy(self.master.port)
        self.wait_in_step()

    def place(self, **store: float) -> Place:
        return Place("redis", f"redis://127.0.0.1:{self.address.port}/0#failover", **store)

    def wait_in_step(self) -> None:
        """Wait until the replica has everything."""

        def state(server: RedisServer) -> str:
            lines = server.ask("INFO", "replication").splitlines()
            return next(line for line in lines if line.startswith("master_repl_offset:"))

        wait_until(lambda: "master_link_status:up" in self.replica.ask("INFO", "replication"))
        wait_until(lambda: state(self.master) == state(self.replica))

    def lag(self) -> None:
        """Let the replica hear nothing any more."""
        self.link.swallow()

    def fail_over(self) -> None:
        """Make a master of the replica, and lead every connection there."""
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.address.upstream = self.replica.port
        self.address.drop()

    def close(self) -> None:
        self.link.close()
        self.address.close()


@pytest.fixture
def pair(redis_server: Callable[..., RedisServer], tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(redis_server, tmp_path)
    yield pair
    pair.close()


def check_ended(place: Place, run_id: int, published: int) -> list[tuple[str, dict[str, object]]]:
    """A late reader elsewhere gets every event or is told which are gone, and one terminal event, the last."""
    seen = [(event_id, event) for event_id, event in place.worker().ask("read", run_id, "0")]
    assert sum(check_complete(seen)) == published
    seqs = [seq(event_id) for event_id, event in seen if "gap" not in event]
    assert seqs == sorted(set(seqs))
    return seen


def check_none_is_running(here: RunManager) -> None:
    wait_until(lambda: all(record["status"] != "running" for record in here.run_records()))


def test_a_replica_takes_over_in_the_midst_of_a_run(pair: Pair) -> None:
    place = pair.place(lease=15.0)
    here, other = place.manager(history=10_000), place.worker()
    here.open_run(7, key="book")
    local = here.subscribe(7, "0")
    assert other.ask("follow", 7, "0")
    stop = threading.Event()
    published = 0

    def publish() -> None:
        nonlocal published
        while not stop.is_set():
            published += 1
            here.publish(7, {"n": published})
            time.sleep(0.001)

    publisher = threading.Thread(target=publish)
    publisher.start()
    wait_until(lambda: here.stats()["store"]["events_stored"] > 100)
    pair.fail_over()
    stored = here.stats()["store"]["events_stored"]
    wait_until(lambda: here.stats()["store"]["events_stored"] > stored + 100)
    stop.set()
    publisher.join()
    here.finish_run(7, {"complete": True, "status": "completed"})
    assert check_complete(read_to_end(local)) == (published + 1, 0)
    assert check_complete(other.ask("rest")) == (published + 1, 0)
    check_ended(place, 7, published + 1)
    here.open_run(8, key="book")
    here.finish_run(8, {"complete": True})
    check_none_is_running(here)
    place.close()


@pytest.mark.parametrize("history", [10_000, 50])
def test_a_replica_that_lags_behind_takes_over(pair: Pair, history: int) -> None:
    place = pair.place(lease=15.0)
    here, other = place.manager(history=history), place.worker()

    def stored() -> int:
        return int(here.stats()["store"]["events_stored"])

    def publish(run_id: int, count: int) -> None:
        before = stored()
        for number in range(count):
            here.publish(run_id, {"n": number})
            if number % 25 == 24:
                wait_until(lambda number=number: stored() > before + number)
        wait_until(lambda: stored() == before + count)

    here.open_run(7, key="goes on")
    here.open_run(8, key="book")
    publish(7, 100)
    publish(8, 10)
    assert other.ask("follow", 7, "0")
    pair.wait_in_step()
    pair.lag()
    # All of this the replica never hears of.
    publish(7, 200)
    here.finish_run(8, {"complete": True, "status": "completed"})
    here.open_run(9, key="book")
    here.finish_run(9, {"complete": True, "status": "completed"})
    cancel = here.open_run(10, key="book")
    publish(10, 10)
    pair.fail_over()
    wait_until(lambda: (here.run_record(10) or {}).get("status") == "running")
    assert not cancel.is_set()
    publish_late = [here.publish(7, {"late": number}) for number in range(5)]
    assert all(publish_late)
    for run_id in (7, 10):
        here.finish_run(run_id, {"complete": True, "status": "completed"})
    assert sum(check_complete(other.ask("rest"))) == 306
    for run_id, published in ((7, 306), (8, 11), (9, 1), (10, 11)):
        wait_until(lambda run_id=run_id: (here.run_record(run_id) or {}).get("status") == "completed")
        seen = check_ended(place, run_id, published)
        # What memory held is there again.
        assert len(seen) >= min(published, history)
    check_none_is_running(here)
    place.close()


def test_an_end_that_the_replica_lacks_is_stored_again_by_an_idle_owner(pair: Pair) -> None:
    place = pair.place(lease=1.0)
    here, other = place.manager(), place.worker()
    here.open_run(7)
    here.publish(7, {"n": 1})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 1)
    pair.wait_in_step()
    pair.lag()
    here.finish_run(7, {"complete": True, "status": "completed"})
    assert other.ask("read", 7, "0")[-1][1]["status"] == "completed"
    # By then it has no reason to look at the store any more.
    idle = time.monotonic() + 6
    wait_until(lambda: time.monotonic() > idle)
    pair.fail_over()
    assert place.worker().ask("read", 7, "0")[-1][1]["status"] == "completed"
    place.close()


def test_an_owner_stays_with_the_old_master(pair: Pair) -> None:
    cut_off, place = pair.place(lease=1.0), Place("redis", f"{pair.master.url}#failover", lease=1.0)
    owner: Worker = place.worker()
    owner.ask("open", 7, "book")
    owner.ask("publish", 7, 1, 10)
    here = cut_off.manager()
    live = here.subscribe(7, "0", must_exist=True)
    wait_until(lambda: live.qsize() == 10)
    pair.wait_in_step()
    pair.lag()
    pair.fail_over()
    # To the old master it goes on writing, which nobody else sees.
    owner.ask("publish", 7, 11, 10)
    seen = read_to_end(live)
    assert (check_complete(seen), seen[-1][1]["error"]) == ((11, 0), INTERRUPTED)
    here.open_run(8, key="book")
    # The old master comes back as a replica of the new one.
    pair.master.ask("REPLICAOF", "127.0.0.1", pair.replica.port)
    wait_until(lambda: "master_link_status:up" in pair.master.ask("INFO", "replication"))
    assert [tuple(event) for event in cut_off.worker().ask("read", 7, "0")] == seen
    assert here.finish_run(8, {"complete": True, "status": "completed"})
    check_none_is_running(here)
    place.close()
    cut_off.close()
