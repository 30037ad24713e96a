"""Claims on a project: shared in the process, and what the file says. Another lock stands for another process."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from application.support import broken
from genglossary_runs._core import OwnerLock
from genglossary_runs.application import ownership
from genglossary_runs.application.outcome import INTERRUPTED, Outcome
from genglossary_runs.application.ownership import Claim, Ownership


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The lock file."""
    return tmp_path / "project.db.run-lock"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Ownership]:
    # Other tests of this process start runs whose thread never is, and whose claim stays.
    before = set(ownership._held)
    yield Ownership(str(tmp_path / "project.db"))
    assert set(ownership._held) == before, "a claim was kept"


def claimed(project: Ownership) -> Claim:
    claim = project.claim()
    assert claim is not None
    return claim


def die(path: Path, *runs: int) -> None:
    """As an owner of these runs."""
    lock = OwnerLock.acquire(path)
    assert lock is not None
    lock.describe(json.dumps({"runs": runs}))
    lock.release()


def left(project: Ownership) -> set[int]:
    with project.abandoned() as runs:
        return set(runs)


def test_the_file_is_for_people_too(project: Ownership, path: Path) -> None:
    claim = claimed(project)
    claim.name(7)
    owner = json.loads(path.read_text())
    assert "Leave this file" in owner.pop("note")
    assert owner == {"runs": [7], "pid": os.getpid(), "host": socket.gethostname()}
    claim.release()
    assert not path.exists()


def test_claims_of_a_process_share_the_lock(project: Ownership, tmp_path: Path, path: Path) -> None:
    first, second = claimed(project), claimed(Ownership(tmp_path / "project.db"))
    first.release()
    first.release()
    assert path.exists()
    assert OwnerLock.acquire(path) is None
    second.release()
    assert not path.exists()


def test_one_project_by_any_path(project: Ownership, tmp_path: Path) -> None:
    """Two locks for one database would be none."""
    (tmp_path / "link").symlink_to(tmp_path)
    other = OwnerLock.acquire(tmp_path / "project.db.run-lock")
    assert other is not None
    assert project.claim() is None
    assert Ownership(tmp_path / "link" / "project.db").claim() is None
    other.remove()


def test_another_process_owns_it(project: Ownership, path: Path) -> None:
    other = OwnerLock.acquire(path)
    assert other is not None
    other.describe('{"runs": [3, 4]}')
    assert project.claim() is None
    assert project.run_elsewhere() == 4, "the newest: the others were left by owners that died"
    assert left(project) == set()
    other.release()
    assert project.run_elsewhere() is None
    assert left(project) == {3, 4}


@pytest.mark.parametrize(
    "words",
    [b'{"runs": [1e999]}', b'{"runs": [99999999999999999999, -1, "x"]}', b"[" * 100_000, b"\xff", b'{"runs": 1}', b""],
    ids=["infinite", "no ids", "deep", "no text", "no list", "empty"],
)
def test_a_file_with_other_words_names_nobody(project: Ownership, path: Path, words: bytes) -> None:
    path.write_bytes(words)
    assert left(project) == set()
    other = OwnerLock.acquire(path)
    assert other is not None
    assert project.claim() is None
    assert project.run_elsewhere() is None
    other.release()
    claimed(project).release()


def test_what_this_process_owns_is_not_elsewhere(project: Ownership) -> None:
    claim = claimed(project)
    claim.name(1)
    assert project.run_elsewhere() is None
    assert left(project) == set()
    claim.release()


def test_no_owner_comes_while_the_abandoned_are_looked_after(project: Ownership, path: Path) -> None:
    die(path, 1)
    with project.abandoned() as runs:
        assert set(runs) == {1}
        looking = OwnerLock.look(path)
        assert looking is not None, "others may look, too"
        looking.release()
    claimed(project).release()


def test_a_dead_owners_runs_are_named_until_they_are_recorded(project: Ownership, path: Path) -> None:
    die(path, 1, 2)
    claim = claimed(project)
    assert set(claim.unrecorded) == {1, 2}
    claim.name(3)
    assert json.loads(path.read_text())["runs"] == [3, 1, 2]
    claim.release()
    assert path.exists(), "nobody has recorded them"

    claim = claimed(project)
    assert set(claim.unrecorded) == {1, 2, 3}
    claim.clear()
    assert set(claim.unrecorded) == set()
    claim.name(4)
    assert json.loads(path.read_text())["runs"] == [4]
    claim.release()
    assert not path.exists()


