"""What the work logs with `logging` goes to the readers of its run, and to those of no other."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from core.support import run_python
from genglossary_runs import RunManager
from genglossary_runs.logs import RunHandler, current_run
from genglossary_runs.runner import RunContext, Runner

from .support import DEADLINE, Gate, ended, events_of, messages_of

logger = logging.getLogger("application.part")


@pytest.fixture(autouse=True)
def handler() -> Iterator[RunHandler]:
    root = logging.getLogger()
    handler = RunHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_record_has_level_logger_and_text(runner: Runner, manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        logger.info("%d pages", 3)
        try:
            raise KeyError("x")
        except KeyError:
            logger.critical("broken", exc_info=True)

    first, second, _ = events_of(manager, ended(runner.start(work)))
    assert (first["level"], first["message"], first["logger"]) == ("info", "3 pages", "application.part")
    assert second["level"] == "error"
    assert second["message"].startswith("broken\nTraceback")


def test_the_handler_formats_and_filters(runner: Runner, manager: RunManager, handler: RunHandler) -> None:
    handler.setFormatter(logging.Formatter("<%(message)s>"))
    handler.setLevel(logging.INFO)
    handler.addFilter(lambda record: "secret" not in record.getMessage())

    def work(context: RunContext) -> None:
        logger.debug("not this")
        logger.info("secret")
        logger.info("this")

    assert messages_of(manager, ended(runner.start(work))) == ["<this>"]


def test_logging_took_the_lock_that_a_handler_of_runs_has_none_of(
    runner: Runner, manager: RunManager, handler: RunHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython 3.13 enters the lock of a handler without asking whether it has one."""
    monkeypatch.setattr(handler, "lock", object())
    handler.addFilter(lambda record: record)  # type: ignore[arg-type, return-value]
    run = ended(runner.start(lambda context: logger.info("heard")))
    assert (run.error, messages_of(manager, run)) == (None, ["heard"])


def test_each_run_has_its_own(runner: Runner, manager: RunManager) -> None:
    together = threading.Barrier(5)

    def work(context: RunContext) -> str:
        together.wait(DEADLINE)
        for _ in range(50):
            logger.info("from %s", context.run_id)
        return f"from {context.run_id}"

    runs = [runner.start(work) for _ in range(5)]
    for run in runs:
        assert messages_of(manager, ended(run)) == [run.result] * 50


def test_helpers_that_carry_the_context(runner: Runner, manager: RunManager) -> None:
    async def work(context: RunContext) -> None:
        async def task() -> None:
            logger.info("task")

        await asyncio.create_task(task())
        await asyncio.to_thread(logger.info, "worker")
        thread = threading.Thread(target=contextvars.copy_context().run, args=(logger.info, "thread"))
        thread.start()
        thread.join()

    run = ended(runner.start(work))
    told = [event for event in events_of(manager, run) if event.get("logger") == "application.part"]
    assert [event["message"] for event in told] == ["task", "worker", "thread"]


def test_what_is_logged_elsewhere_goes_nowhere(runner: Runner, manager: RunManager, gate: Gate) -> None:
    run = runner.start(gate)
    assert gate.entered.wait(DEADLINE)
    logger.info("from the request")
    gate.opened.set()
    assert len(events_of(manager, ended(run))) == 1


def test_a_run_that_a_run_started_has_its_own(runner: Runner, manager: RunManager) -> None:
    def inner(context: RunContext) -> None:
        logger.info("inner")

    def outer(context: RunContext) -> Any:
        run = runner.start(inner)
        run.wait(DEADLINE)
        logger.info("outer")
        return run

    run = ended(runner.start(outer))
    assert messages_of(manager, run) == ["outer"]
    assert messages_of(manager, run.result) == ["inner"]


def test_what_is_logged_after_the_end_goes_nowhere(runner: Runner, manager: RunManager) -> None:
    contexts: list[contextvars.Context] = []
    run = ended(runner.start(lambda context: contexts.append(contextvars.copy_context())))
    contexts[0].run(logger.info, "too late")
    assert len(events_of(manager, run)) == 1


def test_a_record_that_logs_while_it_is_formatted(runner: Runner, manager: RunManager, handler: RunHandler) -> None:
    class Chatty:
        def __str__(self) -> str:
            logger.info("asked for %s", self)
            return "chatty"

    def work(context: RunContext) -> None:
        logger.info("%s", "plain")
        logger.info(Chatty())

    with pytest.MonkeyPatch.context() as patched:
        # Only this handler is tried: others would recurse by themselves.
        patched.setattr(
            logging.getLogger(), "handlers", [h for h in logging.getLogger().handlers if type(h) is RunHandler]
        )
        run = ended(runner.start(work))
    assert messages_of(manager, run) == ["plain", "chatty"]


def test_a_value_that_logs_while_it_is_written(handler: RunHandler) -> None:
    def default(value: Any) -> Any:
        logger.info("writing %r", value)
        return "written"

    manager = RunManager(default=default)
    runner = Runner(manager, progress_interval=0.001)

    def work(context: RunContext) -> None:
        def tell() -> None:
            for number in range(200):
                context.log("x", value=object())
                context.progress(number, 200, value=object())
                logger.info("between")

        threads = [threading.Thread(target=contextvars.copy_context().run, args=(tell,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    assert ended(runner.start(work)).error is None


def test_the_package_does_not_send_readers_its_own_records(runner: Runner, manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        context.log("x", value=object())
        manager.open_run(12345)
        manager.finish_run(12345, {})

    run = ended(runner.start(work))
    assert messages_of(manager, run) == ["x"]


def test_a_record_that_cannot_be_formatted(
    runner: Runner, manager: RunManager, monkeypatch: pytest.MonkeyPatch, handler: RunHandler
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def work(context: RunContext) -> None:
        logger.info("%d", "no number")
        logger.info("still here")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            logging.getLogger(), "handlers", [h for h in logging.getLogger().handlers if type(h) is RunHandler]
        )
        run = ended(runner.start(work))
    assert run.error is None
    assert messages_of(manager, run) == ["still here"]


def test_there_is_no_run_outside_of_runs() -> None:
    assert current_run() is None


def test_a_forked_child_logs_on() -> None:
    run_python("""
import logging, os
from genglossary_runs import RunManager
from genglossary_runs.logs import RunHandler
from genglossary_runs.runner import Runner

logging.getLogger().addHandler(RunHandler())

def work(context):
    pid = os.fork()
    if pid == 0:
        logging.getLogger("application").error("in the child")
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

run = Runner(RunManager()).start(work)
assert run.value(30) == 7
""")
