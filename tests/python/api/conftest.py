"""A runner with its API; in memory, on a store, and as another process that uses the store sees it."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from runner.support import Gate
from stores.conftest import redis_url as redis_url
from stores.kinds import KINDS
from stores.support import Place

from .support import DEADLINE, Client, make_app

_numbers = itertools.count(1)


@pytest.fixture
def runner() -> Iterator[Runner]:
    """A runner in memory, of which nothing may be left."""
    runner = Runner(RunManager(), tracebacks=True)
    yield runner
    assert runner.shutdown(DEADLINE)
    assert runner.manager.stats()["subscribers"] == 0


@pytest.fixture
async def client(runner: Runner) -> AsyncIterator[Client]:
    """The API of the runner in memory, where nothing can be started."""
    client = Client(make_app(runner))
    yield client
    await client.http.aclose()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@dataclass
class Side:
    """A runner, and the API that is asked about its runs, of this runner or another."""

    runner: Runner
    asked: Runner
    client: Client
    is_elsewhere: bool


@pytest.fixture(params=["memory", *(f"{kind}-{side}" for kind in KINDS for side in ("here", "elsewhere"))])
async def side(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Side]:
    """Runs in memory, on a store, and on a store whose runs are asked about with another manager."""
    kind, _, which = request.param.partition("-")
    with ExitStack() as stack:
        if kind == "memory":
            runner = asked = Runner(RunManager(), tracebacks=True)
        else:
            in_redis = kind == "redis"
            where = f"{request.getfixturevalue('redis_url')}#api-{next(_numbers)}" if in_redis else str(tmp_path)
            place = stack.enter_context(closing(Place(kind, where)))
            runner = asked = Runner(place.manager(), tracebacks=True)
            if which == "elsewhere":
                asked = Runner(place.manager())
        client = Client(make_app(asked))
        yield Side(runner, asked, client, which == "elsewhere")
        await client.http.aclose()
        assert runner.shutdown(DEADLINE)
