"""Runs that wait their turn: for a place, or for their key."""

import logging
import queue
import threading
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import AlreadyRunningError, Run, RunContext, Runner

from .support import DEADLINE, Gate, ended, events_of, nothing, raising, until, until_cancelled


def statuses(runs: list[Run]) -> list[str]:
    return [run.status for run in runs]


def told(manager: RunManager, run: Run) -> list[Any]:
    """What readers are told of a run, in order."""
    return [event.get("status", event.get("cancel_requested")) for event in events_of(manager, run)]


# max_active


def test_no_more_than_max_active_run_at_a_time(manager: RunManager) -> None:
    runner = Runner(manager, max_active=3)
    lock = threading.Lock()
    active, most = 0, 0

    def work(context: RunContext) -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        context.cancel_event.wait(0.001)
        with lock:
            active -= 1

    runs = [runner.start(work) for _ in range(100)]
    for run in runs:
        assert ended(run).status == "completed"
    assert most <= 3


def test_300_starts_are_not_300_threads(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager)
    before = threading.active_count()
    runs = [runner.start(gate) for _ in range(300)]
    assert threading.active_count() - before <= 64
    assert statuses(runs).count("queued") == 300 - 64
    gate.opened.set()
    assert {ended(run).status for run in runs} == {"completed"}


def test_first_come_first_served(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager, max_active=1)
    order: list[int] = []
    first = runner.start(gate)

    def work(number: int) -> Any:
        return lambda context: order.append(number)

    runs = [runner.start(work(number)) for number in range(20)]
    assert statuses(runs) == ["queued"] * 20
    gate.opened.set()
    for run in [first, *runs]:
        ended(run)
    assert order == list(range(20))


def test_readers_see_that_a_run_is_queued(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager, max_active=1)
    first = runner.start(gate)
    second = runner.start(lambda context: context.log("begun"))
    with manager.subscribe(second.run_id, "0") as reader:
        event = reader.get(timeout=DEADLINE)
        assert (event["run_id"], event["status"]) == (second.run_id, "queued")
        assert reader.empty()
        gate.opened.set()
        assert reader.get(timeout=DEADLINE)["status"] == "running"
        assert reader.get(timeout=DEADLINE)["message"] == "begun"
    ended(first)
    ended(second)


def test_a_queued_run_that_is_cancelled_ends_at_once(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager, max_active=1)
    first = runner.start(gate)
    ran: list[str] = []
    second = runner.start(lambda context: ran.append("second"), key="key")
    third = runner.start(lambda context: ran.append("third"), key="key", if_active="wait")
    assert second.cancel()
    assert second.wait(0)
    assert statuses([first, second, third]) == ["running", "cancelled", "queued"]
    assert told(manager, second) == ["queued", True, "cancelled"]
    assert not second.cancel()
    gate.opened.set()
    assert ended(third).status == "completed"
    assert ran == ["third"]
    assert ended(first).status == "completed"


def test_a_run_that_fails_gives_its_place_away(manager: RunManager) -> None:
    runner = Runner(manager, max_active=1)
    runs = [runner.start(work) for work in (raising(ValueError()), raising(SystemExit(1)), nothing) * 5]
    assert {ended(run).status for run in runs} == {"failed", "completed"}
    assert runs[-1].status == "completed"


