"""The store of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .kinds import KINDS
from .support import Place


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a store of each kind is."""
    place = Place(request.param, tmp_path)
    yield place
    place.close()
