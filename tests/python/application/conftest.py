"""A project database, a scripted pipeline, and managers whose runs end with the test."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from genglossary.db.connection import get_connection
from genglossary.db.schema import create_tables
from genglossary.runs.manager import RunManager

from .support import Pipeline, join

# These pass with a store beside the database, too.
STORED_TOO = {"test_cancel", "test_cleanup", "test_views"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in STORED_TOO:
        metafunc.parametrize("stored", [False, True], ids=["memory", "store"], indirect=True)


@pytest.fixture(autouse=True)
def stored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether managers have a store."""
    monkeypatch.setattr(RunManager, "STORE", getattr(request, "param", RunManager.STORE))


@pytest.fixture
def db_path(tmp_path: Path) -> str:
    """A project's database, in a folder of its own."""
    path = tmp_path / "project" / "genglossary.db"
    create_tables(path)
    return str(path)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The scripted pipeline. Without a script it succeeds at once."""
    scripted = Pipeline(monkeypatch)
    scripted.says()
    return scripted


@pytest.fixture
def make_manager(db_path: str, pipeline: Pipeline) -> Iterator[Callable[..., RunManager]]:
    """Makes managers of the project."""
    managers: list[RunManager] = []

    def make(path: Any = db_path, **settings: Any) -> RunManager:
        managers.append(RunManager(path, **settings))
        return managers[-1]

    yield make
    pipeline.release.set()
    for manager in managers:
        for event in manager._cancel_events.values():
            event.set()
        if manager._thread is not None and hasattr(manager._thread, "ident") and manager._thread.is_alive() is True:
            join(manager._thread)
        end_watching(manager)


def end_watching(manager: RunManager) -> None:
    """Let no check of this test's rows come in the middle of the next test, which may count what is called."""
    watcher = manager._watcher
    thread = watcher._thread
    for run_id in list(watcher._watched):
        watcher.forget(run_id)
    if thread is not None:
        join(thread)


@pytest.fixture
def manager(make_manager: Callable[..., RunManager]) -> RunManager:
    """The manager of the project."""
    return make_manager()


@pytest.fixture
def connect(db_path: str) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Opens connections to the project's database that close with the test."""
    connections: list[sqlite3.Connection] = []

    def open_one() -> sqlite3.Connection:
        connections.append(get_connection(db_path))
        return connections[-1]

    yield open_one
    for conn in connections:
        conn.close()
