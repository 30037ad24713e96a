"""Every exception of this package, under one base class.

`RunsError` is the base class of all but `RunCancelledError`. Each also derives from the standard exception that fits,
so code that catches `LookupError` or `queue.Empty` works unchanged. All of them can be pickled. Invalid arguments raise
a plain `TypeError` or `ValueError`.
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
        run_id: the active run, if a store refused this one because of it; else None.
    """

    run_id: int | str | None = None


class UnknownRunError(RunsError, LookupError):
    """No such run is open, subscribed to, retained or stored."""


class StoreError(RunsError, OSError):
    """The store cannot be used: it is not one, cannot be reached, or did not answer in time."""


class InvalidRunIdError(RunsError, ValueError):
    """The id is neither an int of 64 bits nor a text within the bounds for ids."""


class SubscriptionEnded(RunsError, queue.Empty):
    """Nothing more will come: the terminal event has been read, or the subscription is closed."""


class AlreadyRunningError(RunsError, RuntimeError):
    """The key has a run that has not ended yet.

    Attributes:
        key: the key passed to `Runner.start`.
        run_id: the id of that run.
        run: its handle; None after the error was pickled, or if the run is in another process.
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
    """The id passed to `Runner.start` is that of an existing run.

    Attributes:
        run_id: the id.
        run: the run's handle, so that a repeated request can be answered; None if it is not this runner's, or after the
            error was pickled.
    """

    def __init__(self, message: str, *, run_id: int | str | None = None, run: Any = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.run = run

    def __reduce__(self) -> Any:
        return type(self), (str(self),), {"run_id": self.run_id}


class RunnerShutDownError(RunsError, RuntimeError):
    """The runner has been shut down and does not start runs any more."""


class OtherProcessError(RunsError, RuntimeError):
    """A run was used in a process forked from its own; its readers and its cancel event are in the parent."""


class FollowError(RunsError, OSError):
    """A run cannot be followed over HTTP."""


class RefusedError(FollowError):
    """The server refused: there is no such run, or this client may not do that.

    Attributes:
        status: the HTTP status, such as 404 or 403.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.status)


class StreamLostError(FollowError):
    """The server of a run could not be reached for `give_up` seconds."""


class RunCancelledError(BaseException):
    """The run was cancelled.

    Neither a `RunsError` nor an `Exception`, like `asyncio.CancelledError`, so that work which catches every
    `Exception` stops nevertheless.

    Attributes:
        run_id: the run; None if the work raised it without one.
    """

    def __init__(self, message: str = "", *, run_id: int | str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
