"""Children of the owner that outlive it: the project is not theirs."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from application.support import in_thread, join, wait_for
from genglossary.runs.executor import Job
from genglossary.runs.manager import RunManager
from genglossary_runs._core import OwnerLock

from .support import Worker, assert_each_ended_once, hold, start_and_wait

# Seconds, so that a child of a failed test does not stay for ever.
LIFE = 60.0


def live(ready: int) -> None:
    """The work of a child. A forked one has closed the lock by now."""
    os.write(ready, b".")
    time.sleep(LIFE)


def by_os_fork() -> int:
    began, ready = os.pipe()
    child = os.fork()
    if child == 0:
        live(ready)
        os._exit(0)
    os.read(began, 1)
    os.close(began)
    os.close(ready)
    return child


def by_multiprocessing_fork() -> int:
    began, ready = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=live, args=(ready,))
    child.start()
    os.read(began, 1)
    assert child.pid is not None
    return child.pid


def by_multiprocessing_spawn() -> int:
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(LIFE,))
    child.start()
    assert child.pid is not None
    return child.pid


def by_subprocess() -> int:
    return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LIFE})"], close_fds=False).pid


def behind_pythons_back() -> int:
    """As a C library may do it."""
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        time.sleep(LIFE)
        os._exit(0)
    return int(child)


class Bear:
    """A pipeline that makes a child."""

    child: int

    def __init__(self, make: Callable[[], int]) -> None:
        self._make = make

    def __call__(self, job: Job) -> None:
        Bear.child = self._make()
        hold(job)


def child_of(manager: RunManager) -> int:
    return Bear.child


def is_alive(process: int) -> bool:
    """Whether the process is there; one that is dead and that nobody has waited for is not."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, 0)
        status = Path(f"/proc/{process}/stat")
        return not Path("/proc/self/stat").exists() or status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture
def orphan(owner: Worker) -> Iterator[Callable[[Callable[[], int]], int]]:
    """Makes a child of the owner during a run, and kills the owner."""
    children = []

    def make(how: Callable[[], int]) -> int:
        owner.call(start_and_wait, Bear(how))
        children.append(owner.call(child_of))
        owner.kill()
        assert is_alive(children[-1])
        return children[-1]

    yield make
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("how", [by_os_fork, by_multiprocessing_fork, by_multiprocessing_spawn, by_subprocess])
def test_a_child_does_not_keep_the_project(
    manager: RunManager, orphan: Callable[[Callable[[], int]], int], how: Callable[[], int]
) -> None:
    child = orphan(how)
    assert manager.start_run(scope="full") == 2
    join(manager._thread)
    assert is_alive(child)
    assert_each_ended_once(manager.db_path)


def test_a_child_of_a_c_library_keeps_it_until_it_ends(
    manager: RunManager, orphan: Callable[[Callable[[], int]], int]
) -> None:
    """The documented limit: nothing could make the child close the lock."""
    child = orphan(behind_pythons_back)
    with pytest.raises(RuntimeError, match=r"^Run already running: 1$"):
        manager.start_run(scope="full")
    assert manager.get_active_run()["id"] == 1
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: manager.get_active_run() is None, "the end of the child")
    assert manager.start_run(scope="full") == 2
    join(manager._thread)
    assert_each_ended_once(manager.db_path)


def locks_kept_by_children(manager: RunManager, folder: str) -> list[str]:
    """Fork while another thread takes and releases locks; those that cannot be had after that."""
    paths: list[str] = []
    enough = threading.Event()

    def take() -> None:
        while not enough.is_set():
            path = f"{folder}/{len(paths)}"
            lock = OwnerLock.acquire(path)
            assert lock is not None
            lock.release()
            paths.append(path)

    taker = in_thread(take)
    children = [by_os_fork() for _ in range(150)]
    enough.set()
    join(taker)
    kept = [path for path in paths if OwnerLock.acquire(path) is None]
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return kept


def test_a_child_forked_while_a_lock_is_taken_does_not_keep_it(owner: Worker, tmp_path: Path) -> None:
    assert owner.call(locks_kept_by_children, str(tmp_path)) == []


def owns_nothing(manager: RunManager) -> tuple[bool, bool]:
    """Whether a forked child and then its parent can be the second owner of a file that the parent owns."""
    path = manager.db_path + ".lock"
    lock = OwnerLock.acquire(path)
    assert lock is not None
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            lock.describe("the child")
            os._exit(2)
        lock.remove()
        os._exit(OwnerLock.acquire(path) is not None)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 1, OwnerLock.acquire(path) is not None


def test_a_forked_child_does_not_own(owner: Worker) -> None:
    assert owner.call(owns_nothing) == (False, False)
