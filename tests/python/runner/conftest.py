"""A manager and a runner, of which nothing may be left after a test."""

from collections.abc import Iterator

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner

from .support import DEADLINE, Gate


@pytest.fixture
def manager() -> RunManager:
    return RunManager()


@pytest.fixture
def runner(manager: RunManager) -> Iterator[Runner]:
    runner = Runner(manager)
    yield runner
    assert runner.shutdown(DEADLINE)
    stats = manager.stats()
    assert (stats["active_runs"], stats["subscribed_runs"], stats["subscribers"]) == (0, 0, 0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()
