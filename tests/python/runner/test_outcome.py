"""How a run ends, and what is told of it."""

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import AlreadyRunningError, Run, RunCancelledError, RunContext, Runner

from .support import DEADLINE, Gate, ended, events_of, nothing, raising, until


def test_work_that_returns_is_completed_with_its_result(runner: Runner, manager: RunManager) -> None:
    run = ended(runner.start(lambda context: context.run_id * 2))
    assert (run.status, run.result, run.error) == ("completed", run.run_id * 2, None)
    assert events_of(manager, run) == [{"run_id": run.run_id, "complete": True, "status": "completed"}]
    assert run.terminal_event == manager.terminal_event(run.run_id)
    assert run.started_at <= (run.finished_at or run.started_at) <= datetime.now(UTC)


def test_an_active_run_is_running(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate)
    assert (run.status, run.result, run.finished_at, run.terminal_event) == ("running", None, None, None)


def test_work_that_raises_has_failed(runner: Runner, manager: RunManager) -> None:
    run = ended(runner.start(raising(ValueError("no such page"))))
    assert (run.status, run.error) == ("failed", "ValueError: no such page")
    event = {"run_id": run.run_id, "complete": True, "status": "failed", "error": "ValueError: no such page"}
    assert events_of(manager, run) == [event]


def test_the_traceback_goes_to_the_log(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("/home/user/secret.txt")
    run = ended(runner.start(raising(error)))
    (record,) = [record for record in caplog.records if record.name == "genglossary_runs.runner"]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, f"Run {run.run_id} failed")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_log_handler_that_raises_leaves_nothing_behind(
    runner: Runner, manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    seen: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_type))
    handler = Broken()
    logging.getLogger("genglossary_runs.runner").addHandler(handler)
    try:
        run = ended(runner.start(raising(ValueError("x")), key="k"))
    finally:
        logging.getLogger("genglossary_runs.runner").removeHandler(handler)
    assert run.status == "failed"
    assert events_of(manager, run)[-1]["error"] == "ValueError: x"
    until(lambda: seen == [OSError])
    assert ended(runner.start(nothing, key="k")).status == "completed"


