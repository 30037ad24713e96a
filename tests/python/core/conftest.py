"""A manager with one open run, and a reader of it."""

import pytest
from genglossary_runs import RunManager, Subscription


@pytest.fixture
def manager() -> RunManager:
    """A manager with run 1 open."""
    manager = RunManager()
    manager.open_run(1)
    return manager


@pytest.fixture
def reader(manager: RunManager) -> Subscription:
    """A reader of run 1."""
    return manager.subscribe(1)
