"""The owner of a project: the one process of this host that holds the lock on a file beside the project's database.

The operating system releases the lock when the process ends, however it ends: a live owner is never taken for dead, and
a dead one is known at once. The file names the owner's runs, and says how a run ended until the database does. It is
removed with the last run, so a file without an owner names runs whose end is not recorded: they were interrupted, or
ended as the file says. An active row that no such file names is left unchanged, because something else may have created
it.

Limits: processes of one host. A child that the pipeline forks shares the lock until it begins to run: `os.fork` and
`multiprocessing` close it first of all, as does `exec` (`subprocess`). A child forked without `exec`, other than
through Python, keeps the lock until it ends.
"""

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .._core import OwnerLock
from .outcome import INTERRUPTED, Outcome

logger = logging.getLogger(__name__)

# Runs whose end is not recorded, and how each ended.
Unrecorded = Mapping[int, Outcome]

NONE: Unrecorded = {}


@dataclass
class _Held:
    """A lock of this process. Runs that follow each other share it."""

    path: str
    lock: OwnerLock
    unrecorded: Unrecorded
    claims: int = 1


# By path; guarded by `_guard`.
_held: dict[str, _Held] = {}
_guard = threading.Lock()


def _after_fork_in_child() -> None:
    global _guard
    _guard = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


@dataclass
class Claim:
    """A share in this process's ownership of a project; without a lock where none can be had."""

    _shared: _Held | None
    _run_id: int | None = None

    @property
    def unrecorded(self) -> Unrecorded:
        """The runs that earlier owners did not record. The file names them until `clear`."""
        return NONE if self._shared is None else self._shared.unrecorded

    def name(self, run_id: int) -> None:
        """Write that this process executes the run."""
        self._run_id = run_id
        self._write({run_id: INTERRUPTED, **self.unrecorded}, "a crash of this run will not be noticed")

    def keep(self, outcome: Outcome) -> None:
        """Write how the run ended, for whoever finds the file if this process dies before it has recorded that."""
        if self._run_id is not None:
            self._write({self._run_id: outcome, **self.unrecorded}, "a crash now would hide how this run ended")

    def leave(self, outcome: Outcome) -> None:
        """Note that the outcome of the run could not be recorded, so that `release` leaves the file."""
        if self._shared is not None and self._run_id is not None:
            self._shared.unrecorded = {**self._shared.unrecorded, self._run_id: outcome}

    def clear(self) -> None:
        """Note that everything in `unrecorded` has been recorded."""
        if self._shared is not None:
            self._shared.unrecorded = NONE

    def release(self) -> None:
        """Give the share back; the last one removes the file, unless runs are unrecorded. May be repeated."""
        shared, self._shared = self._shared, None
        if shared is None:
            return
        with _guard:
            shared.claims -= 1
            if shared.claims:
                return
            _held.pop(shared.path, None)
            if shared.unrecorded:
                shared.lock.release()
                return
            try:
                shared.lock.remove()
            except OSError as error:
                logger.warning("%s: cannot be removed (%s)", shared.path, error)

    def _write(self, runs: Unrecorded, otherwise: str) -> None:
        if self._shared is None:
            return
        owner: dict[str, object] = {
            "runs": list(runs),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "note": "Leave this file: it is removed by itself, and tells how runs ended after a crash.",
        }
        ended = {str(run_id): outcome.to_json() for run_id, outcome in runs.items() if outcome != INTERRUPTED}
        if ended:
            owner["ended"] = ended
        try:
            self._shared.lock.describe(json.dumps(owner) + "\n")
        except OSError as error:
            logger.warning("%s: cannot be written (%s); %s", self._shared.path, error, otherwise)


class Ownership:
    """The ownership of one project.

    Args:
        db_path: the project's database; the lock is the file beside it whose name ends in `.run-lock`.

    Attributes:
        project: equal for all that own the same database in this process, by whatever path they reach it.
    """

    def __init__(self, db_path: str | os.PathLike[str]) -> None:
        name = os.fspath(db_path)
        in_memory = name in ("", ":memory:")
        self.project: Hashable = self if in_memory else os.path.realpath(name)
        self._path = None if in_memory else f"{self.project}.run-lock"

    def claim(self) -> Claim | None:
        """Own the project until every claim of this process is released.

        Returns:
            The claim, or None if another process owns the project or is recording the runs of a dead owner.
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
            shared = _held[self._path] = _Held(self._path, lock, unrecorded=_unrecorded(lock.found))
            return Claim(shared)

    @contextlib.contextmanager
    def abandoned(self) -> Iterator[Unrecorded]:
        """Yield the runs that a dead owner did not record; no new owner can come meanwhile."""
        lock = None
        if self._path is not None and self._path not in _held:
            try:
                lock = OwnerLock.look(self._path)
            except OSError as error:
                logger.debug("%s: cannot be read (%s)", self._path, error)
        try:
            yield NONE if lock is None else _unrecorded(lock.found)
        finally:
            if lock is not None:
                lock.release()

    def run_elsewhere(self) -> int | None:
        """Return the run of another process that owns the project, if the file names it."""
        if self._path is None or self._path in _held:
            return None
        try:
            lock = OwnerLock.look(self._path)
            if lock is None:
                # Ids only grow, so the owner's is the largest; the others are of earlier owners.
                return max(_unrecorded(Path(self._path).read_text(encoding="utf-8", errors="replace")), default=None)
            lock.release()
        except OSError:
            pass
        return None


def _unrecorded(words: str) -> Unrecorded:
    """Read the runs that a lock file names: none if it is empty or says something else."""
    try:
        owner = json.loads(words)
        run_ids = [run_id for run_id in owner["runs"] if isinstance(run_id, int) and 0 < run_id < 2**63]
    except (ValueError, TypeError, KeyError, RecursionError):
        return NONE
    ended = owner.get("ended")
    outcomes = ended if isinstance(ended, dict) else {}
    return {run_id: Outcome.from_json(outcomes.get(str(run_id))) or INTERRUPTED for run_id in run_ids}
