"""Every promise of `genglossary_runs.runner`, kept by real threads under a real manager."""

import logging
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from core.support import run_python
from genglossary_runs import RunManager
from genglossary_runs.runner import AlreadyRunningError, Run, RunCancelledError, RunContext, Runner

PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""


class Gate:
    """Work that has begun, and goes on once it is let."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, context: RunContext) -> str:
        self.entered.set()
        assert self.opened.wait(PATIENCE)
        return "through"


@pytest.fixture
def manager() -> RunManager:
    return RunManager()


@pytest.fixture
def runner(manager: RunManager) -> Iterator[Runner]:
    runner = Runner(manager)
    yield runner
    assert runner.shutdown(PATIENCE)
    stats = manager.stats()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["subscribers"]) == (0, 0, 0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def ended(run: Run) -> Run:
    assert run.wait(PATIENCE)
    return run


def until(condition: Callable[[], bool]) -> None:
    """Wait for what follows the end of a run, in its thread."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def events_of(manager: RunManager, run: Run) -> list[dict[str, Any]]:
    """All events of a run, until its terminal event."""
    subscription = manager.subscribe(run.run_id, after="0")
    events = []
    while not events or not events[-1].get("complete"):
        events.append(subscription.get(timeout=PATIENCE))
    with pytest.raises(queue.Empty):
        subscription.get_nowait()
    return events


def until_cancelled(context: RunContext) -> None:
    assert context.cancel_event.wait(PATIENCE)
    context.raise_if_cancelled()


def raising(error: BaseException) -> Callable[[RunContext], None]:
    def work(context: RunContext) -> None:
        raise error

    return work


# Outcome


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


def test_work_that_notices_the_cancel_is_cancelled(runner: Runner, manager: RunManager) -> None:
    run = runner.start(until_cancelled)
    assert not run.cancel_requested
    assert run.cancel()
    assert run.cancel_requested
    assert ended(run).status == "cancelled"
    assert events_of(manager, run) == [{"run_id": run.run_id, "complete": True, "status": "cancelled"}]
    assert not run.cancel()


def test_any_error_once_cancelled_is_the_cancel(runner: Runner) -> None:
    def work(context: RunContext) -> None:
        assert context.cancel_event.wait(PATIENCE)
        raise ConnectionError("closed under the work")

    run = runner.start(work)
    assert runner.cancel(run.run_id)
    assert (ended(run).status, run.error) == ("cancelled", None)


def test_a_cancel_that_came_too_late_keeps_the_result(runner: Runner) -> None:
    def work(context: RunContext) -> str:
        assert context.cancel_event.wait(PATIENCE)
        return "done all the same"

    run = runner.start(work)
    run.cancel()
    assert (ended(run).status, run.result, run.cancel_requested) == ("completed", "done all the same", True)


def test_work_may_call_itself_cancelled(runner: Runner) -> None:
    assert ended(runner.start(raising(RunCancelledError()))).status == "cancelled"


def test_cancel_of_an_unknown_run_is_none(runner: Runner) -> None:
    assert not runner.cancel(10**9)


def test_raise_if_cancelled_lets_an_uncancelled_run_go_on(runner: Runner) -> None:
    run = ended(runner.start(lambda context: context.raise_if_cancelled()))
    assert run.status == "completed"


@pytest.mark.parametrize("error", [KeyboardInterrupt("a key"), SystemExit(3), GeneratorExit()])
def test_a_base_exception_fails_the_run_and_goes_on_to_threading(
    runner: Runner, manager: RunManager, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_value))
    run = ended(runner.start(raising(error)))
    assert run.status == "failed"
    assert events_of(manager, run)[-1]["error"] == run.error
    until(lambda: seen == [error])


