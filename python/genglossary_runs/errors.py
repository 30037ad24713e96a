"""Every exception of this package, under one base class.

`RunsError` catches them all but `RunCancelledError`. Each is also the standard exception that fits, so code that
expects `LookupError` or `queue.Empty` needs nothing new. All of them can be pickled. A bad argument is a plain
`TypeError` or `ValueError`.
"""

# The extension module imports its exceptions from here, so this module imports nothing of the package.

import pickle
import queue
from typing import Any


class RunsError(Exception):
    """The base class of this package's exceptions."""


class RunActiveError(RunsError, RuntimeError):
    """The run is already open; finish it, or choose another id, before opening it again.

    Attributes:
        run_id: where a store refused the run, the one that is active; else None.
    """

    run_id: int | str | None = None


class UnknownRunError(RunsError, LookupError):
    """No such run is open, subscribed to or retained."""


class StoreError(RunsError, OSError):
    """The store cannot be used: it is not one, cannot be reached, or did not answer in time."""


class InvalidRunIdError(RunsError, ValueError):
    """The id is neither an int of 64 bits nor a text within the bounds for ids."""


class SubscriptionEnded(RunsError, queue.Empty):
    """Nothing more will come: the terminal event has been read, or the subscription is closed."""


class AlreadyRunningError(RunsError, RuntimeError):
    """The key has a run that has not ended yet.

    Attributes:
        key: what `Runner.start` was given.
        run_id: the id of that run.
        run: its handle; None once the error was pickled, and if the run is in another process.
    """

    def __init__(self, message: str, *, key: Any = None, run_id: int | str | None = None, run: Any = None) -> None:
        super().__init__(message)
        self.key = key
        self.run_id = run_id
        self.run = run

    def __reduce__(self) -> Any:
        # The handle belongs to its process; the key need not be something that can be pickled.
        try:
            pickle.dumps(self.key)
        except Exception:
            key = None
        else:
            key = self.key
        return type(self), (str(self),), {"key": key, "run_id": self.run_id}


class RunExistsError(RunsError, RuntimeError):
    """The id that `Runner.start` was given names a run that exists.

    Attributes:
        run_id: the id.
        run: the run's handle, so that a repeated request can be answered; None if it is not this runner's, and once the
            error was pickled.
    """

    def __init__(self, message: str, *, run_id: int | str | None = None, run: Any = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.run = run

    def __reduce__(self) -> Any:
        return type(self), (str(self),), {"run_id": self.run_id}


class RunnerShutDownError(RunsError, RuntimeError):
    """The runner was shut down and starts no more runs."""


class OtherProcessError(RunsError, RuntimeError):
    """A run was used in a process that was forked from its own; readers and the cancel are in the parent."""


class FollowError(RunsError, OSError):
    """A run cannot be followed over HTTP."""


class RefusedError(FollowError):
    """A server refuses: there is no such run, or this client may not do that.

    Attributes:
        status: of the answer, such as 404 or 403.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.status)


class StreamLostError(FollowError):
    """The server of a run could not be reached for as long as was asked for."""


class RunCancelledError(BaseException):
    """The run was cancelled.

    Not a `RunsError`, and no `Exception`, as `asyncio.CancelledError` is none: work that goes on after every
    `Exception` stops all the same.

    Attributes:
        run_id: the run; None if the work raised it without one.
    """

    def __init__(self, message: str = "", *, run_id: int | str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
