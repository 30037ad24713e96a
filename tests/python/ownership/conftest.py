"""A project database that remembers every status, and other processes that serve it."""

import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import genglossary.runs.manager as manager_module
import pytest
from application.support import join
from genglossary.db.connection import database_connection
from genglossary.db.schema import create_tables
from genglossary.runs.executor import PipelineExecutor
from genglossary.runs.manager import RunManager

from .support import CONTEXT, HISTORY, Audience, Worker, store_terms

# Seconds. Where no test is about time, the watchers look more often than they do by default.
WATCH_INTERVAL = 0.05


@pytest.fixture(scope="session")
def fork_server() -> None:
    """The process that makes the others: it has imported everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        CONTEXT.set_forkserver_preload(["ownership.support"])
        forkserver.ensure_running()


@pytest.fixture
def db_path(tmp_path: Path) -> str:
    """A project's database, in a folder of its own."""
    path = tmp_path / "project" / "genglossary.db"
    create_tables(path)
    with database_connection(path) as conn:
        conn.executescript(HISTORY)
    return str(path)


@pytest.fixture
def make_worker(fork_server: None, db_path: str) -> Iterator[Callable[..., Worker]]:
    """Makes processes that serve the project, and end with the test."""
    workers: list[Worker] = []

    def make(path: str = db_path, watch_interval: float = WATCH_INTERVAL) -> Worker:
        workers.append(Worker(path, watch_interval))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def owner(make_worker: Callable[..., Worker]) -> Worker:
    """The process that runs the project's runs."""
    return make_worker()


@pytest.fixture
def make_manager(db_path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunManager]]:
    """Makes managers of the project in this process. Their pipeline is soon done."""
    monkeypatch.setattr(PipelineExecutor, "work", staticmethod(store_terms))
    managers: list[RunManager] = []

    def make(path: str = db_path, watch_interval: float = WATCH_INTERVAL) -> RunManager:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manager_module, "WATCH_INTERVAL", watch_interval)
            managers.append(RunManager(path))
        return managers[-1]

    yield make
    for manager in managers:
        if manager._thread is not None:
            join(manager._thread)


@pytest.fixture
def manager(make_manager: Callable[..., RunManager]) -> RunManager:
    """A manager of the project in this process."""
    return make_manager()


@pytest.fixture
def audience(manager: RunManager) -> Iterator[Audience]:
    """Readers in this process of every run of the project."""
    readers = Audience(manager)
    yield readers
    readers.close()
