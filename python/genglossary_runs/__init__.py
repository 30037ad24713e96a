"""A run manager for long background jobs: a Rust core for Python.

`RunManager` manages runs, their subscribers and their cancel events; a `Subscription` reads a run, a `CancelEvent`
cancels one; `SqliteStore` and `RedisStore` keep runs outside the process. `genglossary_runs.runner` runs a callable
under a manager; `genglossary_runs.sse` streams a run to browsers. `genglossary_runs.manager` is the manager of the
GenGlossary application.
"""

import importlib
from types import ModuleType

from ._core import CancelEvent, RedisStore, RunManager, SqliteStore, Subscription, __version__
from .errors import InvalidRunIdError, RunActiveError, RunsError, StoreError, SubscriptionEnded, UnknownRunError

__all__ = [
    "CancelEvent",
    "InvalidRunIdError",
    "RedisStore",
    "RunActiveError",
    "RunManager",
    "RunsError",
    "SqliteStore",
    "StoreError",
    "Subscription",
    "SubscriptionEnded",
    "UnknownRunError",
    "__version__",
]


def __getattr__(name: str) -> ModuleType:
    # The application replaces its own module by the attribute `manager`, and does so while `manager` is still being
    # imported if that came first: Python would set the attribute only after that.
    if name == "manager":
        return importlib.import_module(".manager", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
