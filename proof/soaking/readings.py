"""What the process holds, and whether it grows."""

import ctypes
import gc
import os
import statistics
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genglossary_runs import RunManager, Subscription

from soaking.account import DEADLINE, WrongError


class CountedManager(RunManager):
    """A manager that knows how many of its subscriptions exist."""

    def __init__(self, **limits: Any) -> None:
        self._readers: set[weakref.ref[Subscription]] = set()

    def subscribe(self, run_id: int, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """As `RunManager.subscribe`."""
        reader = super().subscribe(run_id, after, must_exist=must_exist)
        self._readers.add(weakref.ref(reader, self._readers.discard))
        return reader

    @property
    def readers(self) -> int:
        """Subscriptions that have not been freed."""
        return len(self._readers)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the process holds at one moment."""

    resident: int
    """Bytes of memory."""
    blocks: int
    """Python's memory blocks."""
    threads: int
    descriptors: int

    @classmethod
    def take(cls) -> "Reading":
        """Look, after a collection, and after the C library has given back what is free."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return cls(
            int(pages) * os.sysconf("SC_PAGE_SIZE"),
            sys.getallocatedblocks(),
            len(os.listdir("/proc/self/task")),
            len(os.listdir("/proc/self/fd")),
        )


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as `condition()` is true; `what` is what it says, for the error."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise WrongError(f"{what}: waited {DEADLINE:.0f} s in vain")
        time.sleep(0.001)


@dataclass(frozen=True)
class Bound:
    """How much may grow."""

    each: float
    """For each reader."""
    slack: float
    """In all, while a heap settles."""


@dataclass(frozen=True)
class Growth:
    """A line through samples: its slope, and the standard error of that."""

    slope: float
    error: float

    @classmethod
    def of(cls, places: Sequence[float], values: Sequence[float]) -> "Growth":
        """The line of least squares through at least three samples."""
        slope, start = statistics.linear_regression(places, values)
        residuals = [value - start - slope * place for place, value in zip(places, values, strict=True)]
        mean = statistics.fmean(places)
        spread = sum((place - mean) ** 2 for place in places)
        return cls(slope, (sum(residual**2 for residual in residuals) / (len(places) - 2) / spread) ** 0.5)

    def exceeds(self, bound: float) -> bool:
        """Whether it is steeper than `bound` beyond doubt: by more than two standard errors."""
        return self.slope - 2 * self.error > bound
