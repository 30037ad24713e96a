"""How long the API takes for a list of 10,000 runs, in memory, on SQLite and on Redis: a page, a filter, a search.

    python benches/lists.py

Each request passes through FastAPI, without a server or a network: what is measured is this project and the models of
its answer. The framework's share is measured beside it, as the time of a route that answers with nothing. Then 100 runs
with results of 1 MB come on top, which no list may read.
"""

import asyncio
import gc
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
from fastapi import FastAPI
from genglossary_runs import RedisStore, RunManager, SqliteStore
from genglossary_runs.console import router
from genglossary_runs.runner import Runner
from hosts.server import RedisServer
from measure import Figure, parser, report, table

RUNS = 10_000
LARGE = 100
LARGE_RESULT = {"pages": ["p" * 999_980]}
AT_ONCE = 200
"""Runs that are begun at once to fill a store."""
LIMIT = 50.0
"""Milliseconds that a list may take."""

REQUESTS = {
    "an empty route": "/nothing",
    "the first page": "/api/runs",
    "the first page of 500": "/api/runs?limit=500",
    "the last page": "/api/runs?after={oldest}",
    "one status": "/api/runs?status=failed",
    "one of two statuses": "/api/runs?status=failed&status=cancelled",
    "one key": "/api/runs?key=key 7",
    "a search for an id": "/api/runs?q=run-77",
    "a search for an error": "/api/runs?q=NO SUCH PAGE",
    "a search that finds nothing": "/api/runs?q=nothing has this",
}


def fill_memory(runner: Runner, numbers: Iterable[int], result: object) -> None:
    """Run them all, every hundredth of which fails."""
    for number in numbers:

        def work(context: object, number: int = number) -> object:
            if number % 100 == 0:
                raise ValueError("no such page")
            return result

        runner.start(work, run_id=f"run-{number}", key=f"key {number}").wait()


async def fill_store(runner: Runner, numbers: Iterable[int], result: object) -> None:
    """Store the same, as another process may have: the runner has no handles of them."""
    manager, text = runner.manager, json.dumps(result)
    failed = {"complete": True, "status": "failed", "error": "no such page"}

    async def one(number: int) -> None:
        run_id = f"run-{number}"
        await manager.aopen_run(run_id, key=f"key {number}")
        if number % 100 == 0:
            await manager.afinish_run(run_id, failed)
        else:
            await manager.afinish_run(run_id, {"complete": True, "status": "completed"}, result=text)

    waiting = list(numbers)
    while waiting:
        part, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        await asyncio.gather(*map(one, part))


class Side:
    """A runner, and the API over its runs."""

    def __init__(self, manager: RunManager) -> None:
        self.runner = Runner(manager, finished_runs=2 * RUNS)
        app = FastAPI()
        app.include_router(router(self.runner), prefix="/api")

        @app.get("/nothing")
        async def nothing() -> None:
            """Answer."""

        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")
        self._oldest = ""

    async def fill(self, numbers: Iterable[int], result: object) -> None:
        """Have these runs, which have ended, besides those that are there."""
        if self.runner.manager.store is None:
            fill_memory(self.runner, numbers, result)
        else:
            await fill_store(self.runner, numbers, result)

    async def find_oldest(self) -> None:
        """Learn the cursor of the last page."""
        page = {"next": ""}
        while page["next"] is not None:
            self._oldest = page["next"]
            query = {"limit": 500} | ({"after": self._oldest} if self._oldest else {})
            page = (await self._client.get("/api/runs", params=query)).raise_for_status().json()

    async def ask(self, path: str) -> float:
        """Return the milliseconds that a request took."""
        begun = time.perf_counter()
        answer = await self._client.get(path.format(oldest=self._oldest))
        taken = 1000 * (time.perf_counter() - begun)
        answer.raise_for_status()
        return taken


async def measure(sides: dict[str, Side], rounds: int, what: str) -> list[Figure]:
    """Ask all sides for all lists in turns, print the medians, and return the slowest list of each side."""
    taken: dict[tuple[str, str], list[float]] = {(request, side): [] for request in REQUESTS for side in sides}
    for _ in range(rounds):
        for request, path in REQUESTS.items():
            for name, side in sides.items():
                taken[request, name].append(await side.ask(path))
    medians = {case: statistics.median(times) for case, times in taken.items()}
    rows = [
        [request, *(f"{medians[request, side]:.1f} ({min(taken[request, side]):.1f})" for side in sides)]
        for request in REQUESTS
    ]
    table([f"ms, median (best): {what}", *sides], rows)
    return [
        Figure(
            f"{side}, {what}: ms of the slowest list",
            max(medians[request, side] for request in REQUESTS),
            f"<= {LIMIT:.0f}",
        )
        for side in sides
    ]


async def compare(folder: Path, url: str, rounds: int) -> list[Figure]:
    """Measure without large results, then with them."""
    sides = {
        "memory": Side(RunManager()),
        "SQLite": Side(RunManager(store=SqliteStore(folder / "runs.db", max_runs=2 * RUNS))),
        "Redis": Side(RunManager(store=RedisStore(url, max_runs=2 * RUNS))),
    }
    for side in sides.values():
        await side.fill(range(1, RUNS + 1), {"pages": 1})
        await side.find_oldest()
    figures = await measure(sides, rounds, f"{RUNS:,} runs")
    for side in sides.values():
        await side.fill(range(RUNS + 1, RUNS + LARGE + 1), LARGE_RESULT)
    return figures + await measure(sides, rounds, f"and {LARGE} with 1 MB")


def main() -> int:
    """Measure. Returns the exit code."""
    logging.getLogger("genglossary_runs.runner").setLevel(logging.CRITICAL)  # of the runs that fail as they should
    options = parser(__doc__.split("\n", 1)[0], rounds=15).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer()
        try:
            figures = asyncio.run(compare(Path(folder), server.url, options.rounds))
        finally:
            # The stores are to be closed before what they are in goes.
            gc.collect()
            server.close()
    report(figures, options.json)
    return int(not all(figure.reached for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
