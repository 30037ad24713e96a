"""What went wrong after the server was away, slow or set back, or an answer of it was lost."""

import hashlib
from collections.abc import Callable
from typing import Any

from genglossary_runs import RunManager

from ..servers import RedisServer, ask
from ..support import INTERRUPTED, Place, wait_until
from .test_scripts import LEASE, SCRIPTS

Start = Callable[..., RedisServer]


class Keys:
    """The keys of a project, and its scripts."""

    def __init__(self, place: Place) -> None:
        url, self.project = place.where.split("#")
        self.port = int(url.split(":")[2].split("/")[0])

    def ask(self, command: str, name: str, *more: object) -> Any:
        return ask(self.port, command, f"runs:{{{self.project}}}:{name}", *more)

    def call(self, script: str, *arguments: object) -> Any:
        return ask(self.port, "EVAL", source(script), 1, f"runs:{{{self.project}}}", *arguments)


def source(script: str) -> str:
    return (SCRIPTS / "common.lua").read_text() + (SCRIPTS / f"{script}.lua").read_text()


def stored(manager: RunManager) -> int:
    return int(manager.stats()["store"]["events_stored"])


def test_a_run_whose_beginning_was_never_told_to_its_owner_ran_for_ever(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#untold")
    here = place.manager()
    here.open_run(7)
    owner = here.run_record(7)["owner"]
    # As the server does what it was asked after who asked has given up.
    assert Keys(place).call("begin", owner, LEASE, 8, "1", "book")[0] == "started"
    wait_until(lambda: here.run_record(8)["status"] != "running")
    assert here.run_record(8)["error"] == INTERRUPTED
    here.open_run(9, key="book")
    assert [here.run_record(run_id)["status"] for run_id in (7, 9)] == ["running", "running"]
    place.close()


def test_after_an_outage_everything_was_sent_before_a_sign_of_life(redis_server: Start) -> None:
    server = redis_server()
    place = Place("redis", f"{server.url}#backlog")
    here = place.manager()
    for run_id in range(100):
        here.open_run(run_id)
    server.kill()
    for run_id in range(100):
        here.publish(run_id, {"n": 1})
    wait_until(lambda: here.stats()["store"]["error"] is not None)
    server.options += ("--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000")
    server.start()
    wait_until(lambda: stored(here) == 100)
    known = {hashlib.sha1(source(name).encode()).hexdigest(): name for name in ("renew", "append")}
    calls = [entry[3][1] for entry in reversed(server.ask("SLOWLOG", "GET", -1)) if entry[3][0] == "EVALSHA"]
    seen = [known[call] for call in calls if call in known]
    # Not all in one go, either.
    assert (seen[0], seen.count("append")) == ("renew", 2)
    place.close()


def test_a_run_was_not_ended_by_the_process_that_asked_for_it(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#asked")
    owner, here = place.worker(), place.manager()
    for run_id in range(60):
        owner.ask("open", run_id, None)
    assert [here.finish_run(run_id, {"complete": True}) for run_id in range(60)] == [True] * 60
    place.close()