def test_a_base_exception_once_cancelled_is_the_cancel(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: seen.append(hook.exc_value))

    def work(context: RunContext) -> None:
        assert context.cancel_event.wait(PATIENCE)
        raise SystemExit

    run = runner.start(work)
    run.cancel()
    assert ended(run).status == "cancelled"
    until(lambda: [type(error) for error in seen] == [SystemExit])


# Errors as clients see them


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError(), "ValueError"),
        (KeyError("page"), "KeyError: 'page'"),
        (FileNotFoundError(2, "No such file or directory", "/home/a user/my notes.txt"), "'my notes.txt'"),
        (OSError(18, "Cross-device link", "/srv/in/a.txt", None, "/srv/out/b.txt"), "'a.txt' -> 'b.txt'"),
        (PermissionError(13, "Permission denied", b"/srv/in/a.txt"), "b'a.txt'"),
        (ValueError("cannot read /home/user/secret/file.txt: bad"), "ValueError: cannot read file.txt: bad"),
        (ValueError("in '/home/a user/my notes.txt' it stops"), "ValueError: in 'my notes.txt' it stops"),
        (ValueError("in /home/a user/notes.txt it stops"), "ValueError: in notes.txt it stops"),
        (ValueError(r"C:\Users\user\file.txt is bad"), "ValueError: file.txt is bad"),
        (ValueError(r"\\server\share\file.txt is bad"), "ValueError: file.txt is bad"),
        (ValueError("~/secret/file.txt, ../secret/file.txt"), "ValueError: file.txt, file.txt"),
        (ValueError("secret/part/file.txt"), "ValueError: file.txt"),
        (ValueError("file:///home/user/file.txt"), "ValueError: file.txt"),
        (ValueError("/home/利用者/用語集.txt が無い"), "ValueError: 用語集.txt が無い"),
        (ValueError("/home/user/"), "ValueError: user"),
        (ValueError("I/O of 3/10 pages and/or lines, 5 km/h"), "ValueError: I/O of 3/10 pages and/or lines, 5 km/h"),
        (ValueError("https://host/docs/page.html says 404"), "ValueError: https://host/docs/page.html says 404"),
        (ValueError("caf\udce9"), "ValueError: caf\ufffd"),
        (ValueError("two\nlines\tand  more"), "ValueError: two lines and more"),
    ],
)
def test_readers_get_the_message_without_paths(runner: Runner, error: Exception, shown: str) -> None:
    message = ended(runner.start(raising(error))).error
    assert message is not None
    assert message.endswith(shown)
    assert message.startswith(type(error).__name__)
    for part in ("/home", "/srv", "user", "secret", "server"):
        assert part not in message.removesuffix("user")


@pytest.mark.parametrize("before", ["", "The worker said:\n"])
def test_readers_get_no_traceback_from_inside_a_message(runner: Runner, before: str) -> None:
    text = before + 'Traceback (most recent call last):\n  File "/home/user/a.py", line 3, in f\nKeyError: 5\n'
    message = ended(runner.start(raising(RuntimeError(text)))).error
    assert message == ("RuntimeError: The worker said:" if before else "RuntimeError: KeyError: 5")


@pytest.mark.parametrize("text", ["long ", "a/", "/a ", "/a b", "'/"])
def test_a_long_message_is_cut(runner: Runner, text: str) -> None:
    message = ended(runner.start(raising(ValueError("so " * 500 + text * 1_000_000)))).error
    assert message is not None
    assert len(message) < 600
    assert message.endswith("…")


def test_an_error_that_cannot_be_printed_ends_the_run(runner: Runner) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert ended(runner.start(raising(Unprintable()))).error == "Unprintable"


