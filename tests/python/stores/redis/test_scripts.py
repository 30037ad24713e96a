"""Each script by itself, on a real server."""

import itertools
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..servers import ask, parse

SCRIPTS = Path(__file__).parents[4] / "src" / "store" / "redis"
LEASE, AGE = 60_000, 86_400_000
HEAD, TAIL, WHY = '{"run_id":', ',"complete":true}', "interrupted"
NEVER = 10**9

_numbers = itertools.count(1)


class Project:
    """The keys of one project, and the scripts on them."""

    def __init__(self, port: int) -> None:
        self.port, self.prefix = port, f"runs:{{script-{next(_numbers)}}}"
        self.loaded: dict[str, str] = {}

    def key(self, *parts: object) -> str:
        return ":".join([self.prefix, *map(str, parts)])

    def ask(self, command: str, *parts: object, more: tuple[object, ...] = ()) -> Any:
        """A command on a key of the project."""
        return ask(self.port, command, self.key(*parts), *more)

    def call(self, script: str, *arguments: object) -> Any:
        if script not in self.loaded:
            text = (SCRIPTS / "common.lua").read_text() + (SCRIPTS / f"{script}.lua").read_text()
            self.loaded[script] = ask(self.port, "SCRIPT", "LOAD", text)
        return ask(self.port, "EVALSHA", self.loaded[script], 1, self.prefix, *arguments)

    def begin(self, run_id: object = 7, owner: str = "me", key: str | None = None, lease: int = LEASE) -> str:
        """The fence of a run that began."""
        what, fence, *_ = self.call("begin", owner, lease, AGE, run_id, *(("0",) if key is None else ("1", key)))
        assert what == "started"
        return str(fence)

    def append(self, fence: str, *seqs: int, owner: str = "me", end: str | None = None, last: int | None = None) -> str:
        ended = ("0",) if end is None else ("1", end, "", "", "")
        events = [word for seq in seqs for word in (seq, "", json.dumps({"n": seq}))]
        return str(self.call("append", owner, AGE, 1, fence, last or max(seqs), *ended, len(seqs), *events)[0])

    def progress(self, fence: str) -> list[str] | None:
        """How far a run is that is running: its newest seq stored, bytes, and owner."""
        state = self.ask("HGET", "progress", more=(fence,))
        return None if state is None else str(state).split(" ")

    def reap(self, *fences: str, grace: int = 0, most: int = 100) -> int:
        return int(self.call("reap", "other", grace, AGE, HEAD, TAIL, WHY, most, *fences))

    def record(self, fence: str) -> dict[str, str]:
        (fields,) = self.call("records", fence)
        return dict(zip(fields[::2], fields[1::2], strict=True))

    def events(self, fence: str) -> list[str]:
        return [event_id for event_id, _ in self.ask("XRANGE", "events", fence, more=("-", "+"))]


@pytest.fixture
def project(redis_url: str) -> Project:
    return Project(int(redis_url.split(":")[2].split("/")[0]))


def test_open_names_a_store_once(project: Project) -> None:
    assert project.call("open", "a") == ["a", None]
    assert project.call("open", "b") == ["a", None]
    project.begin()
    assert project.call("open", "c") == ["a", "1"]


def test_begin_has_one_active_run_for_an_id_and_a_key(project: Project) -> None:
    fence = project.begin(7, key="book")
    what, active, fields, _ = project.call("begin", "you", LEASE, AGE, 7, "0")
    assert (what, active, "me" in fields) == ("run", fence, True)
    assert project.call("begin", "you", LEASE, AGE, 8, "1", "book")[:2] == ["key", fence]
    assert project.append(fence, 1, end="completed") == "stored"
    again = project.begin(7, key="book")
    assert int(again) > int(fence)
    # Lists have the newest life only.
    assert project.ask("ZRANGE", "all", more=(0, -1)) == [again]


def test_begin_gives_rising_numbers(project: Project) -> None:
    project.begin(2**51)
    _, fence, *_ = project.call("begin", "me", LEASE, AGE, "", "0")
    assert project.record(fence)["run_id"] == str(2**51 + 1)
    # A number too large to count on from does not matter.
    project.begin(2**62)
    _, fence, *_ = project.call("begin", "me", LEASE, AGE, "", "0")
    assert project.record(fence)["run_id"] == str(2**51 + 2)


