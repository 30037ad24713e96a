"""Each script that ends runs of others, restores or removes them, or passes commands on, on a real server."""

import socket
import time
from collections.abc import Callable

import pytest

from ..servers import ask, parse
from .scripts import AGE, HEAD, LEASE, NEVER, TAIL, WHY, Project


def test_reap_never_acts_at_first_sight(project: Project) -> None:
    fence = project.begin(7, key="book", lease=1, name="Atlas")
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
    assert project.call("list", "0", "", "atlas", "", 10, 100, 0)[1::2] == [fence]
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
    project.call("restore", "me", LEASE, AGE, 99, 7, 5, "1", "book", "1", "Atlas")
    assert project.call("restore", "me", LEASE, AGE, 99, 7, 6, "0", "", "1", "Other")[0] == 1
    record = project.record("99")
    assert (record["started"], record["key"], record["name"], record["last"]) == ("5", "book", "Atlas", "0")
    assert project.ask("EXISTS", "lease", "me") == 1
    assert project.call("begin", "you", LEASE, AGE, 8, "1", "book")[0] == "key"


def test_restore_brought_back_what_had_ended(project: Project) -> None:
    fence = project.begin(7, key="book")
    project.ask("DEL", "lease", "me")
    assert (project.reap(fence), project.reap(fence)) == (0, 1)
    assert project.evict(age=0) == 0
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
        assert project.evict(age=0) == 0
    finally:
        ask(project.port, "CONFIG", "SET", "maxmemory", 0)
    assert project.record(fence) == {}


def test_send_reply_and_take_reply(project: Project) -> None:
    fence = project.begin()
    number = project.send(fence)
    assert project.call("commands", "me") == [number, f"finish\n{fence}\n\n"]
    assert project.call("take_reply", number) is None
    project.call("reply", "me", number, LEASE, "1", "done")
    assert project.ask("HLEN", "commands", "me") == 0
    assert project.call("take_reply", number) == "done"


def test_commands_lost_a_cancel_that_waited_for_a_minute(project: Project) -> None:
    fence, other = project.begin(1), project.begin(2)
    late = project.send(fence)
    cancels = [project.send(run, "cancel") for run in (fence, fence, other)]
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
    project.send(fence, "cancel")
    project.call("open", "name")
    project.evict(age=AGE)
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
    project.evict(age=AGE)
    short = [name for name in names if ask(project.port, "PTTL", name) <= AGE]
    assert sorted(short) == sorted(project.key(*parts) for parts in (("commands", "me"), ("lease", "me")))


def test_a_run_that_expired_stayed_in_lists(project: Project) -> None:
    fence = project.begin()
    project.ask("DEL", "run", fence)
    project.ask("DEL", "lease", "me")
    assert [project.reap() for _ in range(2)] == [0, 0]
    assert [project.ask("EXISTS", name) for name in ("all", "running", "owners")] == [0, 0, 0]


def test_every_process_was_told_of_a_reply_to_one(project: Project) -> None:
    number = project.send(project.begin())
    with socket.create_connection(("127.0.0.1", project.port), timeout=5) as connection:
        connection.sendall(f"SUBSCRIBE {project.key('bell')}\r\n".encode())
        with connection.makefile("rb") as messages:
            parse(messages)
            project.call("reply", "me", number, LEASE, "1", "done")
            assert parse(messages)[2].split(" ")[1:] == ["replies", "asker"]


def test_take_reply_has_an_empty_one_where_the_run_ended_without(project: Project) -> None:
    fence, dead = project.begin(1), project.begin(2, owner="you")
    early = project.send(dead)
    project.ask("DEL", "lease", "you")
    assert (project.reap(dead), project.reap(dead)) == (0, 1)
    assert project.call("take_reply", early) == ""
    project.append(fence, 1, end="completed")
    late = project.send(fence)
    assert project.call("take_reply", late) == ""


def test_take_reply_was_empty_between_the_end_of_a_run_and_the_reply_to_who_ended_it(project: Project) -> None:
    fence = project.begin()
    number = project.send(fence)
    project.append(fence, 1, end="completed")
    assert project.call("take_reply", number) is None
    project.call("reply", "me", number, LEASE, "1", "finished")
    # An answer that is lost is asked for again.
    assert [project.call("take_reply", number) for _ in range(2)] == ["finished", "finished"]


@pytest.mark.parametrize("limits", [{"age": 0}, {"runs": 0}, {"size": 0}])
def test_evict_removes_the_oldest_finished_runs(project: Project, limits: dict[str, int]) -> None:
    fences = [project.begin(number) for number in range(4)]
    for fence in fences[:3]:
        project.append(fence, 1, end="completed")
    assert project.evict(step=2, **limits) == 1
    assert [bool(project.record(fence)) for fence in fences] == [False, False, True, True]
    project.evict(**limits)
    assert [bool(project.record(fence)) for fence in fences] == [False, False, False, True]
    for name in ("id:0", f"events:{fences[0]}"):
        assert project.ask("EXISTS", name) == 0
    assert project.ask("ZRANGE", "all", more=(0, -1)) == fences[3:]
    assert project.ask("HGET", "clock", more=("bytes",)) == (project.progress(fences[3]) or [])[1]


def test_evict_trims_the_largest_run_that_is_running(project: Project) -> None:
    one, two = project.begin(1), project.begin(2)
    project.append(one, 1)
    project.append(two, *range(1, 51))
    assert project.evict(size=2048, step=10) == 1
    assert project.events(two)[0] == f"{two}-11"
    while project.evict(size=2048, step=10) == 1:
        pass
    # The newest event stays.
    assert project.events(two)[-1] == f"{two}-50"
    assert len(project.events(one)) == 1


def test_evict_counts_again_where_records_expired(project: Project) -> None:
    fence = project.begin()
    project.append(fence, 1, end="completed")
    other = project.begin(8)
    project.ask("DEL", "run", fence)
    project.evict(age=0)
    assert project.ask("HGET", "clock", more=("bytes",)) == (project.progress(other) or [])[1]


def test_the_bell_tells_of_every_change(project: Project) -> None:
    def changes() -> int:
        return int(project.ask("HGET", "clock", more=("changes",)) or 0)

    steps: list[Callable[[], object]] = [
        lambda: project.begin(1),
        lambda: project.append(project.call("find", 1)[0], 1),
        lambda: project.send(project.call("find", 1)[0]),
    ]
    for number, step in enumerate(steps, start=1):
        step()
        assert changes() == number
