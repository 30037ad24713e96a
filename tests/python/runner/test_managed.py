"""A run for the time of a `with` block."""

import concurrent.futures
import logging
import uuid

import pytest
from core.support import run_python
from genglossary_runs import RunManager
from genglossary_runs.errors import RunActiveError, RunCancelledError
from genglossary_runs.logs import RunHandler
from genglossary_runs.runner import current_run

from .support import DEADLINE


def told(manager: RunManager, run_id: int | str) -> list[object]:
    """What readers are told of a run, without when."""
    return [
        event.get("message", event.get("status", event.get("cancel_requested", event.get("progress_current"))))
        for event in manager.subscribe(run_id, "0")
    ]


def test_the_block_opens_and_finishes_the_run(manager: RunManager) -> None:
    with manager.run("import 7") as context:
        assert manager.is_active("import 7")
        assert current_run() is context
        context.log("begun")
        context.progress(1, 3)
        context.progress(2, 3)
    assert current_run() is None
    assert told(manager, "import 7") == ["begun", 1, 2, "completed"]
    assert manager.stats()["active_runs"] == 0


def test_a_run_that_others_had_finished_was_finished_again() -> None:
    manager = RunManager(retained_runs=0)
    with manager.run("import 7"):
        manager.finish_run("import 7", {"complete": True})
    assert manager.stats()["events_published"] == 1


def test_a_job_of_a_pool_that_raises_ends_its_run(manager: RunManager) -> None:
    """Readers waited for ever, and the id was taken for ever."""

    def job() -> None:
        with manager.run(1):
            raise ValueError("at /home/somebody/file.txt")

    with concurrent.futures.ThreadPoolExecutor() as pool, pytest.raises(ValueError, match="at /home/somebody"):
        pool.submit(job).result(DEADLINE)
    assert manager.terminal_event(1) == {
        "run_id": 1,
        "complete": True,
        "status": "failed",
        "error": "ValueError: at file.txt",
    }
    with manager.run(1):
        assert manager.is_active(1)


def test_a_cancel_is_told_and_ends_the_block(manager: RunManager) -> None:
    with pytest.raises(RunCancelledError), manager.run(1) as context:
        manager.cancel_run(1)
        context.raise_if_cancelled()
    assert told(manager, 1) == [True, "cancelled"]
    terminal = manager.terminal_event(1)
    assert terminal is not None
    assert terminal["cancel_requested"] is True


def test_an_exit_goes_on(manager: RunManager) -> None:
    with pytest.raises(SystemExit), manager.run(1):
        raise SystemExit(0)
    assert told(manager, 1) == ["completed"]


def test_a_run_that_is_open_is_refused(manager: RunManager) -> None:
    with manager.run(1), pytest.raises(RunActiveError), manager.run(1):
        raise AssertionError
    assert told(manager, 1) == ["completed"]


def test_without_an_id_it_is_random(manager: RunManager) -> None:
    with manager.run() as context:
        assert uuid.UUID(str(context.run_id)).version == 4


def test_what_the_block_logs_goes_to_it(manager: RunManager) -> None:
    handler = RunHandler()
    logger = logging.getLogger("application")
    logger.addHandler(handler)
    try:
        with manager.run(1):
            logger.warning("inside")
        logger.warning("outside")
    finally:
        logger.removeHandler(handler)
    assert told(manager, 1) == ["inside", "completed"]


def test_blocks_inside_one_another(manager: RunManager) -> None:
    with manager.run(1) as outer:
        with manager.run(2) as inner:
            assert current_run() is inner
        assert current_run() is outer


def test_what_was_finished_inside_stays(manager: RunManager) -> None:
    with manager.run(1):
        manager.finish_run(1, {"complete": True, "mine": True})
    assert manager.terminal_event(1) == {"complete": True, "mine": True}


def test_a_child_that_leaves_the_block_ends_nothing() -> None:
    run_python("""
import os
from genglossary_runs import RunManager
manager = RunManager()
with manager.run(1):
    pid = os.fork()
if pid == 0:
    os._exit(0 if manager.terminal_event(1) is None else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert manager.terminal_event(1)["status"] == "completed"
""")
