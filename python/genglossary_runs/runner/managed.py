"""A run for the time of a `with` block, for work that no `Runner` starts."""

from contextvars import Token
from types import TracebackType

from genglossary_runs._core import RunManager
from genglossary_runs.types import RunId

from .context import RunContext, current
from .forks import generation
from .ids import canonical, new_id
from .outcome import Outcome, outcome_of


class ManagedRun:
    """Opens a run when its block is entered, and finishes it when the block is left, however that happens.

    Made by `RunManager.run`. What the block raises is recorded as for a `Runner`, and goes on.
    """

    def __init__(self, manager: RunManager, run_id: RunId | None = None) -> None:
        self._manager = manager
        self._run_id = new_id() if run_id is None else canonical(run_id)
        self._context: RunContext | None = None
        self._entered: Token[RunContext | None] | None = None
        self._generation = generation()

    def __enter__(self) -> RunContext:
        cancel_event = self._manager.open_run(self._run_id)
        context = self._context = RunContext(self._manager, self._run_id, cancel_event)
        cancel_event.add_callback(context._note_cancel)
        self._generation = generation()
        self._entered = current.set(context)
        return context

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context, entered = self._context, self._entered
        if context is None or entered is None or self._generation != generation():
            return  # a block that forked: the run is the parent's
        self._context = None
        try:
            current.reset(entered)
        except ValueError:
            pass  # left in another context, as a generator may be
        with context._outlet.lock:
            requested = context.cancel_event.is_set()
            outcome = Outcome("completed") if error is None else outcome_of(error, self._run_id, requested)
            try:
                context._close(cancel_requested=requested)
            finally:
                if self._manager.is_active(self._run_id):  # or somebody else has finished it
                    self._manager.finish_run(self._run_id, outcome.terminal_event(self._run_id, requested))