def test_begin_makes_fences_that_rise_when_the_clock_does_not(project: Project) -> None:
    ahead = int(time.time() * 1000) + 10**7
    project.ask("HSET", "clock", more=("fence", ahead))
    assert project.begin(1) == str(ahead + 1)
    assert project.begin(2) == str(ahead + 2)


def test_append_stores_once_what_is_sent_twice(project: Project) -> None:
    fence = project.begin()
    assert project.append(fence, 1, 2, 3) == "stored"
    assert project.append(fence, 2, 3, 4) == "stored"
    assert project.events(fence) == [f"{fence}-{seq}" for seq in (1, 2, 3, 4)]
    assert project.append(fence, 5, end="completed") == "stored"
    assert project.append(fence, 5, end="completed") == "stored"
    assert project.events(fence)[-1] == f"{fence}-5"
    record = project.record(fence)
    assert (record["status"], record["last"]) == ("completed", "5")
    # Nothing of the run is left that names it as running, and its keys expire by themselves.
    assert project.ask("ZCARD", "running") == project.ask("EXISTS", "runs-of", "me") == 0
    assert project.ask("PTTL", "run", fence) > AGE
    assert project.ask("PTTL", "events", fence) > AGE
    assert project.ask("PTTL", "id", 7) > AGE


def test_append_refused_the_first_part_of_an_end_that_was_sent_again(project: Project) -> None:
    fence = project.begin()
    for _ in range(2):
        assert project.append(fence, 1, 2) == "stored"
        assert project.append(fence, 3, end="completed") == "stored"
    assert project.events(fence) == [f"{fence}-{seq}" for seq in (1, 2, 3)]


def test_append_refuses_late_writes(project: Project) -> None:
    fence = project.begin(lease=1)
    assert project.append(fence, 1) == "stored"
    assert project.append(fence, 2, owner="you") == "refused"
    assert project.append("12345", 1) == "unknown"
    time.sleep(0.005)
    assert (project.reap(), project.reap()) == (0, 1)
    assert project.append(fence, 2) == "refused"
    assert project.append(fence, 2, end="completed") == "refused"
    assert len(project.events(fence)) == 2


def test_append_keeps_count_of_bytes(project: Project) -> None:
    fence = project.begin()
    before = int(project.ask("HGET", "clock", more=("bytes",)))
    project.append(fence, 1, 2)
    grown = int(project.ask("HGET", "clock", more=("bytes",))) - before
    assert grown == 2 * (len('{"n": 1}') + 24)
    assert project.progress(fence) == ["2", str(1024 + grown), "me"]


def test_append_stores_many_runs_at_once(project: Project) -> None:
    fences = [project.begin(number) for number in range(3)]
    ended, *running = fences
    project.append(ended, 1, end="completed")
    runs = [word for fence in fences for word in (2, "0", 1, 2, "name", fence)]
    assert project.call("append", "me", AGE, 3, *fences, *runs) == ["stored"] * 3
    assert [project.events(fence) for fence in fences] == [[f"{ended}-1"], *([f"{fence}-2"] for fence in running)]
    assert [project.record(fence)["last"] for fence in fences] == ["1", "2", "2"]


def test_append_keeps_no_progress_of_what_ended(project: Project) -> None:
    done, dead = project.begin(1), project.begin(2, owner="you", lease=1)
    project.append(done, 1, end="completed")
    time.sleep(0.005)
    assert (project.reap(dead), project.reap(dead)) == (0, 1)
    assert project.ask("EXISTS", "progress") == 0


@pytest.mark.parametrize("lost", ["run", "progress"])
def test_append_failed_for_ever_once_the_server_had_evicted_a_key_of_the_run(project: Project, lost: str) -> None:
    fence = project.begin(7)
    project.append(fence, 1, 2)
    project.ask("DEL", *((lost, fence) if lost == "run" else (lost,)))
    assert project.append(fence, 3) == "unknown"
    assert project.call("restore", "me", LEASE, AGE, fence, 7, 5, "0")[0] == 1
    assert project.append(fence, 1, 2, 3) == "stored"
    assert project.events(fence) == [f"{fence}-{seq}" for seq in (1, 2, 3)]
    assert project.record(fence)["last"] == "3"


