"""What a run costs over Redis, and how fast it is, beside redis-py's asyncio and `SqliteStore` doing the same.

redis-py does what people write today: an awaited XADD an event, and an XREAD BLOCK a client. Hosts are processes with
connections of their own to a server of this program's own, everything on 127.0.0.1. It takes about five minutes, less
with `--quick`, and much less for a single part.
"""

import argparse
import os
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

from genglossary_runs import RedisStore, RunManager
from hosts.delivery import Delivery, Load, deliver, median, store
from hosts.server import RedisServer
from measure import RUN_ID, Figure, Rounds, log_message, parser, report, table
from stalled import stalled

PARTS = ("stored", "publish", "stopped", "latency", "cpu", "memory")
STORED = 100_000
XADDS = 5_000
"""redis-py stores as many in about the time, in pipelines of 100 ten times as many."""
PUBLISHES = 20_000
RATES, RUNS = (100, 10_000), (1, 100, 1_000)
SECONDS = 3
CPU_LOADS = {
    "100 runs, a client each, 1,000 events/s": Load(runs=100, rate=1_000, events=2_000),
    "10 runs, 20 clients each, 100 events/s": Load(runs=10, rate=100, events=200, clients=20),
}
CPU_ROUNDS = 3
OURS, REDIS_PY, SQLITE = "RedisStore", "redis-py", "SqliteStore"


def stored(server: RedisServer, folder: Path, rounds: int) -> list[Figure]:
    """Events a second that one process stores."""
    numbers = iter(range(1000))

    def redis_store() -> float:
        server.empty()
        return STORED / store("store", STORED, server.url)

    cases: dict[str, Callable[[], float]] = {
        OURS: redis_store,
        f"{REDIS_PY}, an XADD awaited each": lambda: XADDS / store("redis-py", XADDS, server.url),
        f"{REDIS_PY}, pipelines of 100": lambda: 10 * XADDS / store("redis-py", 10 * XADDS, server.url, batch=100),
        SQLITE: lambda: STORED / store("store", STORED, str(folder / f"stored-{next(numbers)}.db")),
    }
    measured = Rounds(cases, rounds)
    rows = [
        [name, f"{measured.median(name):,.0f}", " to ".join(f"{value:,.0f}" for value in measured.spread(name))]
        for name in cases
    ]
    table(["events a second stored", "median", "spread"], rows)
    return [Figure("events a second stored", measured.median(OURS), ">= 150000")]


def publish(server: RedisServer, rounds: int) -> list[Figure]:
    """CPU that one publish takes of its thread, with a store and without."""

    def seconds(manager: RunManager) -> float:
        names = {"publish": manager.publish, "run_id": RUN_ID, "message": log_message()}
        timer = timeit.Timer("publish(run_id, message)", globals=names, timer=time.thread_time)
        return timer.timeit(PUBLISHES) / PUBLISHES

    managers = {"with": RunManager(store=RedisStore(server.url, project="publish")), "without": RunManager()}
    for manager in managers.values():
        manager.open_run(RUN_ID)
    measured = Rounds({name: partial(seconds, manager) for name, manager in managers.items()}, rounds)
    for manager in managers.values():
        manager.finish_run(RUN_ID, {})
    table(
        ["CPU of a publish", "µs"],
        [[f"{name} RedisStore", f"{1e6 * measured.median(name):.2f}"] for name in managers],
    )
    return [Figure("publish with RedisStore / without", measured.ratio("with", "without"), "<= 1.3")]


def stopped(server: RedisServer) -> list[Figure]:
    """The slowest publish while the server answers nothing."""
    manager = RunManager(store=RedisStore(server.url, project="stopped"), history=100_000)
    return stalled(manager, OURS, server.stop, server.go_on)