def test_a_thread_that_cannot_start_gives_its_place_away(
    manager: RunManager, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(manager, max_active=1)
    first = runner.start(gate)
    runs = [runner.start(nothing) for _ in range(3)]
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread is refused:
            raise RuntimeError("can't start new thread")
        start(thread)

    refused = runs[1]._thread
    monkeypatch.setattr(threading.Thread, "start", refuse)
    gate.opened.set()
    assert [ended(run).status for run in [first, *runs]] == ["completed", "completed", "failed", "completed"]
    assert runs[1].error == "RuntimeError: can't start new thread"


def test_a_long_queue_without_threads_was_left_standing(
    manager: RunManager, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run that could not be started started the next, until Python's stack was full."""
    monkeypatch.setattr(logging.getLogger("genglossary_runs.runner"), "disabled", True)
    runner = Runner(manager, max_active=1)
    first = runner.start(gate)
    runs = [runner.start(nothing) for _ in range(600)]

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        gate.opened.set()
        assert ended(first).status == "completed"
        assert {ended(run).error for run in runs} == {"RuntimeError: can't start new thread"}
    with pytest.raises(RuntimeError, match=f"Run {runs[0].run_id} could not be started: RuntimeError: can't start"):
        runs[0].value(0)
    assert ended(runner.start(nothing)).status == "completed"


def test_a_start_from_the_queue_that_ctrl_c_interrupts_had_its_run_end_while_the_work_went_on(
    manager: RunManager, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(manager, max_active=1)
    first, second, start = runner.start(until_cancelled), runner.start(gate), threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert gate.entered.wait(DEADLINE)
        raise KeyboardInterrupt

    seen: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_type))
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    first.cancel()
    assert ended(first).status == "cancelled"
    assert second.status == "running"
    until(lambda: seen == [KeyboardInterrupt])
    gate.opened.set()
    assert ended(second).result == "through"


def test_cancels_and_ends_that_race() -> None:
    """Each run ends once, and no place is lost."""
    manager = RunManager(retained_runs=1000)
    runner = Runner(manager, max_active=2, finished_runs=1000)
    runs = [runner.start(nothing, key=number % 3, if_active="wait") for number in range(300)]
    threads = [threading.Thread(target=lambda part=part: [run.cancel() for run in runs[part::2]]) for part in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert {ended(run).status for run in runs} <= {"completed", "cancelled"}
    for run in runs:
        assert [event.get("complete") for event in events_of(manager, run)].count(True) == 1
    assert ended(runner.start(nothing)).status == "completed"


def test_shutdown_ends_what_is_queued(manager: RunManager) -> None:
    runner = Runner(manager, max_active=1)
    ran: list[str] = []
    first = runner.start(until_cancelled)
    rest = [runner.start(lambda context: ran.append("ran")) for _ in range(10)]
    assert runner.shutdown(DEADLINE)
    assert statuses([first, *rest]) == ["cancelled"] * 11
    assert ran == []


@pytest.mark.parametrize("limit", [0, -1])
def test_an_impossible_limit_is_refused(manager: RunManager, limit: int) -> None:
    with pytest.raises(ValueError, match=f"max_active is {limit}"):
        Runner(manager, max_active=limit)


def test_without_a_limit_nothing_waits(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager, max_active=None)
    runs = [runner.start(gate) for _ in range(100)]
    assert statuses(runs) == ["running"] * 100
    gate.opened.set()
    for run in runs:
        ended(run)


# if_active


def test_wait_starts_when_the_key_is_free(runner: Runner, gate: Gate) -> None:
    order: list[str] = []
    first = runner.start(gate, key="book")
    second = runner.start(lambda context: order.append("second"), key="book", if_active="wait")
    third = runner.start(lambda context: order.append("third"), key="book", if_active="wait")
    other = ended(runner.start(lambda context: order.append("other"), key="another book", if_active="wait"))
    assert statuses([first, second, third, other]) == ["running", "queued", "queued", "completed"]
    with pytest.raises(AlreadyRunningError) as refused:
        runner.start(nothing, key="book")
    assert refused.value.run is first
    gate.opened.set()
    ended(second)
    ended(third)
    assert order == ["other", "second", "third"]


def test_wait_without_a_run_of_the_key_starts_at_once(runner: Runner) -> None:
    assert ended(runner.start(nothing, key="book", if_active="wait")).status == "completed"
    assert ended(runner.start(nothing, key="book", if_active="replace")).status == "completed"


def test_replace_cancels_and_starts_after(runner: Runner) -> None:
    ends: queue.Queue[str] = queue.Queue()

    def stops_slowly(context: RunContext) -> None:
        assert context.cancel_event.wait(DEADLINE)
        ends.put("first")

    first = runner.start(stops_slowly, key="book")
    second = runner.start(lambda context: ends.put("second"), key="book", if_active="replace")
    assert [ended(first).status, ended(second).status] == ["completed", "completed"]
    assert first.cancel_requested
    assert [ends.get(timeout=DEADLINE), ends.get(timeout=DEADLINE)] == ["first", "second"]


def test_replace_replaces_those_that_wait(runner: Runner, gate: Gate) -> None:
    first = runner.start(gate, key="book")
    second = runner.start(nothing, key="book", if_active="wait")
    third = runner.start(nothing, key="book", if_active="replace")
    fourth = runner.start(nothing, key="book", if_active="replace")
    assert statuses([first, second, third, fourth]) == ["running", "cancelled", "cancelled", "queued"]
    gate.opened.set()
    assert [ended(run).status for run in (first, fourth)] == ["completed", "completed"]


def test_a_run_that_was_replaced_began_when_the_one_before_it_ended(manager: RunManager) -> None:
    runner = Runner(manager)
    began: list[str] = []
    watched = threading.Event()

    def first_work(context: RunContext) -> None:
        # In the thread that cancels, before it goes on to the next run.
        context.cancel_event.add_callback(lambda: ended(first))
        watched.set()
        until_cancelled(context)

    first = runner.start(first_work, key="book")
    assert watched.wait(DEADLINE)
    second = runner.start(lambda context: began.append("second"), key="book", if_active="wait")
    third = runner.start(lambda context: began.append("third"), key="book", if_active="replace")
    assert [ended(run).status for run in (first, second, third)] == ["cancelled", "cancelled", "completed"]
    assert began == ["third"]


def test_a_key_that_waits_holds_up_nobody_else(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager, max_active=2)
    first = runner.start(gate, key="book")
    second = runner.start(nothing, key="book", if_active="wait")
    assert ended(runner.start(nothing)).status == "completed"
    gate.opened.set()
    ended(first)
    ended(second)


def test_the_work_may_start_its_successor(runner: Runner) -> None:
    successors: list[Run] = []

    def work(context: RunContext) -> None:
        successors.append(runner.start(nothing, key="book", if_active="wait"))
        assert successors[0].status == "queued"

    assert ended(runner.start(work, key="book")).error is None
    until(lambda: successors)
    assert ended(successors[0]).status == "completed"


def test_another_word_is_refused(runner: Runner) -> None:
    with pytest.raises(ValueError, match="if_active must be 'refuse', 'wait' or 'replace', not 'queue'"):
        runner.start(nothing, key="book", if_active="queue")  # type: ignore[arg-type]