@pytest.mark.parametrize("state", ["", "3 -5 me", "three"])
def test_append_refused_the_events_of_a_run_whose_progress_could_not_be_read(project: Project, state: str) -> None:
    fence = project.begin(7)
    project.append(fence, 1, 2)
    project.ask("HSET", "progress", more=(fence, state))
    while evict(project, size=0) == 1:
        pass
    assert project.append(fence, 3) == "unknown"
    assert project.call("restore", "me", LEASE, AGE, fence, 7, 5, "0")[0] == 1
    assert project.append(fence, 3) == "stored"
    assert (project.progress(fence) or [])[0] == "3"


def test_bytes_fell_below_zero_where_the_server_had_evicted_their_count(project: Project) -> None:
    fence, done = project.begin(7), project.begin(8)
    project.append(fence, *range(1, 101))
    project.append(done, 1, end="completed")
    project.ask("DEL", "progress")
    assert project.call("restore", "me", LEASE, AGE, fence, 7, 5, "0")[0] == 1
    for _ in range(3):
        evict(project, size=500)
    assert (project.progress(fence) or [])[1] == "0"
    assert project.append(fence, 101) == "stored"
    project.ask("HSET", "clock", more=("bytes", 1))
    project.append(fence, 102, end="completed")
    evict(project, age=0)
    assert int(project.ask("HGET", "clock", more=("bytes",))) >= 0


def test_reap_gave_the_terminal_event_a_seq_before_what_the_server_had_evicted_the_progress_of(
    project: Project,
) -> None:
    fence = project.begin(lease=1)
    project.append(fence, 1, 2)
    project.ask("DEL", "progress")
    time.sleep(0.005)
    assert (project.reap(fence), project.reap(fence)) == (0, 1)
    record = project.record(fence)
    assert (record["last"], project.events(fence)[-1]) == ("3", f"{record['end_fence']}-3")


def test_find_has_the_newest_life(project: Project) -> None:
    assert project.call("find", 7) is None
    project.append(project.begin(), 1, end="completed")
    fence = project.begin()
    found, fields = project.call("find", 7)
    assert (found, "running" in fields) == (fence, True)
    assert project.call("find", '"7"') is None


def test_records_are_in_the_order_of_what_is_asked_for(project: Project) -> None:
    one, two = project.begin(1), project.begin(2)
    project.append(one, 1, 2, 3)
    running, none, begun = project.call("records", one, 5, two)
    assert (running[-2:], none, begun[-2:]) == (["last", "3"], [], ["last", "0"])


def test_list_goes_on_where_it_stopped(project: Project) -> None:
    fences = [project.begin(number, key=f"key {number % 2}" if number else None) for number in range(3)]
    project.append(fences[0], 1, end="failed")

    def listed(*arguments: object) -> tuple[str, list[str]]:
        next_before, *found = project.call("list", *arguments)
        return next_before, found[::2]

    everything = fences[::-1]
    assert listed("0", "", "", "", 10, 100, 0) == ("", everything)
    assert listed("0", "", "", "", 10, 2, 0) == (fences[1], everything[:2])
    assert listed("0", "", "", fences[1], 10, 2, 0) == ("", [fences[0]])
    assert listed("0", "", "", "", 1, 100, 0) == ("", everything[:1])
    assert listed("0", "", "", "", 10, 100, 1, "running") == ("", everything[:2])
    assert listed("0", "", "", "", 10, 100, 1, "failed") == ("", [fences[0]])
    assert listed("0", "", "", "", 10, 100, 2, "failed", "running") == ("", everything)
    assert listed("1", "key 1", "", "", 10, 100, 0) == ("", [fences[1]])
    assert listed("0", "", "EY 1", "", 10, 100, 0) == ("", [fences[1]])
    assert listed("0", "", "key 1", "", 10, 100, 0, fences[0]) == ("", [fences[1], fences[0]])


def test_list_finds_texts_of_runs_that_go_on_that_have_ended_and_that_are_long(project: Project) -> None:
    texts = ("book one", "book two", "book " + "long " * 1000)
    fences = [project.begin(number, key=text) for number, text in enumerate(texts)]

    def found(text: str) -> list[str]:
        return list(project.call("list", "0", "", text, "", 10, 100, 0)[1::2])

    for _ in range(2):
        assert found("BOOK") == fences[::-1]
        assert [found(text) for text in ("one", "two", "LONG L", "1\nbook")] == [*([fence] for fence in fences), []]
        for fence in fences:
            project.append(fence, 1, end="completed")
    # Those of runs whose status alone has the text are none of them.
    assert found("completed") == []
    assert project.ask("HLEN", "texts") == 2


