"""Runs callables in threads under a `RunManager`: for any application that has no run manager of its own.

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

**Work** is a function that takes the run's `RunContext`, or a coroutine function: `async def` work runs on an event
loop of its own in the run's thread, and a cancel cancels its task. It sees the `contextvars` of whoever started it.
`current_run()` gives the context anywhere in the work, and `genglossary_runs.logs.RunHandler` sends its readers what
the work logs with `logging`.

**What readers get**, each as a dict:

- a log message: `run_id`, `time` (ISO 8601, UTC), `level`, `message`, and the fields given to `RunContext.log`;
- progress: `run_id`, `time`, `progress_current`, `progress_total`, `step` if given, and the fields given to
  `RunContext.progress`; without a `message` it is no line for a log view. Of progress that comes faster than the
  runner's `progress_interval` readers get the newest; it is held back no longer than that, and never until after a
  later log message or the end;
- of a run that had to wait its turn, `run_id`, `time` and `status`: first `queued`, then `running`;
- as soon as a cancel is requested, `run_id`, `time` and `cancel_requested` (True);
- last and once, the terminal event: `run_id`, `complete` (True), `status`, for a failed run `error`, and
  `cancel_requested` (True) if a cancel was requested, whatever came of it.

**How a run ends**: `completed` when the work returns, also when a cancel came too late to stop it, and when it exits
with code 0; `cancelled` when it raises `RunCancelledError` or `asyncio.CancelledError`, or anything else once the
cancel was requested (what a cancel interrupts fails in its own way); `failed` for every other exception.
`RunCancelledError` is a `BaseException`, so that `except Exception` in the work does not swallow it. Readers see the
kind of the error and its message, of a group of errors those of its leaves, without traceback, file paths and
credentials; the traceback goes to the logger `genglossary_runs.runner`. Only a `KeyboardInterrupt` is raised again, in
the run's thread.

**Ids** are random UUIDs as text: no two workers of a server give out the same, nor one that a page of yesterday has. An
application that has ids of its own gives them to `start`, which refuses one that exists.

**Several runs**: `max_active` bounds how many run at a time; further ones are queued, first come first served.
At most one run of a `key` is active; `if_active` says what a further start does.

**Runs without a runner**, in a thread pool or a task queue's worker: `with manager.run(run_id) as context:` opens a
run, and finishes it whatever happens in the block.

**Processes**: in a forked child the runner is empty, and can be used. Handles and contexts of the parent's runs raise
`OtherProcessError` there: work that uses processes has them send back what is to be said.

**A store** (`RunManager(store=...)`) makes records survive a restart: `find` and `history` know the runs of every
process, `cancel` reaches them, and a key is unique over all of them. A run whose process ended has failed, as
`Interrupted: …`.

**gevent**: with `threading` patched a run is a greenlet, and `Run.wait` and `Run.value` let the others run. A blocking
`Subscription.get`, or iteration over one, does not: the core waits outside of what gevent patches, so that all
greenlets stop, the run's too. Poll with `get_nowait` and `gevent.sleep`. `Runner` warns where `threading` is patched.
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
