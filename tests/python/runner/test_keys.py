"""Keys, of which each has one active run."""

import threading

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import AlreadyRunningError, Run, Runner

from .support import DEADLINE, Gate, ended, events_of, nothing, until_cancelled


def test_a_key_has_one_active_run(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate, key="book")
    with pytest.raises(AlreadyRunningError, match=rf"Run {run.run_id} is still running") as refused:
        runner.start(until_cancelled, key="book")
    assert isinstance(refused.value, RuntimeError)
    assert (refused.value.run_id, refused.value.key) == (run.run_id, "book")
    other = ended(runner.start(nothing, key="another book"))
    gate.opened.set()
    ended(run)
    assert ended(runner.start(nothing, key="book")).run_id != other.run_id


def test_a_cancelled_run_holds_its_key_until_it_has_stopped(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate, key="book")
    run.cancel()
    with pytest.raises(AlreadyRunningError, match=rf"Run {run.run_id} was cancelled and is still stopping"):
        runner.start(until_cancelled, key="book")
    gate.opened.set()
    ended(run)
    assert ended(runner.start(nothing, key="book")).status == "completed"


def test_without_a_key_runs_go_side_by_side(runner: Runner) -> None:
    together = threading.Barrier(5)
    runs = [runner.start(lambda context: together.wait(DEADLINE)) for _ in range(5)]
    assert [ended(run).status for run in runs] == ["completed"] * 5


def test_of_200_concurrent_starts_on_one_key_one_wins(runner: Runner, gate: Gate) -> None:
    together = threading.Barrier(200)
    won: list[Run] = []
    refused: list[int] = []

    def start() -> None:
        together.wait(DEADLINE)
        try:
            won.append(runner.start(gate, key="book"))
        except AlreadyRunningError as error:
            refused.append(error.run_id)

    threads = [threading.Thread(target=start) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(won) == 1
    assert refused == [won[0].run_id] * 199


def test_who_reads_the_terminal_event_may_start_the_next_at_once(runner: Runner, manager: RunManager) -> None:
    for _ in range(300):
        run = runner.start(nothing, key="book")
        assert events_of(manager, run)[-1]["status"] == run.status == "completed"
