"""The store of a test."""

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .kinds import KINDS
from .servers import RedisServer, need_redis
from .support import Place

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that the tests share, each with a project of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.url
    # FastAPI keeps the applications of tests that are over, and these their managers, which would complain.
    logging.disable()
    server.close()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a store of each kind is."""
    where = str(tmp_path)
    if request.param == "redis":
        where = f"{request.getfixturevalue('redis_url')}#test-{next(_numbers)}"
    place = Place(request.param, where)
    yield place
    place.close()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers of the test's own."""
    need_redis()
    servers: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