def test_whoever_lets_go_last_keeps_the_names(project: Ownership, path: Path) -> None:
    """The claim that found them was released first, and the other removed the file."""
    die(path, 1)
    found, other = claimed(project), claimed(project)
    found.release()
    other.release()
    assert left(project) == {1}


def test_a_run_whose_end_could_not_be_recorded_is_left(project: Ownership, path: Path) -> None:
    claim = claimed(project)
    claim.name(5)
    claim.leave(INTERRUPTED)
    later = claimed(project)
    assert set(later.unrecorded) == {5}
    claim.release()
    later.release()
    assert left(project) == {5}


@pytest.mark.parametrize(
    "words", ["", "{", "[]", "null", '{"runs": null}', '{"runs": ["x"]}', '{"pid": 1}', '{"runs": 5}', "\x00\xff"]
)
def test_words_that_say_nothing(project: Ownership, path: Path, words: str) -> None:
    path.write_text(words)
    assert left(project) == set()
    claim = claimed(project)
    assert set(claim.unrecorded) == set()
    claim.release()


FAILED = Outcome("failed", "用語がありません")


def unrecorded(project: Ownership) -> dict[int, Outcome]:
    with project.abandoned() as outcomes:
        return dict(outcomes)


def test_the_file_says_how_a_run_ended_until_that_is_recorded(project: Ownership, path: Path) -> None:
    die(path, 1)
    claim = claimed(project)
    claim.name(2)
    claim.keep(FAILED)
    assert json.loads(path.read_text())["ended"] == {"2": {"status": "failed", "error": "用語がありません"}}
    claim.leave(FAILED)
    claim.release()
    assert unrecorded(project) == {2: FAILED, 1: INTERRUPTED}

    claim = claimed(project)
    claim.name(3)
    claim.keep(Outcome("completed"))
    assert dict(claim.unrecorded) == {2: FAILED, 1: INTERRUPTED}
    claim.clear()
    claim.release()
    assert not path.exists()


@pytest.mark.parametrize(
    "ended",
    [
        None,
        [],
        "completed",
        {"7": None},
        {"7": {}},
        {"7": {"status": "running", "error": None}},
        {"7": {"status": ["completed"], "error": None}},
        {"7": {"status": "failed", "error": 5}},
        {"7": {"status": "failed"}},
        {"8": {"status": "completed", "error": None}},
    ],
)
def test_an_outcome_that_cannot_be_read_is_an_interruption(project: Ownership, path: Path, ended: object) -> None:
    path.write_text(json.dumps({"runs": [7], "ended": ended}))
    assert unrecorded(project) == {7: INTERRUPTED}


@pytest.mark.parametrize("name", [":memory:", ""])
def test_a_database_in_memory_has_no_owner(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    project = Ownership(name)
    with caplog.at_level(logging.INFO):
        claims = [claimed(project), claimed(project)]
    assert "crashes are not noticed" in caplog.text
    for claim in claims:
        claim.name(1)
        claim.leave(INTERRUPTED)
        assert set(claim.unrecorded) == set()
        claim.clear()
        claim.release()
    assert project.run_elsewhere() is None
    assert left(project) == set()
    assert list(tmp_path.iterdir()) == []


def test_no_lock_can_be_had(project: Ownership, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    claimed(project).release()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "cannot be locked" in record.message
    assert "crashes are not noticed" in record.message


def test_the_file_cannot_be_written(
    project: Ownership, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim = claimed(project)
    shared = claim._shared
    assert shared is not None
    lock, shared.lock = shared.lock, Unwritable()  # type: ignore[assignment]
    claim.name(1)
    assert "a crash of this run will not be noticed" in caplog.text
    claim.release()
    assert "cannot be removed" in caplog.text
    lock.remove()


class Unwritable:
    """A lock on a file of a disk that fails."""

    describe = remove = broken(OSError("No space left on device"))