def latency(server: RedisServer, folder: Path, quick: bool) -> list[Figure]:
    """From a publish to the frames of a client on another host."""
    rows = []
    needed: Delivery | None = None
    loads = [Load(runs, rate, max(300, rate * SECONDS)) for rate in RATES for runs in RUNS]
    for load in loads if not quick else loads[-1:]:
        sides = {OURS: partial(deliver, "store", load, server)}
        if load.rate <= 1_000:
            # It cannot send more.
            sides[REDIS_PY] = partial(deliver, "redis-py", load, server)
        if load.runs == 1:
            path = folder / f"latency-{load.rate}.db"
            sides[SQLITE] = partial(deliver, "store", load, server, str(path))
        for name, side in sides.items():
            took = side()
            rows.append([f"{load.rate:,}/s over {load.runs:,} runs, {name}", f"{took.p50:.1f}", f"{took.p99:.1f}"])
            needed = took if name == OURS else needed
    table(["ms from publish to a client elsewhere", "p50", "p99"], rows)
    assert needed is not None
    return [Figure("ms to a client elsewhere, p99 at 1,000 runs and 10,000 events/s", needed.p99, "<= 10")]


def cpu(server: RedisServer) -> list[Figure]:
    """What a delivered event takes of each processor."""
    rows, figures = [], []
    for what, load in CPU_LOADS.items():
        sides = {OURS: "store", REDIS_PY: "redis-py"}
        found: dict[str, list[Delivery]] = {name: [] for name in sides}
        for _ in range(CPU_ROUNDS):
            for name, kind in sides.items():
                found[name].append(deliver(kind, load, server))
        for name in sides:
            took = median(found[name])
            cells = [f"{value:.1f}" for value in (took.loop, took.engine, took.server)]
            rows.append([f"{what}: {name}", *cells])
        pairs = zip(found[OURS], found[REDIS_PY], strict=True)
        ratio = statistics.median(ours.loop / theirs.loop for ours, theirs in pairs)
        figures.append(Figure(f"CPU on the loop over redis-py's, {what}", ratio, "<= 0.2"))
    table(["µs of CPU of a delivered event", "loop", "engine", "server"], rows)
    return figures


def memory(server: RedisServer) -> list[Figure]:
    """Bytes that a run takes in Redis."""
    manager = RunManager(store=RedisStore(server.url, project="memory"))
    event = {"at": time.time(), "level": "info", "message": "x" * 140}

    def each(first: int, runs: int, events: int) -> float:
        before, wanted = server.memory(), manager.stats()["store"]["events_stored"] + runs * events
        for run in range(first, first + runs):
            manager.open_run(run)
            for _ in range(events):
                manager.publish(run, event)
        while manager.stats()["store"]["events_stored"] < wanted:
            time.sleep(0.01)
        after = server.memory()
        for run in range(first, first + runs):
            manager.finish_run(run, {})
        return (after - before) / runs

    manager.run_record(0)
    rows = [
        [f"a run with {events:,} events of 200 bytes", f"{each(1 + 10_000 * events, runs, events):,.0f}"]
        for events, runs in ((0, 1_000), (1, 1_000), (1_000, 50))
    ]
    info = server.info()
    rows.append(["connections of this process", str(int(info["connected_clients"]) - 1)])
    table(["in Redis", "bytes"], rows)
    return []


def main() -> None:
    """Measure, print, and write the figures."""
    options = parser(__doc__ or "", rounds=5)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"what is measured, by default all: {PARTS}")
    options.add_argument("--quick", action="store_true", help="latencies only where there is a bound")
    chosen = options.parse_args()
    figures: list[Figure] = []
    for part in chosen.parts or PARTS:
        server = RedisServer()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            measures: dict[str, Callable[[], list[Figure]]] = {
                "stored": partial(stored, server, folder, chosen.rounds),
                "publish": partial(publish, server, chosen.rounds),
                "stopped": partial(stopped, server),
                "latency": partial(latency, server, folder, chosen.quick),
                "cpu": partial(cpu, server),
                "memory": partial(memory, server),
            }
            try:
                figures += measures[part]()
            finally:
                server.close()
    print(f"Load of the machine at the end: {', '.join(f'{load:.1f}' for load in os.getloadavg())}\n")
    report(figures, chosen.json)


if __name__ == "__main__":
    main()
