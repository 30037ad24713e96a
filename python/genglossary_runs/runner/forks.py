"""Forked children: runners created before the fork are reset, and handles of the parent's runs raise an error.

A fork copies one thread. Locks that another thread held stay locked, and threads of runs are not there.
"""

import os
import weakref
from typing import Any, Protocol


class StartsOver(Protocol):
    def _start_over(self) -> None:
        """Make each lock anew, and drop what belongs to the parent."""


_generation = 0
_made_before: dict[int, weakref.ref[StartsOver]] = {}


def generation() -> int:
    """How many forks lie between the process that imported this and the running one."""
    return _generation


def start_over_in_child(made: StartsOver) -> None:
    """Have an object start over in each forked child, for as long as it lives."""
    key = id(made)

    # At the interpreter's end the globals of this module are gone before the last objects are.
    def forget(_: Any, made_before: dict[int, Any] = _made_before) -> None:
        made_before.pop(key, None)

    _made_before[key] = weakref.ref(made, forget)


def _enter_child() -> None:
    global _generation
    _generation += 1
    for reference in list(_made_before.values()):
        made = reference()
        if made is not None:
            made._start_over()


os.register_at_fork(after_in_child=_enter_child)