def test_what_lists_look_for_goes_with_its_run(project: Project) -> None:
    for number in (1, 2):
        project.append(project.begin(number), 1, end="completed")
    assert project.ask("HLEN", "texts") == 2
    again = project.begin(1)
    assert project.ask("HLEN", "texts") == 1
    project.append(again, 1, end="completed")
    evict(project, runs=1)
    assert project.ask("HKEYS", "texts") == [again]


def test_reap_never_acts_at_first_sight(project: Project) -> None:
    fence = project.begin(7, key="book", lease=1)
    time.sleep(0.005)
    assert project.reap(fence, grace=50) == 0
    assert project.reap(fence, grace=50) == 0
    assert project.record(fence)["status"] == "running"
    time.sleep(0.06)
    assert project.reap(fence, grace=50) == 1
    record = project.record(fence)
    assert (record["status"], record["error"], record["last"]) == ("failed", WHY, "1")
    # The terminal event has a fence of its own.
    assert int(record["end_fence"]) > int(fence)
    assert project.events(fence) == [f"{record['end_fence']}-1"]
    assert project.begin(8, key="book")


def test_reap_leaves_an_owner_that_renewed_its_lease(project: Project) -> None:
    fence = project.begin(lease=1)
    time.sleep(0.005)
    assert project.reap(fence, grace=NEVER) == 0
    assert project.call("renew", "me", LEASE) == 0
    assert project.ask("HLEN", "suspects") == 0
    assert project.call("renew", "me", LEASE) == 1
    assert (project.reap(fence), project.reap()) == (0, 0)


def test_reap_is_not_misled_by_a_clock_that_was_set_back(project: Project) -> None:
    fence = project.begin(lease=1)
    time.sleep(0.005)
    project.ask("HSET", "suspects", more=("me", int(time.time() * 1000) + 10**7))
    assert project.reap(fence) == 0
    assert project.reap(fence) == 1


def test_reap_ends_so_many_at_once(project: Project) -> None:
    for number in range(5):
        project.begin(number, lease=1)
    time.sleep(0.005)
    assert [project.reap(most=2) for _ in range(5)] == [0, 2, 2, 1, 0]
    assert project.ask("SCARD", "owners") == project.ask("HLEN", "suspects") == 0


def test_owns_is_for_the_owner_of_a_run_that_is_running(project: Project) -> None:
    fence = project.begin()
    assert project.call("owns", "me", LEASE, fence)[0] == 1
    assert project.call("owns", "you", LEASE, fence)[0] == 0
    project.append(fence, 1, end="completed")
    assert project.call("owns", "me", LEASE, fence)[0] == 0


def test_disown_ends_what_is_running(project: Project) -> None:
    begun, ended, own = project.begin(1, key="book"), project.begin(2), project.begin(3)
    project.append(ended, 1, end="completed")
    assert project.call("disown", "me", AGE, HEAD, TAIL, WHY, begun, ended) == 1
    assert [project.record(fence)["status"] for fence in (begun, ended, own)] == ["failed", "completed", "running"]
    assert project.record(begun)["error"] == WHY
    assert project.ask("SMEMBERS", "runs-of", "me") == [own]
    assert project.begin(4, key="book")


def test_restore_writes_what_was_lost_and_nothing_else(project: Project) -> None:
    project.call("restore", "me", LEASE, AGE, 99, 7, 5, "1", "book")
    assert project.call("restore", "me", LEASE, AGE, 99, 7, 6, "0")[0] == 1
    record = project.record("99")
    assert (record["started"], record["key"], record["last"]) == ("5", "book", "0")
    assert project.ask("EXISTS", "lease", "me") == 1
    assert project.call("begin", "you", LEASE, AGE, 8, "1", "book")[0] == "key"


def test_restore_brought_back_what_had_ended(project: Project) -> None:
    fence = project.begin(7, key="book")
    project.ask("DEL", "lease", "me")
    assert (project.reap(fence), project.reap(fence)) == (0, 1)
    assert evict(project, age=0) == 0
    assert project.call("restore", "me", LEASE, AGE, fence, 7, 5, "1", "book")[0] == 0
    assert project.record(fence) == {}
    # What the owner begins from now on is its own.
    later = project.begin(8)
    project.ask("DEL", "run", later)
    assert project.call("restore", "me", LEASE, AGE, later, 8, 5, "0")[0] == 1


