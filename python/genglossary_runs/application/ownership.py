"""Who runs a project: one process of this host, known by a file lock beside the project's database.

The operating system releases the lock when the process ends, however it ends: a live owner is never taken for dead, and
a dead one is known at once. The file names its runs, and goes with the last of them; one that is there without an owner
names the runs that died with their process. An active row that no such file names is nobody's to judge: it may have
been made by other means.

Limits: processes of one host. A child that the pipeline forks shares the lock until it begins to run: `os.fork` and
`multiprocessing` have it let go first of all, as does `exec` (`subprocess`). One that is forked without `exec`, other
than through Python, keeps the lock until it ends.
"""

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .._core import OwnerLock

logger = logging.getLogger(__name__)

NOBODY: frozenset[int] = frozenset()


@dataclass
class _Held:
    """A lock of this process. Runs that follow each other share it."""

    path: str
    lock: OwnerLock
    left: frozenset[int]
    claims: int = 1


# By path; guarded by `_guard`.
_held: dict[str, _Held] = {}
_guard = threading.Lock()


def _forget_parent() -> None:
    global _guard
    _guard = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_forget_parent)


@dataclass
class Claim:
    """A share in this process's ownership of a project; without a lock where none can be had."""

    _shared: _Held | None
    _run_id: int | None = None

    @property
    def left(self) -> frozenset[int]:
        """The runs that a dead owner left. Until `settle`, their names are kept."""
        return NOBODY if self._shared is None else self._shared.left

    def name(self, run_id: int) -> None:
        """Write that this process executes the run."""
        if self._shared is None:
            return
        self._run_id = run_id
        owner = {
            "runs": [run_id, *sorted(self.left)],
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "note": "Leave this file: it goes by itself, and tells of a crash.",
        }
        try:
            self._shared.lock.describe(json.dumps(owner) + "\n")
        except OSError as error:
            logger.warning(
                "%s: cannot be written (%s); a crash of this run will not be noticed", self._shared.path, error
            )

    def settle(self) -> None:
        """Note that what a dead owner left has been cleared up."""
        if self._shared is not None:
            self._shared.left = NOBODY

    def leave(self) -> None:
        """Note that the end of the run could not be recorded: it is left, as if its owner had died."""
        if self._shared is not None and self._run_id is not None:
            self._shared.left |= {self._run_id}

    def release(self) -> None:
        """Give the share back; the last one removes the file, unless runs are left. May be repeated."""
        shared, self._shared = self._shared, None
        if shared is None:
            return
        with _guard:
            shared.claims -= 1
            if shared.claims:
                return
            _held.pop(shared.path, None)
            if shared.left:
                shared.lock.release()
                return
            try:
                shared.lock.remove()
            except OSError as error:
                logger.warning("%s: cannot be removed (%s)", shared.path, error)


class Ownership:
    """The ownership of one project.

    Args:
        db_path: the project's database; the lock is the file beside it whose name ends in `.run-lock`.

    Attributes:
        project: the same for all that own the same database in this process, by whatever path they reach it.
    """

    def __init__(self, db_path: str | os.PathLike[str]) -> None:
        name = os.fspath(db_path)
        in_memory = name in ("", ":memory:")
        self.project: Hashable = self if in_memory else os.path.realpath(name)
        self._path = None if in_memory else f"{self.project}.run-lock"

    def claim(self) -> Claim | None:
        """Own the project, as long as any claim of this process is not released.

        Returns:
            The claim; None if another process owns the project, or looks after an owner that has died.
        """
        if self._path is None:
            logger.info("A database in memory has no owner: runs of other processes and crashes are not noticed")
            return Claim(None)
        with _guard:
            shared = _held.get(self._path)
            if shared is not None:
                shared.claims += 1
                return Claim(shared)
            try:
                lock = OwnerLock.acquire(self._path)
            except OSError as error:
                logger.warning(
                    "%s: cannot be locked (%s); runs of other processes and crashes are not noticed", self._path, error
                )
                return Claim(None)
            if lock is None:
                return None
            shared = _held[self._path] = _Held(self._path, lock, left=_runs(lock.found))
            return Claim(shared)

    @contextlib.contextmanager
    def abandoned(self) -> Iterator[frozenset[int]]:
        """The runs that a dead owner left; no owner can come while they are looked after."""
        lock = None
        if self._path is not None and self._path not in _held:
            try:
                lock = OwnerLock.look(self._path)
            except OSError as error:
                logger.debug("%s: cannot be looked at (%s)", self._path, error)
        try:
            yield NOBODY if lock is None else _runs(lock.found)
        finally:
            if lock is not None:
                lock.release()

    def run_elsewhere(self) -> int | None:
        """The run of another process that owns the project, if there is one and its file names it."""
        if self._path is None or self._path in _held:
            return None
        try:
            lock = OwnerLock.look(self._path)
            if lock is None:
                # The others that it may name were left by owners that died: ids only grow.
                return max(_runs(Path(self._path).read_text(encoding="utf-8", errors="replace")), default=None)
            lock.release()
        except OSError:
            pass
        return None


def _runs(words: str) -> frozenset[int]:
    """The runs that a lock file names; none if it was cut off while it was written."""
    try:
        return frozenset(
            run_id for run_id in json.loads(words)["runs"] if isinstance(run_id, int) and 0 < run_id < 2**63
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return NOBODY
