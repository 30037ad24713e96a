"""What a store costs, and how fast it is, beside Python's `sqlite3` doing the same in a thread."""

import atexit
import json
import queue
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genglossary_runs import RunManager, SqliteStore
from measure import RUN_ID, Figure, Rounds, parser, report, table
from stalled import stalled

EVENT = {"run_id": RUN_ID, "level": "info", "message": "x" * 134}
"""180 bytes of JSON."""
PUBLISHES = 20_000
STORED = 200_000
LOG = 10_000

CHILD = """
import json, resource, sys, time
from genglossary_runs import RunManager, SqliteStore
task, path, *rest = json.loads(sys.argv[1])
manager = RunManager(store=SqliteStore(path), history=100_000, history_bytes=1 << 30)
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
if task == "publish":
    run_id, rate, count = rest
    manager.open_run(run_id)
    print("open", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    for number in range(count):
        pause = begin + number / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        manager.publish(run_id, {"at": time.time(), "text": "x" * 130})
    manager.finish_run(run_id, {})
elif task == "open":
    for run_id in range(rest[0]):
        manager.open_run(run_id + 100)
    print("open", flush=True)
    sys.stdin.readline()
else:
    if task == "follow":
        readers = [manager.subscribe(run_id + 100) for run_id in range(rest[0])]
    else:
        manager.run_record(1)
    time.sleep(3)
    before, begin = cpu(), time.monotonic()
    time.sleep(5)
    print((cpu() - before) / (time.monotonic() - begin), flush=True)
"""


LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
db.execute("ROLLBACK")
"""
"""Holds the lock that writing needs. In a process of its own, as nothing else in this one may open the file."""


def child(*task: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CHILD, json.dumps(task)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def publish(manager: RunManager) -> Callable[[], float]:
    """Seconds that one publish takes of its thread, with a full history."""
    manager.open_run(RUN_ID)
    atexit.register(manager.finish_run, RUN_ID, {})
    names = {"publish": manager.publish, "run_id": RUN_ID, "message": EVENT}
    return lambda: (
        timeit.Timer("publish(run_id, message)", globals=names, timer=time.thread_time).timeit(PUBLISHES) / PUBLISHES
    )


def store_events(folder: Path) -> Callable[[], float]:
    """Seconds until every one of many events is stored, from the first publish."""
    numbers = iter(range(1, 1000))

    def measure() -> float:
        manager = RunManager(
            store=SqliteStore(folder / f"stored-{next(numbers)}.db"), history=STORED, history_bytes=1 << 30
        )
        manager.open_run(RUN_ID)
        begin = time.perf_counter()
        for _ in range(STORED):
            manager.publish(RUN_ID, EVENT)
        while manager.stats()["store"]["events_stored"] < STORED:
            time.sleep(0.001)
        seconds = time.perf_counter() - begin
        assert manager.stats()["store"]["events_lost"] == 0
        manager.finish_run(RUN_ID, {})
        return seconds

    return measure


def python_events(folder: Path) -> Callable[[], float]:
    """The same by a thread that writes what it finds in a queue with Python's `sqlite3`."""
    numbers = iter(range(1, 1000))

    def measure() -> float:
        path = folder / f"python-{next(numbers)}.db"
        waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def write() -> None:
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(
                "CREATE TABLE events (run INTEGER, seq INTEGER, json TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID"
            )
            seq, more = 0, True
            while more:
                batch = [waiting.get()]
                while not waiting.empty() and len(batch) < 1000:
                    batch.append(waiting.get())
                more = batch[-1] is not None
                rows = [(1, seq + number, text) for number, text in enumerate(batch) if text is not None]
                seq += len(rows)
                db.execute("BEGIN")
                db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
                db.execute("COMMIT")
            db.close()

        writer = threading.Thread(target=write)
        writer.start()
        begin = time.perf_counter()
        for _ in range(STORED):
            waiting.put(json.dumps(EVENT))
        waiting.put(None)
        writer.join()
        return time.perf_counter() - begin

    return measure


def latencies(folder: Path, rate: int, count: int) -> list[float]:
    """Milliseconds from publish to a reader in another process."""
    path = str(folder / "latency.db")
    manager = RunManager(store=SqliteStore(path), history=100_000, history_bytes=1 << 30)
    publisher = child("publish", path, rate, rate, count)
    assert publisher.stdin is not None
    assert publisher.stdout is not None
    publisher.stdout.readline()
    reader = manager.subscribe(rate, "0", must_exist=True)
    publisher.stdin.write("go\n")
    publisher.stdin.flush()
    times = [1000 * (time.time() - event["at"]) for event in reader if "at" in event]
    publisher.wait()
    assert len(times) == count
    return sorted(times)