def test_restore_took_the_id_and_the_key_of_a_run_that_had_begun_since(project: Project) -> None:
    new = project.begin(7, owner="you", key="book")
    assert project.call("restore", "me", LEASE, AGE, int(new) - 1, 7, 5, "0")[0] == 0
    assert project.call("restore", "me", LEASE, AGE, int(new) - 1, 8, 5, "1", "book")[0] == 0
    assert (project.ask("GET", "id", 7), project.ask("GET", "key", "book")) == (new, new)
    project.append(new, 1, owner="you", end="completed")
    assert project.call("restore", "me", LEASE, AGE, int(new) - 1, 8, 5, "1", "book")[0] == 1


def test_the_end_of_a_run_was_timed_by_the_clock_of_its_owner(project: Project) -> None:
    before = int(time.time() * 1000)
    fence = project.begin()
    project.append(fence, 1, end="completed")
    assert before <= int(project.record(fence)["finished"]) <= int(time.time() * 1000) + 1


def test_reap_ended_others_before_the_run_that_somebody_waited_for(project: Project) -> None:
    fences = [project.begin(number) for number in range(50)]
    project.ask("DEL", "lease", "me")
    assert (project.reap(fences[30], most=1), project.reap(fences[30], most=1)) == (0, 1)
    assert project.record(fences[30])["status"] == "failed"


def test_evict_freed_nothing_once_memory_was_full(project: Project) -> None:
    fence = project.begin()
    project.append(fence, 1, end="completed")
    ask(project.port, "CONFIG", "SET", "maxmemory", 1)
    try:
        assert evict(project, age=0) == 0
    finally:
        ask(project.port, "CONFIG", "SET", "maxmemory", 0)
    assert project.record(fence) == {}


def send(project: Project, fence: str, what: str = "finish") -> str:
    return str(project.call("send", "asker", fence, f"{what}\n{fence}\n\n", int(what == "cancel"), LEASE, AGE))


def test_send_reply_and_take_reply(project: Project) -> None:
    fence = project.begin()
    number = send(project, fence)
    assert project.call("commands", "me") == [number, f"finish\n{fence}\n\n"]
    assert project.call("take_reply", number) is None
    project.call("reply", "me", number, LEASE, "1", "done")
    assert project.ask("HLEN", "commands", "me") == 0
    assert project.call("take_reply", number) == "done"


def test_commands_lost_a_cancel_that_waited_for_a_minute(project: Project) -> None:
    fence, other = project.begin(1), project.begin(2)
    late = send(project, fence)
    cancels = [send(project, run, "cancel") for run in (fence, fence, other)]
    assert (cancels, project.ask("PTTL", "commands", "me") > AGE) == ([fence, fence, other], True)
    # Nobody waits for the other's reply by now.
    project.ask("DEL", "command", late)
    assert sorted(project.call("commands", "me")[::2]) == sorted([fence, other])
    assert project.ask("HLEN", "commands", "me") == 2
    # With the run, its cancel goes.
    project.append(fence, 1, end="completed")
    assert project.call("commands", "me")[::2] == [other]
    project.call("reply", "me", other, LEASE, "0")
    assert project.ask("EXISTS", "commands", "me") == 0


def test_runs_of_a_project_that_nobody_used_stayed_for_ever(project: Project) -> None:
    fence = project.begin(7, key="book")
    project.append(fence, 1)
    send(project, fence, "cancel")
    project.call("open", "name")
    evict(project, age=AGE)
    names = ask(project.port, "KEYS", f"{project.prefix}:*")
    assert {name.removeprefix(f"{project.prefix}:").split(":")[0] for name in names} == {
        *("all", "clock", "commands", "events", "id", "key", "lease", "owners", "progress", "run", "running", "runs-of")
    }
    assert [name for name in names if ask(project.port, "PTTL", name) < 0] == []
    # A live owner renews what is its own.
    for name in names:
        ask(project.port, "PEXPIRE", name, 1000)
    while (more := project.call("keep", "me", AGE, "0", 10)) != "0":
        assert more
    evict(project, age=AGE)
    short = [name for name in names if ask(project.port, "PTTL", name) <= AGE]
    assert sorted(short) == sorted(project.key(*parts) for parts in (("commands", "me"), ("lease", "me")))


