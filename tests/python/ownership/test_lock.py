"""The lock on a file. Each opens the file anew, so two in one process exclude each other as two processes do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from application.support import wait_for
from core.support import run_python
from genglossary.runs.manager import RunManager
from genglossary_runs._core import OwnerLock

from .support import Worker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def owned(path: Path) -> OwnerLock:
    lock = OwnerLock.acquire(path)
    assert lock is not None
    return lock


def test_there_is_one_owner(path: Path) -> None:
    lock = owned(path)
    assert OwnerLock.acquire(path) is None
    assert OwnerLock.look(path) is None
    lock.release()
    owned(str(path)).release()  # type: ignore[arg-type]


def test_dropping_it_releases_it(path: Path) -> None:
    lock = owned(path)
    del lock
    owned(path)


def test_what_is_written_is_found(path: Path) -> None:
    lock = owned(path)
    assert lock.found == ""
    lock.describe("something rather long")
    lock.describe("用語集")
    assert path.read_text(encoding="utf-8") == "用語集"
    lock.release()
    looking = OwnerLock.look(path)
    assert looking is not None
    assert looking.found == "用語集"
    looking.release()
    assert owned(path).found == "用語集"


def test_release_keeps_the_file_and_remove_removes_it(path: Path) -> None:
    lock = owned(path)
    lock.release()
    lock.release()
    lock.remove()
    assert path.exists()
    with pytest.raises(OSError):
        lock.describe("late")
    lock = owned(path)
    lock.remove()
    lock.remove()
    assert not path.exists()


def test_a_look_makes_no_file(path: Path) -> None:
    assert OwnerLock.look(path) is None
    assert not path.exists()


def test_there_is_no_owner_while_somebody_looks_and_nobody_waits(path: Path) -> None:
    """Waiting would hold up everything that waits for the caller."""
    owned(path).release()
    looks = [OwnerLock.look(path), OwnerLock.look(path)]
    for look in looks:
        assert OwnerLock.acquire(path) is None
        assert look is not None
        look.release()
    assert OwnerLock.acquire(path) is not None


def test_a_file_of_another_user_is_locked_all_the_same() -> None:
    """Else one that only looks would find an owner where one that wants to own finds none."""
    run_python("""
import os, pathlib, shutil, tempfile
from genglossary_runs._core import OwnerLock

folder = pathlib.Path(tempfile.mkdtemp())
folder.chmod(0o755)
path = folder / "lock"
dead = OwnerLock.acquire(path)
dead.describe("mine")
dead.release()
path.chmod(0o444)
child = os.fork()
if child == 0:
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    lock = OwnerLock.acquire(path)
    assert lock.found == "mine" and OwnerLock.look(path) is None
    try:
        lock.describe("another's")
    except OSError:
        os._exit(0)
    os._exit(1)
_, status = os.waitpid(child, 0)
shutil.rmtree(folder)
assert status == 0, status
""")


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        OwnerLock.acquire(tmp_path / "nowhere" / "lock")
    with pytest.raises(IsADirectoryError):
        OwnerLock.acquire(tmp_path)


def owns(manager: RunManager, path: str) -> bool:
    lock = OwnerLock.acquire(path)
    if lock is not None:
        lock.remove()
    return lock is not None


def keep(manager: RunManager, path: str) -> None:
    lock = OwnerLock.acquire(path)
    assert lock is not None
    manager.kept = lock  # type: ignore[attr-defined]


def describe_for_ever(manager: RunManager, path: str, words: list[str]) -> None:
    lock = OwnerLock.acquire(path)
    assert lock is not None
    while True:
        for each in words:
            lock.describe(each)


def test_it_keeps_other_processes_out_and_dies_with_its_own(make_worker: Callable[..., Worker], path: Path) -> None:
    one, other = make_worker(), make_worker()
    one.call(keep, str(path))
    assert other.call(owns, str(path)) is False
    assert OwnerLock.acquire(path) is None
    one.kill()
    assert other.call(owns, str(path)) is True


def test_an_owner_that_dies_while_it_writes_leaves_whole_words(make_worker: Callable[..., Worker], path: Path) -> None:
    """Empty ones would let the runs of an earlier dead owner be forgotten."""
    words = ["the longer of the two", "the short"]
    for _ in range(40):
        writer = make_worker()
        writer.ask(describe_for_ever, str(path), words)
        wait_for(lambda: path.exists() and path.stat().st_size, "the first words")
        writer.kill()
        lock = owned(path)
        assert lock.found.rstrip(" ") in words
        lock.remove()
