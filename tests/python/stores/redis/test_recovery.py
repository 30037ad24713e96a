"""What went wrong after the server was away, slow or set back, or an answer of it was lost."""

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs import RedisStore, RunManager, StoreError

from ..servers import RedisServer, ask
from ..support import INTERRUPTED, Place, check_complete, read_to_end, wait_until
from .scripts import AGE, LEASE, SCRIPTS

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
    assert Keys(place).call("begin", owner, LEASE, AGE, 8, "1", "book")[0] == "started"
    wait_until(lambda: here.run_record(8)["status"] != "running")
    assert here.run_record(8)["error"] == INTERRUPTED
    here.open_run(9, key="book")
    assert [here.run_record(run_id)["status"] for run_id in (7, 9)] == ["running", "running"]
    place.close()


def test_a_run_whose_beginning_was_never_told_was_refused_as_active(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#untold-again")
    here = place.manager()
    here.open_run(7)
    owner = here.run_record(7)["owner"]
    Keys(place).call("begin", owner, LEASE, AGE, 8, "1", "book")
    here.open_run(8, key="book")
    here.finish_run(8, {"complete": True, "status": "completed"})
    wait_until(lambda: here.run_record(8)["status"] == "completed")
    place.close()


def test_a_cancel_was_lost_that_could_not_be_delivered_for_a_minute(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#minute", lease=600.0)
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    owner.signal(signal.SIGSTOP)
    assert here.cancel_run(7)
    keys = Keys(place)
    # As if a minute passed.
    for name in ask(keys.port, "KEYS", f"runs:{{{keys.project}}}:*"):
        if 0 < ask(keys.port, "PTTL", name) <= 60_000:
            ask(keys.port, "DEL", name)
    owner.signal(signal.SIGCONT)
    assert owner.ask("cancelled", 30.0)[0]
    place.close()


@pytest.mark.parametrize("age", [0.0, 3.5], ids=["new", "old"])
def test_an_end_that_the_server_lost_was_not_stored_again(redis_server: Start, age: float) -> None:
    server = redis_server()
    place = Place("redis", f"{server.url}#ends")
    here = place.manager()
    here.open_run(7, key="book")
    here.publish(7, {"n": 1})
    wait_until(lambda: stored(here) == 1)
    server.ask("SAVE")
    here.finish_run(7, {"complete": True, "status": "completed"})
    wait_until(lambda: stored(here) == 2)
    here.open_run(8, key="book")
    here.finish_run(8, {"complete": True, "status": "completed"})
    wait_until(lambda: stored(here) == 3)
    cancel = here.open_run(9, key="book")
    here.publish(9, {"n": 1})
    wait_until(lambda: stored(here) == 4)
    later = time.monotonic() + age
    wait_until(lambda: time.monotonic() > later)
    server.kill()
    server.start()
    wait_until(lambda: here.stats()["store"]["error"] is None)
    for run_id, received in ((7, 2), (8, 1)):
        wait_until(lambda run_id=run_id: (here.run_record(run_id) or {}).get("status") == "completed")
        assert check_complete(place.worker().ask("read", run_id, "0")) == (received, 0)
    # It has the key since, which the server had given back to the first.
    wait_until(lambda: here.run_record(9) is not None)
    assert (here.run_record(9)["status"], cancel.is_set()) == ("running", False)
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


def test_the_first_question_after_a_lost_connection_failed(redis_server: Start) -> None:
    server = redis_server()
    here = Place("redis", f"{server.url}#lost").manager()
    here.open_run(7)
    for _ in range(5):
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert here.run_record(7)["status"] == "running"
    for run_id in range(8, 13):
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        here.open_run(run_id)


def test_what_could_not_be_read_for_a_moment_was_a_gap(redis_server: Start) -> None:
    server = redis_server()
    here = Place("redis", f"{server.url}#moment").manager(history=100)
    here.open_run(7)
    for number in range(3000):
        here.publish(7, {"n": number})
        if number % 50 == 0:
            wait_until(lambda number=number: stored(here) > number)
    wait_until(lambda: stored(here) == 3000)
    reader = here.subscribe(7, "0")
    seen = [(reader.last_event_id, reader.get(timeout=30))]
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    here.finish_run(7, {"complete": True})
    rest = read_to_end(reader)
    assert check_complete(rest, first=2) == (3000, 0)
    assert len(seen) == 1


def test_an_owner_that_was_cut_off_when_everything_was_deleted(redis_server: Start) -> None:
    server = redis_server()
    place = Place("redis", f"{server.url}#cut", lease=15.0)
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    owner.ask("open", 8, None)
    quiet, live = here.subscribe(8, "0", must_exist=True), here.subscribe(7, "0", must_exist=True)
    owner.signal(signal.SIGSTOP)
    server.ask("FLUSHALL")
    # Its readers were told after 5 seconds that the run had ended.
    end = time.monotonic() + 6
    wait_until(lambda: time.monotonic() > end)
    owner.signal(signal.SIGCONT)
    wait_until(lambda: here.run_record(7) is not None)
    owner.ask("finish", 7, {"complete": True, "status": "completed"})
    owner.ask("finish", 8, {"complete": True, "status": "completed"})
    for reader in (live, quiet):
        assert read_to_end(reader)[-1][1]["status"] == "completed"
    place.close()


def test_what_refuses_to_be_written_was_taken_for_well_while_it_was_read(redis_server: Start) -> None:
    server = redis_server()
    place = Place("redis", f"{server.url}#full", lease=1.0)
    here = place.manager()
    here.open_run(7)
    server.ask("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StoreError, match="OOM"):
        here.open_run(8)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert "OOM" in here.stats()["store"]["error"]
    # Nobody takes it for dead meanwhile.
    assert Keys(place).ask("EXISTS", f"lease:{here.run_record(7)['owner']}") == 1
    server.ask("CONFIG", "SET", "maxmemory", 0)
    wait_until(lambda: here.stats()["store"]["error"] is None)
    here.open_run(8)
    place.close()


def test_two_users_of_one_project_shared_the_connection_of_the_first(redis_url: str) -> None:
    one = RedisStore(redis_url, project="users")
    with pytest.raises(ValueError, match="another user, password"):
        RedisStore(redis_url.replace("redis://", "redis://user:secret@"), project="users")
    assert repr(one) == repr(RedisStore(redis_url, project="users"))


@pytest.mark.parametrize("size", [10, 100_000])
def test_events_that_one_answer_did_not_hold_were_lacking_elsewhere(redis_url: str, size: int) -> None:
    place = Place("redis", f"{redis_url}#answer-{size}")
    here, other = place.manager(), place.worker(history=10_000)
    for run_id in range(3):
        here.open_run(run_id)
    assert other.ask("follow", 1, "0")
    other.signal(signal.SIGSTOP)
    for number in range(40):
        for run_id in range(3):
            here.publish(run_id, {"n": number, "text": "x" * size})
    for run_id in range(3):
        here.finish_run(run_id, {"complete": True})
    wait_until(lambda: stored(here) == 3 * 41)
    other.signal(signal.SIGCONT)
    assert check_complete(other.ask("rest")) == (41, 0)
    place.close()


def test_large_events_of_many_runs_came_in_one_answer(redis_server: Start) -> None:
    server = redis_server("--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000")
    place = Place("redis", f"{server.url}#large")
    here, other = place.manager(), place.worker()
    runs = list(range(12))
    for run_id in runs:
        here.open_run(run_id)
    assert other.ask("follow_all", runs)
    other.signal(signal.SIGSTOP)
    for run_id in runs * 10:
        here.publish(run_id, {"text": "x" * 100_000})
    for run_id in runs:
        here.finish_run(run_id, {"complete": True})
    wait_until(lambda: stored(here) == 12 * 11)
    server.ask("SLOWLOG", "RESET")
    other.signal(signal.SIGCONT)
    assert [check_complete(seen) for seen in other.ask("rest_all")] == [(11, 0)] * 12
    reads = [entry[3] for entry in server.ask("SLOWLOG", "GET", -1) if entry[3][0] in ("XREAD", "XRANGE")]
    # While nothing is known of their size, 16 events; then as many as make a mebibyte.
    assert max(int(read[2]) * ((len(read) - 4) // 2) for read in reads if read[0] == "XREAD") <= 16
    assert max(int(read[-1]) for read in reads if read[0] == "XRANGE") <= 16
    place.close()


FORK = """
import contextlib, os, signal, sys, threading, time
from genglossary_runs import RedisStore, RunManager, SqliteStore, StoreError
url, server, path = sys.argv[1:]
here = RunManager(store=RedisStore(url))
here.open_run(7)
def ask():
    with contextlib.suppress(StoreError):
        here.run_record(7)
os.kill(int(server), signal.SIGSTOP)
asking = threading.Thread(target=ask)
asking.start()
time.sleep(0.1)  # The engine is to wait for the server by now.
child = os.fork()
if child == 0:
    RunManager(store=SqliteStore(path)).open_run(1)
    os._exit(0)
status = os.waitpid(child, 0)[1]
os.kill(int(server), signal.SIGCONT)
asking.join()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_children_forked_while_the_server_hung_could_open_no_store(redis_server: Start, tmp_path: Path) -> None:
    server = redis_server()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        FORK,
        server.url,
        str(server.process.pid),
        str(tmp_path / "runs.db"),
    ]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_a_command_had_the_number_of_another_once_the_server_was_set_back(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#numbers")
    here, keys = place.manager(), Keys(place)
    here.open_run(7)
    send = ("send", "asker", here.run_record(7)["fence"], "publish\n1\n\n{}", "0", LEASE, AGE)
    before = keys.ask("HGETALL", "clock")
    first = keys.call(*send)
    keys.ask("DEL", "clock")
    keys.ask("HSET", "clock", *before)
    time.sleep(0.002)  # No server is set back and used again within a millisecond.
    assert int(keys.call(*send)) > int(first)
    place.close()


def test_a_command_was_obeyed_again_once_the_server_was_set_back(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#again")
    here, keys = place.manager(), Keys(place)
    here.open_run(7)
    record = here.run_record(7)
    fence, commands = record["fence"], f"commands:{record['owner']}"
    command = f'publish\n{fence}\n\n{{"n": 1}}'

    def ask_owner() -> str:
        number = str(keys.call("send", "asker", fence, command, "0", LEASE, AGE))
        wait_until(lambda: keys.call("take_reply", number) is not None)
        return number

    number = ask_owner()
    assert keys.call("take_reply", number) == f"{fence}-1"
    keys.ask("HSET", commands, number, command)
    keys.ask("DEL", f"reply:{number}")
    assert keys.call("take_reply", ask_owner()) == f"{fence}-2"
    wait_until(lambda: keys.call("take_reply", number) == f"{fence}-1")
    assert keys.ask("EXISTS", commands) == 0
    place.close()


def test_a_reply_was_waited_for_that_was_deleted_with_everything_else(redis_server: Start) -> None:
    server = redis_server()
    place = Place("redis", f"{server.url}#deleted")
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    owner.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(here.publish, 7, {"n": 1})
        wait_until(lambda: ask(server.port, "KEYS", "*:command:*"))
        server.ask("FLUSHALL")
        with pytest.raises(StoreError, match="deleted or replaced"):
            reply.result(30)
    place.close()
