"""Every exception of this package, under one base class.

`RunsError` catches them all. Each is also the standard exception that fits, so code that expects `LookupError` or
`queue.Empty` needs nothing new. All of them can be pickled. A bad argument is a plain `TypeError` or `ValueError`.
"""

# The extension module imports its exceptions from here, so this module imports nothing of the package.

import queue


class RunsError(Exception):
    """The base class of this package's exceptions."""


class RunActiveError(RunsError, RuntimeError):
    """The run is already open; finish it, or choose another id, before opening it again."""


class UnknownRunError(RunsError, LookupError):
    """No such run is open, subscribed to or retained."""


class InvalidRunIdError(RunsError, ValueError):
    """The id is neither an int of 64 bits nor a text within the bounds for ids."""


class SubscriptionEnded(RunsError, queue.Empty):
    """Nothing more will come: the terminal event has been read, or the subscription is closed."""
