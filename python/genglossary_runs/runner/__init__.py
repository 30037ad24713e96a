"""Run callables in threads under a `RunManager`, for any application.

    manager = RunManager()
    runner = Runner(manager)

    def work(context: RunContext) -> str:
        for page in context.track(pages, step="reading"):
            read(page)
        context.log("All pages read")
        return "what the run is for"

    run = runner.start(work, key="book 7")    # readers: run.events(), or runner.stream(run.run_id, request)
    run.wait()
    print(run.status, run.result)

**Work** is a function that takes the run's `RunContext`, or a coroutine function: `async def` work runs on its own
event loop in the run's thread, and a cancel cancels its task. It sees a copy of the caller's `contextvars`.
`current_run()` returns the context anywhere in the work, and `genglossary_runs.logs.RunHandler` sends readers what the
work logs with `logging`.

**What readers get**, each as a dict:

- a log message: `run_id`, `time` (ISO 8601, UTC), `level`, `message`, and the fields passed to `RunContext.log`;
- progress: `run_id`, `time`, `progress_current`, `progress_total`, `step` if given, and the fields passed to
  `RunContext.progress`. Without a `message` it is not a line for a log view. If progress comes faster than the runner's
  `progress_interval`, readers get the newest. It is delayed by no more than that, and always sent before a later log
  message or the end;
- for a run that was queued, `run_id`, `time` and `status`: first `queued`, then `running`;
- as soon as a cancel is requested, `run_id`, `time` and `cancel_requested` (True);
- last and once, the terminal event: `run_id`, `complete` (True), `status`, for a failed run `error`, and
  `cancel_requested` (True) if a cancel was requested, even if the run completed.

**How a run ends**: `completed` if the work returns, even if a cancel came too late to stop it, or exits with code 0;
`cancelled` if it raises `RunCancelledError` or `asyncio.CancelledError`, or any exception after the cancel was
requested, because interrupted work can fail in many ways; `failed` for every other exception. `RunCancelledError` is a
`BaseException`, so that `except Exception` in the work does not swallow it. Readers see the type and message of the
error (for an exception group, those of its leaves), but no traceback, file path or credential. The traceback goes to
the logger `genglossary_runs.runner`. Only a `KeyboardInterrupt` is raised again, in the run's thread.

**Ids** are random UUIDs as text, so that workers of a server never use the same id twice, not even after a restart. An
application can pass its own ids to `start`, which refuses existing ones.

**Several runs**: `max_active` limits how many are active at a time; further runs are queued, first in, first out. At
most one run of a `key` is active; `if_active` says what happens to another start.

**Runs without a runner**, such as in a thread pool or the worker of a task queue:
`with manager.run(run_id) as context:` opens a run, and finishes it whatever happens in the block.

**Processes**: in a forked child the runner is empty and can be used. Handles and contexts of the parent's runs raise
`OtherProcessError` there. Worker processes of a run must send their messages to the parent.

**A store** (`RunManager(store=...)`) makes records survive a restart: `find` and `history` know the runs of all
processes, `cancel` reaches them, and keys are unique across them. A run whose process has ended is `failed` with
`Interrupted: …`.

**gevent**: with `threading` patched a run is a greenlet, and `Run.wait` and `Run.value` let the others run. A blocking
`Subscription.get`, or iteration over one, does not: the core waits outside what gevent patches, so all greenlets stop,
including the run's. Poll with `get_nowait` and `gevent.sleep`. `Runner` warns if `threading` is patched.
"""

from genglossary_runs.errors import (
    AlreadyRunningError,
    OtherProcessError,
    RunCancelledError,
    RunExistsError,
    RunnerShutDownError,
)

from .context import RunContext, current_run
from .managed import ManagedRun
from .observers import Observer
from .outcome import Status
from .run import Run
from .runner import Runner
from .stored import StoredRun
from .values import Level

__all__ = [
    "AlreadyRunningError",
    "Level",
    "ManagedRun",
    "Observer",
    "OtherProcessError",
    "Run",
    "RunCancelledError",
    "RunContext",
    "RunExistsError",
    "Runner",
    "RunnerShutDownError",
    "Status",
    "StoredRun",
    "current_run",
]
