"""Why a start is refused."""

from collections.abc import Hashable

from genglossary_runs.errors import AlreadyRunningError, RunExistsError, RunnerShutDownError
from genglossary_runs.types import RunId

from .ids import canonical
from .run import Run


def run_exists(run_id: RunId, run: Run | None) -> RunExistsError:
    """The error for an id that is taken; `run` is its handle, if it is this runner's."""
    status = "exists" if run is None else f"exists and is {run.status}"
    return RunExistsError(
        f"Run {run_id} {status}; use it, or start one with another id", run_id=canonical(run_id), run=run
    )


def already_running(key: Hashable, run: Run) -> AlreadyRunningError:
    """The error for a key whose run has not ended."""
    if run.cancel_requested:
        message = f"Run {run.run_id} was cancelled and is still stopping; wait for its end"
    else:
        message = f"Run {run.run_id} is still running; cancel it or wait for its end"
    return AlreadyRunningError(message, key=key, run_id=run.run_id, run=run)


def shut_down() -> RunnerShutDownError:
    """The error for a start after the runner's end."""
    return RunnerShutDownError("The runner was shut down and starts no more runs; make a new Runner")