def test_the_traceback_goes_to_the_log(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("/home/user/secret.txt")
    run = ended(runner.start(raising(error)))
    (record,) = [record for record in caplog.records if record.name == "genglossary_runs.runner"]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, f"Run {run.run_id} failed")
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_what_a_cancel_interrupted_goes_to_the_log(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genglossary_runs.runner")

    def work(context: RunContext) -> None:
        assert context.cancel_event.wait(PATIENCE)
        raise ConnectionError("closed")

    run = runner.start(work)
    run.cancel()
    ended(run)
    (record,) = [record for record in caplog.records if record.name == "genglossary_runs.runner"]
    assert record.levelno == logging.INFO
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ConnectionError)


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
    assert ended(runner.start(lambda context: None, key="k")).status == "completed"


# What the work says


def test_log_and_progress_reach_readers(runner: Runner, manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        context.log("始まり")
        context.log("odd", level="warning", page=7)
        context.progress(1, 2)
        context.progress(2, None, step="reading", current_term="run")
        context.progress(3, 3, message="all read", level="info")

    run = ended(runner.start(work))
    *events, _ = events_of(manager, run)
    times = [datetime.fromisoformat(event.pop("time")) for event in events]
    assert times == sorted(times)
    assert all(time.utcoffset() is not None for time in times)
    assert events == [
        {"run_id": run.run_id, "level": "info", "message": "始まり"},
        {"run_id": run.run_id, "level": "warning", "message": "odd", "page": 7},
        {"run_id": run.run_id, "progress_current": 1, "progress_total": 2},
        {
            "run_id": run.run_id,
            "progress_current": 2,
            "progress_total": None,
            "step": "reading",
            "current_term": "run",
        },
        {"run_id": run.run_id, "progress_current": 3, "progress_total": 3, "message": "all read", "level": "info"},
    ]


@pytest.mark.parametrize("name", ["run_id", "time", "complete", "gap"])
def test_a_reserved_field_is_refused(runner: Runner, manager: RunManager, name: str) -> None:
    def work(context: RunContext) -> None:
        with pytest.raises(TypeError, match=f"'{name}'"):
            context.log("x", **{name: True})
        with pytest.raises(TypeError, match=f"'{name}'"):
            context.progress(1, 2, **{name: True})
        with pytest.raises(TypeError, match="'progress_current'"):
            context.progress(1, 2, progress_current=3)

    assert ended(run := runner.start(work)).error is None
    assert len(events_of(manager, run)) == 1


def test_a_message_that_json_has_no_form_for_is_refused(runner: Runner, manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        with pytest.raises(TypeError, match="thing"):
            context.log("x", thing=object())
        context.log("still here")

    run = ended(runner.start(work))
    assert run.error is None
    assert [event.get("message") for event in events_of(manager, run)] == ["still here", None]


def test_an_impossible_message_that_nobody_catches_fails_the_run(runner: Runner, manager: RunManager) -> None:
    run = ended(runner.start(lambda context: context.log("x", thing=object())))
    assert run.error is not None
    assert run.error.startswith("TypeError: ")
    assert "thing" in run.error
    assert len(events_of(manager, run)) == 1


def test_what_is_said_after_the_end_goes_nowhere(runner: Runner, manager: RunManager) -> None:
    contexts: list[RunContext] = []
    run = ended(runner.start(contexts.append))
    contexts[0].log("too late")
    contexts[0].progress(1, 1)
    assert len(events_of(manager, run)) == 1
    assert manager.stats()["active_runs"] == 0


# Ids and keys


def test_ids_are_fresh_and_rise(runner: Runner, manager: RunManager) -> None:
    other = Runner(manager)
    ids = [ended(which.start(lambda context: None)).run_id for which in [runner, other] * 20]
    assert ids == sorted(set(ids))


def test_ids_that_the_application_uses_itself_are_left_alone(runner: Runner, manager: RunManager) -> None:
    last = ended(runner.start(lambda context: None)).run_id
    active, finished = last + 1, last + 2
    manager.open_run(active)
    manager.finish_run(finished, {"complete": True, "mine": True})
    assert ended(runner.start(lambda context: None)).run_id > finished
    assert manager.is_active(active)
    assert manager.terminal_event(finished) == {"complete": True, "mine": True}
    manager.finish_run(active, {"complete": True})


def test_a_key_has_one_active_run(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate, key="book")
    with pytest.raises(AlreadyRunningError, match=rf"Run {run.run_id} is still running") as refused:
        runner.start(until_cancelled, key="book")
    assert isinstance(refused.value, RuntimeError)
    assert (refused.value.run_id, refused.value.key) == (run.run_id, "book")
    other = ended(runner.start(lambda context: None, key="another book"))
    gate.opened.set()
    ended(run)
    assert ended(runner.start(lambda context: None, key="book")).run_id > other.run_id


def test_a_cancelled_run_holds_its_key_until_it_has_stopped(runner: Runner, gate: Gate) -> None:
    run = runner.start(gate, key="book")
    run.cancel()
    with pytest.raises(AlreadyRunningError, match=rf"Run {run.run_id} was cancelled and is still stopping"):
        runner.start(until_cancelled, key="book")
    gate.opened.set()
    ended(run)
    assert ended(runner.start(lambda context: None, key="book")).status == "completed"


def test_without_a_key_runs_go_side_by_side(runner: Runner) -> None:
    together = threading.Barrier(5)
    runs = [runner.start(lambda context: together.wait(PATIENCE)) for _ in range(5)]
    assert [ended(run).status for run in runs] == ["completed"] * 5


def test_of_200_concurrent_starts_on_one_key_one_wins(runner: Runner, gate: Gate) -> None:
    together = threading.Barrier(200)
    won: list[Run] = []
    refused: list[int] = []

    def start() -> None:
        together.wait(PATIENCE)
        try:
            won.append(runner.start(gate, key="book"))
        except AlreadyRunningError as error:
            refused.append(error.run_id)

    threads = [threading.Thread(target=start) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(won) == 1
    assert refused == [won[0].run_id] * 199


def test_who_reads_the_terminal_event_may_start_the_next_at_once(runner: Runner, manager: RunManager) -> None:
    for _ in range(300):
        run = runner.start(lambda context: None, key="book")
        assert events_of(manager, run)[-1]["status"] == run.status == "completed"


# Handles


def test_runs_are_found_while_active_and_afterwards(runner: Runner, gate: Gate) -> None:
    first = ended(runner.start(lambda context: None))
    second = runner.start(gate)
    third = ended(runner.start(lambda context: None))
    assert runner.runs() == [first, second, third]
    assert [runner.get(run.run_id) for run in (first, second, third)] == [first, second, third]
    assert runner.get(third.run_id + 1000) is None


@pytest.mark.parametrize("limit", [0, 3])
def test_finished_runs_are_kept_up_to_the_limit(manager: RunManager, limit: int) -> None:
    runner = Runner(manager, finished_runs=limit)
    runs = [ended(runner.start(lambda context: None)) for _ in range(5)]
    assert runner.runs() == (runs[-limit:] if limit else [])
    assert runner.get(runs[0].run_id) is None
    assert runs[0].status == "completed"


def test_a_negative_limit_is_refused(manager: RunManager) -> None:
    with pytest.raises(ValueError, match="-1"):
        Runner(manager, finished_runs=-1)
    with pytest.raises(ValueError, match="first_id is 0"):
        Runner(manager, first_id=0)


@pytest.mark.parametrize("timeout", [0.0, 0.001, -1.0])
def test_waiting_ends_with_the_timeout(runner: Runner, gate: Gate, timeout: float) -> None:
    assert not runner.start(gate).wait(timeout)


def test_after_waiting_nothing_is_left_in_the_manager(runner: Runner, manager: RunManager) -> None:
    for work in (lambda context: None, raising(ValueError()), raising(RunCancelledError())) * 50:
        run = ended(runner.start(work))
        assert manager.stats()["active_runs"] == 0
        assert manager.cancel_event(run.run_id) is None


def test_work_cannot_wait_for_itself(runner: Runner) -> None:
    handed: queue.Queue[Run] = queue.Queue()
    run = runner.start(lambda context: handed.get(timeout=PATIENCE).wait())
    handed.put(run)
    assert ended(run).status == "failed"
    assert run.error == f"RuntimeError: Run {run.run_id} cannot wait for its own end"


# Whatever fails


def test_a_thread_that_cannot_start_ends_the_run(
    runner: Runner, manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            runner.start(lambda context: None, key="book")
    (run,) = runner.runs()
    assert (run.status, run.error) == ("failed", "RuntimeError: can't start new thread")
    assert run.wait()
    assert len(events_of(manager, run)) == 1
    assert manager.stats()["active_runs"] == 0
    assert ended(runner.start(lambda context: None, key="book")).status == "completed"


def test_a_run_that_somebody_else_finished_has_one_terminal_event(runner: Runner, manager: RunManager) -> None:
    run = ended(runner.start(lambda context: manager.finish_run(context.run_id, {"complete": True, "other": True})))
    assert run.status == "completed"
    assert events_of(manager, run) == [{"complete": True, "other": True}]


def test_work_that_is_no_callable_fails_the_run(runner: Runner) -> None:
    run = ended(runner.start(None))  # type: ignore[arg-type]
    assert run.error == "TypeError: 'NoneType' object is not callable"


# Shutdown


def test_shutdown_cancels_and_joins(manager: RunManager) -> None:
    runner = Runner(manager)
    runs = [runner.start(until_cancelled) for _ in range(5)]
    assert runner.shutdown(PATIENCE)
    assert [run.status for run in runs] == ["cancelled"] * 5
    assert runner.shutdown(0)
    with pytest.raises(RuntimeError, match="shut down"):
        runner.start(until_cancelled)


def test_shutdown_gives_up_on_work_that_does_not_stop(
    manager: RunManager, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    runner = Runner(manager)
    run = runner.start(gate)
    assert gate.entered.wait(PATIENCE)
    assert not runner.shutdown(0.01)
    assert f"Run {run.run_id} did not stop" in caplog.text
    gate.opened.set()
    assert runner.shutdown()
    assert run.status == "completed"


def test_the_work_may_shut_the_runner_down(manager: RunManager) -> None:
    runner = Runner(manager)
    started = threading.Event()

    def work(context: RunContext) -> None:
        assert started.wait(PATIENCE)
        with pytest.raises(RuntimeError, match="cannot wait for its own end"):
            runner.shutdown(PATIENCE)
        context.raise_if_cancelled()

    run = runner.start(work)
    started.set()
    assert ended(run).status == "cancelled"


def test_a_wait_that_ctrl_c_interrupts_can_be_repeated() -> None:
    """`Thread.join` takes a running thread for ended after that."""
    code = """
import signal, sys, threading
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner

opened = threading.Event()
run = Runner(RunManager()).start(lambda context: opened.wait(60))
try:
    print("waiting", flush=True)
    run.wait(60)
except KeyboardInterrupt:
    assert not run.wait(0)
    opened.set()
    assert run.wait(60) and run.status == "completed"
    sys.exit(7)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 7


def test_ids_of_an_earlier_process_do_not_come_again() -> None:
    """A page that is open during a restart would show another run as if it were its own."""
    script = """
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
print(Runner(RunManager()).start(lambda context: None).run_id)
"""
    first, second = (int(run_python(script)) for _ in range(2))
    assert first < second < 2**53  # which JavaScript can tell from its neighbours


def test_ids_may_begin_anywhere() -> None:
    run_python("""
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
manager = RunManager()
runner, other = Runner(manager, first_id=7), Runner(manager, first_id=3)
assert [each.start(lambda context: None).run_id for each in (runner, runner, other, runner)] == [7, 8, 9, 10]
assert Runner(manager, first_id=100).start(lambda context: None).run_id == 100
""")
