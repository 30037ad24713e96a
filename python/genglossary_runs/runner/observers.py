"""Those who are told of every run of a runner, such as metrics."""

import logging
from typing import Literal, Protocol

from .run import Run

logger = logging.getLogger(__package__)


class Observer(Protocol):
    """Is told of runs. What a method raises is logged; it is to be quick, since the run waits for it."""

    def began(self, run: Run) -> None:
        """The work of a run begins. Called in its thread and with its `contextvars`, which the work then sees."""

    def ended(self, run: Run) -> None:
        """A run has ended; readers know, and those who wait for it do not yet.

        Called in the thread of the run; for one that was cancelled before it began, in that of who cancelled it.
        """


class Observers:
    """The observers of a runner."""

    def __init__(self) -> None:
        self._all: tuple[Observer, ...] = ()

    def add(self, observer: Observer) -> None:
        """Add one."""
        self._all += (observer,)

    def tell(self, moment: Literal["began", "ended"], run: Run) -> None:
        """Tell all of them."""
        for observer in self._all:
            try:
                getattr(observer, moment)(run)
            except Exception:
                logger.exception("An observer of run %s failed", run.run_id)