def test_a_run_that_expired_stayed_in_lists(project: Project) -> None:
    fence = project.begin()
    project.ask("DEL", "run", fence)
    project.ask("DEL", "lease", "me")
    assert [project.reap() for _ in range(2)] == [0, 0]
    assert [project.ask("EXISTS", name) for name in ("all", "running", "owners")] == [0, 0, 0]


def test_every_process_was_told_of_a_reply_to_one(project: Project) -> None:
    number = send(project, project.begin())
    with socket.create_connection(("127.0.0.1", project.port), timeout=5) as connection:
        connection.sendall(f"SUBSCRIBE {project.key('bell')}\r\n".encode())
        with connection.makefile("rb") as messages:
            parse(messages)
            project.call("reply", "me", number, LEASE, "1", "done")
            assert parse(messages)[2].split(" ")[1:] == ["replies", "asker"]


def test_take_reply_has_an_empty_one_where_the_run_ended_without(project: Project) -> None:
    fence, dead = project.begin(1), project.begin(2, owner="you")
    early = send(project, dead)
    project.ask("DEL", "lease", "you")
    assert (project.reap(dead), project.reap(dead)) == (0, 1)
    assert project.call("take_reply", early) == ""
    project.append(fence, 1, end="completed")
    late = send(project, fence)
    assert project.call("take_reply", late) == ""


def test_take_reply_was_empty_between_the_end_of_a_run_and_the_reply_to_who_ended_it(project: Project) -> None:
    fence = project.begin()
    number = send(project, fence)
    project.append(fence, 1, end="completed")
    assert project.call("take_reply", number) is None
    project.call("reply", "me", number, LEASE, "1", "finished")
    # An answer that is lost is asked for again.
    assert [project.call("take_reply", number) for _ in range(2)] == ["finished", "finished"]


def evict(project: Project, age: int = NEVER, runs: int = NEVER, size: int = NEVER, step: int = 100) -> Any:
    return project.call("evict", age, runs, size, step)


@pytest.mark.parametrize("limits", [{"age": 0}, {"runs": 0}, {"size": 0}])
def test_evict_removes_the_oldest_finished_runs(project: Project, limits: dict[str, int]) -> None:
    fences = [project.begin(number) for number in range(4)]
    for fence in fences[:3]:
        project.append(fence, 1, end="completed")
    assert evict(project, step=2, **limits) == 1
    assert [bool(project.record(fence)) for fence in fences] == [False, False, True, True]
    evict(project, **limits)
    assert [bool(project.record(fence)) for fence in fences] == [False, False, False, True]
    for name in ("id:0", f"events:{fences[0]}"):
        assert project.ask("EXISTS", name) == 0
    assert project.ask("ZRANGE", "all", more=(0, -1)) == fences[3:]
    assert project.ask("HGET", "clock", more=("bytes",)) == (project.progress(fences[3]) or [])[1]


def test_evict_trims_the_largest_run_that_is_running(project: Project) -> None:
    one, two = project.begin(1), project.begin(2)
    project.append(one, 1)
    project.append(two, *range(1, 51))
    assert evict(project, size=2048, step=10) == 1
    assert project.events(two)[0] == f"{two}-11"
    while evict(project, size=2048, step=10) == 1:
        pass
    # The newest event stays.
    assert project.events(two)[-1] == f"{two}-50"
    assert len(project.events(one)) == 1


def test_evict_counts_again_where_records_expired(project: Project) -> None:
    fence = project.begin()
    project.append(fence, 1, end="completed")
    other = project.begin(8)
    project.ask("DEL", "run", fence)
    evict(project, age=0)
    assert project.ask("HGET", "clock", more=("bytes",)) == (project.progress(other) or [])[1]


def test_the_bell_tells_of_every_change(project: Project) -> None:
    def changes() -> int:
        return int(project.ask("HGET", "clock", more=("changes",)) or 0)

    steps: list[Callable[[], object]] = [
        lambda: project.begin(1),
        lambda: project.append(project.call("find", 1)[0], 1),
        lambda: send(project, project.call("find", 1)[0]),
    ]
    for number, step in enumerate(steps, start=1):
        step()
        assert changes() == number
