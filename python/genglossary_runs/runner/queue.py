"""The queue of runs: which may start and which wait, first in, first out."""

import heapq
from collections import deque
from collections.abc import Hashable
from itertools import count

from .run import Run


class Queue:
    """The active runs of a runner, and those that wait for a place or for their key. Not thread-safe."""

    def __init__(self, max_active: int | None) -> None:
        """Make a queue.

        Args:
            max_active: how many runs may be active at a time; None sets no limit.
        """
        self._max_active = max_active
        self._active: set[Run] = set()
        # The first run of a key has it; those after it wait for it.
        self._keys: dict[Hashable, deque[Run]] = {}
        # Runs that wait only for a place, by their numbers.
        self._ready: list[tuple[int, Run]] = []
        self._numbers: dict[Run, int] = {}
        self._counter = count()

    def runs_of(self, key: Hashable) -> list[Run]:
        """The runs of a key that have not ended, in the order in which they get it."""
        return list(self._keys.get(key, ()))

    def waiting(self) -> list[Run]:
        """The runs that wait for their key or for a place, in the order in which they came."""
        return [run for run in self._numbers if run not in self._active]

    def free_places(self) -> int | None:
        """How many runs more may be active; None if there is no limit."""
        return None if self._max_active is None else self._max_active - len(self._active)

    def add(self, run: Run) -> bool:
        """Take a run in. Returns whether it may start; if not, `remove` of another gives it out."""
        self._numbers[run] = next(self._counter)
        if run.key is not None:
            line = self._keys.setdefault(run.key, deque())
            line.append(run)
            if len(line) > 1:
                return False
        if not self._ready and self._has_place():
            self._active.add(run)
            return True
        heapq.heappush(self._ready, (self._numbers[run], run))
        return False

    def remove(self, run: Run) -> list[Run]:
        """Take out a run that has ended, whether it was active or waiting. Returns those that may start now."""
        number = self._numbers.pop(run)
        if run in self._active:
            self._active.remove(run)
        elif (number, run) in self._ready:
            self._ready.remove((number, run))
            heapq.heapify(self._ready)
        if run.key is not None:
            self._leave(run)
        started = []
        while self._ready and self._has_place():
            _, following = heapq.heappop(self._ready)
            self._active.add(following)
            started.append(following)
        return started

    def _leave(self, run: Run) -> None:
        line = self._keys[run.key]
        had_the_key = line[0] is run
        line.remove(run)
        if not line:
            del self._keys[run.key]
        elif had_the_key:
            heapq.heappush(self._ready, (self._numbers[line[0]], line[0]))

    def _has_place(self) -> bool:
        return self.free_places() != 0