def test_a_thread_that_cannot_start_ends_the_run(
    runner: Runner, manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            runner.start(nothing, key="book")
    (run,) = runner.runs()
    assert (run.status, run.error) == ("failed", "RuntimeError: can't start new thread")
    assert run.wait()
    assert run._raised is not None
    assert run._raised.__traceback__ is None
    assert len(events_of(manager, run)) == 1
    assert manager.stats()["active_runs"] == 0
    assert ended(runner.start(nothing, key="book")).status == "completed"


def test_a_start_that_ctrl_c_interrupts_had_its_run_end_while_the_work_went_on(
    runner: Runner, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run of its key could run beside it."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert gate.entered.wait(DEADLINE)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.start(gate, key="book")
    (run,) = runner.runs()
    assert run.status == "running"
    with pytest.raises(AlreadyRunningError):
        runner.start(nothing, key="book")
    gate.opened.set()
    assert ended(run).result == "through"


def test_a_run_that_ctrl_c_ended_before_it_began_does_no_work(
    runner: Runner, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        threads.append(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.start(gate)
    (run,) = runner.runs()
    assert (run.wait(0), run.error) == (True, "KeyboardInterrupt")
    # As one that the system is slow to run.
    threads[0].start()
    threads[0].join(DEADLINE)
    assert not threads[0].is_alive()
    assert not gate.entered.is_set()
    assert run.status == "failed"


def test_a_manager_that_fails_kept_those_who_wait_waiting(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(RunManager):
        def finish_run(self, *args: Any, **options: Any) -> bool:
            raise MemoryError

    runner = Runner(Failing(), max_active=1)
    runs = [runner.start(nothing) for _ in range(3)]
    assert [ended(run).status for run in runs] == ["completed"] * 3
    assert caplog.text.count("has ended, and its readers may not be told") == 3


def test_a_manager_and_a_log_that_fail_kept_those_who_wait_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(RunManager):
        def finish_run(self, *args: Any, **options: Any) -> bool:
            raise MemoryError

    def fail(*args: Any, **options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(threading, "excepthook", lambda hook: None)
    monkeypatch.setattr(logging.getLogger("genglossary_runs.runner"), "exception", fail)
    assert ended(Runner(Failing()).start(nothing)).status == "completed"


def test_a_run_whose_readers_could_not_be_told_that_it_begins_kept_its_place_for_ever(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(RunManager):
        def publish(self, run_id: Any, event: Any, **options: Any) -> str | None:
            if "running" in event.get("status", ""):
                raise MemoryError
            return super().publish(run_id, event, **options)

    monkeypatch.setattr(logging.getLogger("genglossary_runs.runner"), "disabled", True)
    runner = Runner(Failing(), max_active=1)
    runs = [runner.start(work) for work in (gate, nothing, nothing)]
    gate.opened.set()
    assert [ended(run).error for run in runs] == [None, "MemoryError", "MemoryError"]


def test_what_a_run_says_passed_by_a_manager_that_publishes_in_its_own_way() -> None:
    said: list[Any] = []

    class Telling(RunManager):
        def publish(self, run_id: Any, event: Any, **options: Any) -> str | None:
            said.append(event)
            return super().publish(run_id, event, **options)

        def finish_run(self, run_id: Any, event: Any) -> bool:  # type: ignore[override]
            said.append(event)
            return super().finish_run(run_id, event)

    run = ended(Runner(Telling()).start(lambda context: context.log("a page")))
    assert run.status == "completed"
    assert (said[0]["message"], said[1]["status"]) == ("a page", "completed")


def test_a_traceback_that_cannot_be_told_kept_its_run_from_ending(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: BaseException) -> str:
        raise MemoryError

    monkeypatch.setattr("genglossary_runs.runner.execution.traceback_of", fail)
    run = ended(Runner(manager, tracebacks=True).start(raising(ValueError("no such page"))))
    assert run.error == "ValueError: no such page"


def test_a_run_that_somebody_else_finished_has_one_terminal_event(runner: Runner, manager: RunManager) -> None:
    run = ended(runner.start(lambda context: manager.finish_run(context.run_id, {"complete": True, "other": True})))
    assert run.status == "completed"
    assert events_of(manager, run) == [{"complete": True, "other": True}]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (None, "completed", None),
        (0, "completed", None),
        (False, "completed", None),
        (3, "failed", "SystemExit: 3"),
        ("bad usage", "failed", "SystemExit: bad usage"),
        ("", "failed", "SystemExit"),
    ],
)
def test_an_exit_is_told_by_its_code(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, code: Any, status: str, error: str | None
) -> None:
    """A command line's `main()` that ended well was a failure."""
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_value))
    run = ended(runner.start(lambda context: sys.exit(code)))
    assert (run.status, run.error) == (status, error)
    assert run._thread is not None
    run._thread.join(DEADLINE)
    assert seen == []


@pytest.mark.parametrize(
    ("error", "raised_again"), [(KeyboardInterrupt("a key"), True), (GeneratorExit(), False), (MemoryError(), False)]
)
def test_only_ctrl_c_is_raised_again(
    runner: Runner,
    manager: RunManager,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised_again: bool,
) -> None:
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_value))
    run = ended(runner.start(raising(error)))
    assert run.status == "failed"
    assert events_of(manager, run)[-1]["error"] == run.error
    assert run._thread is not None
    run._thread.join(DEADLINE)
    assert seen == ([error] if raised_again else [])


def test_a_group_of_errors_tells_its_leaves(runner: Runner) -> None:
    """Readers saw "unhandled errors in a TaskGroup (1 sub-exception)"."""
    inner = ExceptionGroup("inner", [LookupError("no data set"), ValueError("bad row")])
    group = ExceptionGroup("outer", [inner, LookupError("no data set"), OSError("down")])
    assert ended(runner.start(raising(group))).error == "LookupError: no data set; ValueError: bad row; OSError: down"


def test_tasks_that_a_failure_cancelled_are_not_told(runner: Runner) -> None:
    group = BaseExceptionGroup("tasks", [asyncio.CancelledError(), ValueError("bad row"), asyncio.CancelledError()])
    assert ended(runner.start(raising(group))).error == "ValueError: bad row"


def test_of_many_errors_the_first_are_told(runner: Runner) -> None:
    error = ended(runner.start(raising(ExceptionGroup("many", [ValueError(str(n)) for n in range(100)])))).error
    assert error == "ValueError: 0; ValueError: 1; ValueError: 2; ValueError: 3; ValueError: 4; and 95 more"


def test_a_group_of_cancels_is_a_cancel(runner: Runner) -> None:
    group = BaseExceptionGroup("tasks", [RunCancelledError(), asyncio.CancelledError()])
    assert ended(runner.start(raising(group))).status == "cancelled"


def test_the_run_has_the_context_of_its_starter(runner: Runner) -> None:
    """Request ids and tenants were lost."""
    tenant = contextvars.ContextVar("tenant", default="nobody")

    def request(name: str) -> Run:
        tenant.set(name)
        return runner.start(work)

    def work(context: RunContext) -> str:
        seen = tenant.get()
        tenant.set("changed by the run")
        return seen

    runs = [contextvars.copy_context().run(request, name) for name in ("ann", "bob")]
    assert [ended(run).result for run in runs] == ["ann", "bob"]
    assert tenant.get() == "nobody"


def test_a_queued_run_has_the_context_of_its_starter(manager: RunManager, gate: Gate) -> None:
    tenant = contextvars.ContextVar("tenant", default="nobody")
    runner = Runner(manager, max_active=1)
    first = runner.start(gate)
    tenant.set("ann")
    second = runner.start(lambda context: tenant.get())
    tenant.set("bob")
    gate.opened.set()
    assert (ended(first).status, ended(second).result) == ("completed", "ann")


def test_the_traceback_goes_to_readers_who_may_see_it(manager: RunManager) -> None:
    def broken(context: RunContext) -> None:
        raise LookupError("GET https://api.example.com/?api_key=hunter2 failed")

    run = ended(Runner(manager, tracebacks=True).start(broken))
    message, terminal = events_of(manager, run)
    assert message["level"] == "error"
    assert message["message"] == terminal["error"] == run.error
    assert message["traceback"].startswith("Traceback (most recent call last):\n")
    assert "in broken" in message["traceback"]
    assert "hunter2" not in str(message)
    assert "run_work" not in message["traceback"]


def test_a_failed_run_keeps_nothing_of_its_work(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback refers to the frames in which the error was raised, and these to all that the work had read."""
    monkeypatch.setattr(logging.getLogger("genglossary_runs.runner"), "disabled", True)
    references: list[weakref.ref[Any]] = []

    class Data:
        pass

    def read() -> None:
        data = Data()
        references.append(weakref.ref(data))
        raise LookupError("inner")

    def work(context: RunContext) -> None:
        try:
            read()
        except LookupError as error:
            raise ExceptionGroup("outer", [ValueError("x")]) from error

    run = ended(runner.start(work))
    assert run.error == "ValueError: x"
    until(lambda: gc.collect() >= 0 and references[0]() is None)


@dataclass(frozen=True)
class Frozen(Exception):
    page: int = 7


class Closed(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(f"{name} cannot be set")


class Causeless(Exception):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise LookupError("no cause")


@pytest.mark.parametrize("kind", [Frozen, Closed, Causeless])
@pytest.mark.parametrize("chained", [False, True])
def test_an_error_that_lets_nobody_set_its_attributes_kept_those_who_wait_waiting(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], chained: bool
) -> None:
    # Formatting one of them fails, which is for the handler to report.
    monkeypatch.setattr(logging.getLogger("genglossary_runs.runner"), "disabled", True)

    def work(context: RunContext) -> None:
        try:
            raise kind
        except kind as error:
            if chained:
                raise ValueError("no such page") from error
            raise

    run = ended(runner.start(work))
    assert run.status == "failed"
    assert run._raised is not None
    assert run._raised.__traceback__ is None


def test_an_observer_that_exits_kept_those_who_wait_waiting(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda hook: None)

    class Exiting:
        def began(self, run: Run) -> None:
            """Let it begin."""

        def ended(self, run: Run) -> None:
            sys.exit(1)

    runner = Runner(manager)
    runner.observe(Exiting())
    assert ended(runner.start(nothing)).status == "completed"


class Exiting(Exception):
    def __str__(self) -> str:
        sys.exit(1)


class Nameless(OSError):
    @property
    def filename(self) -> str:  # type: ignore[override]
        raise LookupError("no name")


class Empty(ExceptionGroup):
    @property
    def exceptions(self) -> tuple[Exception]:  # type: ignore[override]
        raise LookupError("nothing in it")


class Untraced(Exception):
    def with_traceback(self, trace: object) -> Any:
        raise TypeError("takes no traceback")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Exiting(), "Exiting"),
        (Nameless(2, "missing"), "Nameless"),
        (Empty("many", [ValueError()]), "Empty"),
        (Untraced("page 7"), "Untraced: page 7"),
    ],
)
def test_an_error_whose_parts_raise_kept_its_run_running(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(logging.getLogger("genglossary_runs.runner"), "disabled", True)
    run = ended(Runner(manager, tracebacks=True).start(raising(error)))
    assert (run.status, run.error) == ("failed", told)
    with pytest.raises(type(error)), manager.run("import 7"):
        raise error
    terminal = manager.terminal_event("import 7")
    assert terminal is not None
    assert terminal["error"] == told


def test_an_observer_that_exits_as_a_run_begins_kept_it_running(manager: RunManager) -> None:
    class Exiting:
        def began(self, run: Run) -> None:
            sys.exit("no place for it")

        def ended(self, run: Run) -> None:
            """Let it end."""

    runner = Runner(manager)
    runner.observe(Exiting())
    assert ended(runner.start(nothing)).error == "SystemExit: no place for it"