def cpu(folder: Path, followed: int) -> float:
    """Share of a core that a process takes whose engine follows so many open runs."""
    path = str(folder / f"cpu-{followed}.db")
    owner = child("open", path, max(followed, 1))
    assert owner.stdout is not None
    owner.stdout.readline()
    watched = child("follow", path, followed) if followed else child("idle", path)
    output, _ = watched.communicate()
    owner.communicate()
    return 100 * float(output)


def still(folder: Path) -> list[Figure]:
    """The slowest publish while another process, which is stopped, holds the lock that writing needs."""
    path = str(folder / "still.db")
    manager = RunManager(store=SqliteStore(path), history=100_000)
    lockers: list[subprocess.Popen[str]] = []

    def stop() -> None:
        command = [sys.executable, "-c", LOCKER, path]
        locker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lockers.append(locker)
        assert locker.stdout is not None
        locker.stdout.readline()
        locker.send_signal(signal.SIGSTOP)

    def go_on() -> None:
        for locker in lockers:
            locker.send_signal(signal.SIGCONT)
            locker.communicate("go\n")

    figures = stalled(manager, "SqliteStore", stop, go_on)
    while manager.stats()["store"]["owned_runs"] > 0:
        time.sleep(0.01)
    assert manager.stats()["store"]["events_lost"] == 0
    return figures


def late_reader(folder: Path) -> tuple[float, float]:
    """Milliseconds to the first and to the last event of a log of 10,000, in a process that has never read it."""
    path = str(folder / "late.db")
    writer = child("publish", path, 1, 1e9, LOG)
    writer.communicate("go\n")
    manager = RunManager(store=SqliteStore(path))
    manager.run_record(2)
    begin = time.perf_counter()
    reader = manager.subscribe(1, "0", must_exist=True)
    reader.get()
    first = time.perf_counter()
    received = 1 + sum(1 for _ in reader)
    last = time.perf_counter()
    assert received == LOG + 1, received
    return 1000 * (first - begin), 1000 * (last - begin)


def main() -> None:
    options = parser(__doc__ or "", rounds=5).parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        without = publish(RunManager())
        with_store = publish(RunManager(store=SqliteStore(folder / "publish.db")))
        publishing = Rounds({"with a store": with_store, "without": without}, options.rounds)
        storing = Rounds({"store": store_events(folder), "sqlite3 in a thread": python_events(folder)}, options.rounds)
        size = (folder / "stored-1.db").stat().st_size / STORED
        slow, fast = latencies(folder, 100, 500), latencies(folder, 5000, 25_000)
        late = [late_reader(folder) for _ in range(1)]
        shares = {followed: cpu(folder, followed) for followed in (0, 1, 100)}
        stalls = still(folder)

    def percentile(times: list[float], share: float) -> float:
        return times[min(len(times) - 1, int(share * len(times)))]

    per_second = STORED / storing.median("store")
    table(
        ["what", "value"],
        [
            ["publish with a store", f"{1e6 * publishing.median('with a store'):.2f} µs"],
            ["publish without", f"{1e6 * publishing.median('without'):.2f} µs"],
            ["stored", f"{per_second:,.0f} events a second"],
            ["stored by sqlite3 in a thread", f"{STORED / storing.median('sqlite3 in a thread'):,.0f} events a second"],
            ["file", f"{size:.0f} bytes an event of 180"],
            *[
                [
                    f"to another process, {rate} a second",
                    f"p50 {statistics.median(times):.1f} ms, p99 {percentile(times, 0.99):.1f} ms",
                ]
                for rate, times in ((100, slow), (5000, fast))
            ],
            ["late reader of 10,000 events", f"first {late[0][0]:.1f} ms, all {late[0][1]:.1f} ms"],
            *[[f"engine, {followed} runs followed", f"{share:.2f} % of a core"] for followed, share in shares.items()],
        ],
    )
    report(
        [
            Figure("publish with a store / without", publishing.ratio("with a store", "without"), "<= 1.3"),
            Figure("events a second stored", per_second, ">= 150000"),
            Figure("ms to another process, p50 at 100 a second", statistics.median(slow), "<= 5"),
            Figure("ms to another process, p99 at 100 a second", percentile(slow, 0.99), "<= 15"),
            Figure("ms to another process, p50 at 5,000 a second", statistics.median(fast), "<= 5"),
            Figure("ms to another process, p99 at 5,000 a second", percentile(fast, 0.99), "<= 15"),
            Figure("ms to the first of 10,000 stored events", late[0][0], "<= 5"),
            Figure("ms to all of 10,000 stored events", late[0][1], "<= 100"),
            Figure("% of a core, idle", shares[0], "<= 0.5"),
            Figure("% of a core, following one run", shares[1], "<= 3"),
            Figure("% of a core, following 100 runs", shares[100], "<= 3"),
            *stalls,
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
