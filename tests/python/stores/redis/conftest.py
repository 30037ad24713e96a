"""A project of its own for each test of the scripts."""

import pytest

from .scripts import Project


@pytest.fixture
def project(redis_url: str) -> Project:
    return Project(int(redis_url.split(":")[2].split("/")[0]))
