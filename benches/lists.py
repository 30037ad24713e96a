"""How long the API takes for a list of 10,000 runs, in memory and on a store: a page, a filter, a search.

    python benches/lists.py

Each request passes through FastAPI, without a server or a network: what is measured is this project and the models of
its answer. The framework's share is measured beside it, as the time of a route that answers with nothing.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
from fastapi import FastAPI
from genglossary_runs import RunManager, SqliteStore
from genglossary_runs.console import router
from genglossary_runs.runner import RunContext, Runner

RUNS = 10_000
ROUNDS = 30
LIMIT = 50.0
"""Milliseconds that a list may take."""

REQUESTS = {
    "an empty route": "/nothing",
    "the first page": "/api/runs",
    "the first page of 500": "/api/runs?limit=500",
    "the last page": "/api/runs?after={oldest}",
    "one status": "/api/runs?status=failed",
    "one key": "/api/runs?key=key 7",
    "a search that finds nothing": "/api/runs?q=nothing has this",
}


def work(context: RunContext) -> dict[str, int]:
    """Fail at every hundredth run."""
    context.log("A line of the log")
    context.progress(1, 1, step="reading")
    if str(context.run_id).endswith("00"):
        raise ValueError("no such page")
    return {"pages": 1}


def fill(runner: Runner) -> int:
    """Run them all. Returns the cursor of the last page."""
    fences = []
    for number in range(1, RUNS + 1):
        run = runner.start(work, run_id=number, key=f"key {number}")
        run.wait()
        fences.append(run.fence)
    return fences[10]


async def measure(runner: Runner, oldest: int) -> bool:
    """Print the median and the worst of each request. Returns whether all of them are within the limit."""
    app = FastAPI()
    app.include_router(router(runner), prefix="/api")

    @app.get("/nothing")
    async def nothing() -> None:
        """Answer."""

    taken: dict[str, list[float]] = {name: [] for name in REQUESTS}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        for _ in range(ROUNDS):
            for name, path in REQUESTS.items():
                begun = time.perf_counter()
                answer = await client.get(path.format(oldest=oldest))
                taken[name].append(1000 * (time.perf_counter() - begun))
                answer.raise_for_status()
    for name, times in taken.items():
        print(f"  {name:<30} {statistics.median(times):7.1f} ms   (worst {max(times):.1f})")
    # A search has to read every record of a store.
    return all(statistics.median(times) <= LIMIT for name, times in taken.items() if "search" not in name)


def main() -> int:
    """Measure. Returns the exit code."""
    within = True
    with tempfile.TemporaryDirectory() as folder:
        for name, manager in (
            ("in memory", RunManager()),
            ("SQLite", RunManager(store=SqliteStore(Path(folder) / "runs.db", max_runs=2 * RUNS))),
        ):
            runner = Runner(manager, finished_runs=RUNS if name == "in memory" else 0)
            print(f"{RUNS} runs, {name}:")
            within &= asyncio.run(measure(runner, fill(runner)))
    print("within" if within else "over", f"the limit of {LIMIT:.0f} ms")
    return int(not within)


if __name__ == "__main__":
    sys.exit(main())
