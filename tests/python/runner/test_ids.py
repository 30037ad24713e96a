"""Ids of runs: random, unless the application names the run."""

import os
import threading
import uuid

import pytest
from core.support import run_python
from genglossary_runs import RunManager
from genglossary_runs.errors import InvalidRunIdError
from genglossary_runs.runner import AlreadyRunningError, Run, RunContext, RunExistsError, Runner

from .support import DEADLINE, Gate, ended, events_of, nothing


def test_ids_are_random_uuids(runner: Runner, manager: RunManager) -> None:
    """Two workers of a server gave out the same, and showed one user's log to another."""
    other = Runner(manager)
    ids = [ended(which.start(nothing)).run_id for which in [runner, other] * 20]
    assert len(set(ids)) == 40
    for run_id in ids:
        assert isinstance(run_id, str)
        assert uuid.UUID(run_id).version == 4


def test_forked_children_give_out_different_ids() -> None:
    run_python("""
import os
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
runner = Runner(RunManager())
read, write = os.pipe()
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        os.write(write, f"{runner.start(lambda context: None).run_id}\\n".encode())
        os._exit(0)
    os.waitpid(pid, 0)
os.close(write)
ids = os.fdopen(read).read().split()
assert len(set(ids)) == len(ids) == 5
""")


@pytest.mark.parametrize(
    ("given", "found"), [(7, 7), ("01JABCDEF", "01JABCDEF"), ("17", 17), (uuid.UUID(int=5), str(uuid.UUID(int=5)))]
)
def test_the_application_may_name_a_run(
    runner: Runner, manager: RunManager, given: int | str, found: int | str
) -> None:
    run = ended(runner.start(lambda context: context.run_id, run_id=given))
    assert run.run_id == run.result == found
    for same in (given, found, str(found)):
        assert runner.get(same) is run
        assert not runner.cancel(same)
    assert {event["run_id"] for event in events_of(manager, run)} == {found}


def test_a_run_that_exists_is_refused_with_its_handle(runner: Runner, gate: Gate) -> None:
    """A request that is repeated is harmless."""
    run = runner.start(gate, run_id="order 7", key="order")
    for _ in range(2):
        with pytest.raises(RunExistsError, match="Run order 7 exists and is running") as refused:
            runner.start(nothing, run_id="order 7", key="order")
        assert (refused.value.run, refused.value.run_id) == (run, "order 7")
    gate.opened.set()
    ended(run)
    with pytest.raises(RunExistsError, match="exists and is completed") as refused:
        runner.start(nothing, run_id="order 7")
    assert refused.value.run is run


def test_a_run_of_somebody_else_is_left_alone(runner: Runner, manager: RunManager) -> None:
    manager.open_run(1)
    manager.finish_run(2, {"complete": True, "mine": True})
    for run_id in (1, 2, "1"):
        with pytest.raises(RunExistsError) as refused:
            runner.start(nothing, run_id=run_id, key="key")
        assert refused.value.run is None
    assert manager.is_active(1)
    assert manager.terminal_event(2) == {"complete": True, "mine": True}
    assert ended(runner.start(nothing, key="key")).status == "completed"
    manager.finish_run(1, {})


def test_of_many_starts_of_one_id_one_wins(runner: Runner, gate: Gate) -> None:
    together = threading.Barrier(50)
    won: list[Run] = []
    refused: list[Run] = []

    def start() -> None:
        together.wait(DEADLINE)
        try:
            won.append(runner.start(gate, run_id="one"))
        except RunExistsError as error:
            refused.append(error.run)

    threads = [threading.Thread(target=start) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(won) == 1
    assert refused == won * 49


@pytest.mark.parametrize(
    ("run_id", "error"),
    [("", InvalidRunIdError), ("x" * 201, InvalidRunIdError), ("a\n", InvalidRunIdError), (2**63, InvalidRunIdError)],
)
def test_an_impossible_id_is_refused(runner: Runner, run_id: int | str, error: type[Exception]) -> None:
    with pytest.raises(error):
        runner.start(nothing, run_id=run_id, key="key")
    assert runner.runs() == []
    assert ended(runner.start(nothing, key="key")).status == "completed"


def test_an_id_of_another_type_is_refused(runner: Runner) -> None:
    for run_id in (True, 1.5, b"1", ["1"]):
        with pytest.raises(TypeError):
            runner.start(nothing, run_id=run_id)  # type: ignore[arg-type]


def test_a_queued_run_that_exists_is_refused(manager: RunManager, gate: Gate) -> None:
    runner = Runner(manager, max_active=1)
    first, second = runner.start(gate), runner.start(nothing, run_id=2)
    with pytest.raises(RunExistsError, match="exists and is queued"):
        runner.start(nothing, run_id=2)
    gate.opened.set()
    ended(first)
    ended(second)


def test_the_errors_differ(runner: Runner, gate: Gate) -> None:
    def work(context: RunContext) -> int:
        return os.getpid()

    runner.start(gate, key="key", run_id=1)
    with pytest.raises(AlreadyRunningError) as refused:
        runner.start(work, key="key", run_id=2)
    assert refused.value.run_id == 1
