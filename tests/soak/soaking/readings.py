"""What the process holds, and whether it grows."""

import ctypes
import gc
import os
import statistics
import sys
import sysconfig
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genglossary_runs import RunManager, Subscription

from soaking.account import DEADLINE, WrongError

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
MEMORY = "bytes in use of the C library's heap" if FREE_THREADED else "resident bytes"
"""What is said of `Reading.memory`."""


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

    memory: int
    """Bytes of memory: the resident set.

    The allocator of a free-threaded CPython keeps what threads that have ended leave to it, more and more while others
    come and go. There this is what Rust has in use, on the C library's heap; Python's blocks are counted apart.
    """
    blocks: int
    """Python's memory blocks."""
    threads: int
    descriptors: int

    @classmethod
    def take(cls) -> "Reading":
        """Measure, after a collection, and after the C library has returned free memory."""
        gc.collect()
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        return cls(
            _heap_in_use(library) if FREE_THREADED else _resident(),
            sys.getallocatedblocks(),
            len(os.listdir("/proc/self/task")),
            len(os.listdir("/proc/self/fd")),
        )


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2`, as `man mallinfo` has it."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def _heap_in_use(library: ctypes.CDLL) -> int:
    library.mallinfo2.restype = _Mallinfo
    heap = library.mallinfo2()
    return int(heap.uordblks + heap.hblkhd)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as `condition()` is true; `what` is what it says, for the error."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise WrongError(f"{what}: waited {DEADLINE:.0f} s")
        time.sleep(0.001)


@dataclass(frozen=True)
class Bound:
    """How much may grow."""

    each: float
    """For each reader."""
    slack: float
    """In all, while the heap settles."""


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
