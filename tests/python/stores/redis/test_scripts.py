"""Each script that begins, stores, finds and lists runs by itself, on a real server."""

import time

import pytest

from .scripts import AGE, LEASE, Project


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
    while project.evict(size=0) == 1:
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
        project.evict(size=500)
    assert (project.progress(fence) or [])[1] == "0"
    assert project.append(fence, 101) == "stored"
    project.ask("HSET", "clock", more=("bytes", 1))
    project.append(fence, 102, end="completed")
    project.evict(age=0)
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


def test_names_of_runs_that_a_process_without_names_ended_are_found(project: Project) -> None:
    first, second = project.begin(1, name="Atlas"), project.begin(2, key="k", name="Other")
    for fence in (first, second):
        project.append(fence, 1, end="completed")
    # Such a process notes neither the name nor that it is there.
    project.ask("HSET", "texts", more=(first, "completed\n1\n\n", second, "completed\n2\nk\n"))

    def found(text: str, *key: str) -> list[str]:
        return list(project.call("list", *(key or ("0", "")), text, "", 10, 100, 0)[1::2])

    assert [found(text) for text in ("ATLAS", "other", "none")] == [[first], [second], []]
    assert found("", "1", "k") == found("OTHER", "1", "k") == [second]
    assert found("atlas", "1", "k") == []


def test_what_lists_look_for_goes_with_its_run(project: Project) -> None:
    for number in (1, 2):
        project.append(project.begin(number), 1, end="completed")
    assert project.ask("HLEN", "texts") == 2
    again = project.begin(1)
    assert project.ask("HLEN", "texts") == 1
    project.append(again, 1, end="completed")
    project.evict(runs=1)
    assert project.ask("HKEYS", "texts") == [again]
