"""Hosts whose links to the server are slow or half open: bytes are taken, and go nowhere."""

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from genglossary_runs import StoreError
from proxy import DOWN, UP, Proxy

from ..support import INTERRUPTED, Place, Publisher, check_complete, read_to_end, wait_until


@pytest.fixture
def link(redis_url: str) -> Iterator[Proxy]:
    """A link to the server that the tests share."""
    proxy = Proxy(int(redis_url.split(":")[2].split("/")[0]))
    yield proxy
    proxy.close()


Places = Callable[..., tuple[Place, Place]]


@pytest.fixture
def places(redis_url: str, link: Proxy, request: pytest.FixtureRequest) -> Iterator[Places]:
    """The project of the test over the link, and the same without it."""
    made: list[Place] = []

    def make(**store: float) -> tuple[Place, Place]:
        project = f"links-{abs(hash(request.node.name))}"
        urls = (f"redis://127.0.0.1:{link.port}/0", redis_url)
        made.extend(Place("redis", f"{url}#{project}", **store) for url in urls)
        return made[0], made[1]

    yield make
    for place in made:
        place.close()


def test_a_slow_link_loses_nothing(link: Proxy, places: Places) -> None:
    far, near = places(lease=10.0)
    owner, reader, here = far.worker(), far.worker(), near.manager()
    owner.ask("open", 7, "book")
    live = here.subscribe(7, "0", must_exist=True)
    assert reader.ask("follow", 7, "0")
    link.delay = 0.1
    owner.ask("publish", 7, 1, 100, 0.005)
    assert here.publish(7, {"n": 101})
    owner.ask("finish", 7, {"complete": True})
    assert check_complete(read_to_end(live)) == (102, 0)
    assert check_complete(reader.ask("rest")) == (102, 0)
    wait_until(lambda: here.run_record(7)["status"] != "running")
    here.open_run(8, key="book")


def test_an_owner_whose_link_is_half_open_for_longer_than_its_lease(link: Proxy, places: Places) -> None:
    far, near = places(lease=1.0)
    here, other = far.manager(), near.worker()
    cancel = here.open_run(7, key="book")
    publisher = Publisher(here, 7)
    for number in range(5):
        publisher.publish({"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 5)
    other.send("read", 7, "0")
    link.swallow()
    ended = threading.Event()
    seen: list[tuple[str, dict[str, object]]] = []

    def read() -> None:
        seen.extend((event_id, event) for event_id, event in other.receive())
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    while not ended.is_set():
        publisher.publish({"late": True})
        time.sleep(0.002)
    reader.join()
    publisher.check()
    assert check_complete(seen) == (6, 0)
    assert seen[-1][1]["error"] == INTERRUPTED
    other.ask("open", 8, "book")
    link.mend()
    # It learns of it, and what it published meanwhile is refused.
    assert cancel.wait(30)
    assert "dead" in str(cancel.reason)
    here.finish_run(7, {"complete": True, "status": "completed"})
    wait_until(lambda: here.stats()["store"]["error"] is None)
    assert [tuple(event) for event in near.worker().ask("read", 7, "0")] == seen
    assert [here.run_record(run_id)["status"] for run_id in (7, 8)] == ["failed", "running"]


@pytest.mark.parametrize("way", [UP, DOWN])
def test_an_owner_whose_link_is_half_open_for_less_than_its_lease(link: Proxy, places: Places, way: str) -> None:
    far, near = places(lease=30.0)
    here, other = far.manager(), near.worker()
    cancel = here.open_run(7)
    assert other.ask("follow", 7, "0")
    link.swallow(way)
    for number in range(100):
        here.publish(7, {"n": number})
    # The server may do what it is asked without an answer to it.
    with pytest.raises(StoreError):
        here.open_run(8, key="book")
    link.mend()
    wait_until(lambda: here.stats()["store"]["error"] is None)
    here.open_run(8, key="book")
    for number in range(100, 200):
        here.publish(7, {"n": number})
    here.finish_run(7, {"complete": True})
    assert check_complete(other.ask("rest")) == (201, 0)
    assert [cancel.is_set(), here.run_record(8)["status"]] == [False, "running"]


def test_an_owner_that_is_stopped_for_less_than_its_lease(places: Places) -> None:
    _, near = places(lease=30.0)
    owner, here = near.worker(), near.manager()
    owner.ask("open", 7, None)
    live = here.subscribe(7, "0", must_exist=True)
    owner.send("publish", 7, 1, 200, 0.001)
    wait_until(lambda: live.qsize() > 20)
    owner.signal(signal.SIGSTOP)
    assert here.run_record(7)["status"] == "running"
    assert here.cancel_run(7)
    owner.signal(signal.SIGCONT)
    assert len(owner.receive()) == 200
    assert owner.ask("cancelled", 30.0)[0]
    owner.ask("finish", 7, {"complete": True})
    assert check_complete(read_to_end(live)) == (201, 0)


def test_a_reader_whose_link_is_half_open(link: Proxy, places: Places) -> None:
    far, near = places(lease=30.0)
    here, owner, stream = far.manager(), near.worker(), far.worker()
    owner.ask("open", 7, None)
    owner.ask("publish", 7, 1, 10)
    live = here.subscribe(7, "0", must_exist=True)
    stream.send("frames", 7)
    assert stream.receive()
    wait_until(lambda: live.qsize() == 10)
    link.swallow(DOWN)
    owner.ask("publish", 7, 11, 90)
    wait_until(lambda: here.stats()["store"]["error"] is not None)
    owner.ask("finish", 7, {"complete": True})
    link.mend()
    assert check_complete(read_to_end(live)) == (101, 0)
    frames = stream.receive()
    assert sum(frame.startswith("event: stalled") for frame in frames) == 1
    assert sum(frame.startswith("id: ") for frame in frames) == 101
