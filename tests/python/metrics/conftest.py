"""A runner to be measured."""

from collections.abc import Iterator

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from runner.support import DEADLINE, Gate


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(RunManager(history=3), max_active=1)
    yield runner
    assert runner.shutdown(DEADLINE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()
