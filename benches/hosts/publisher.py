"""A host that publishes at a steady rate, started by `delivery.py` with a JSON object as its argument.

It says "open" when its runs can be read, begins at a line of input, says "stored" when all is, and ends its runs at
another line.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

TICK = 0.001
"""Seconds that it sleeps at least: a sleep for each of 10,000 events a second would be most of its work."""


def schedule(task: dict[str, Any]) -> Iterator[tuple[float, int, dict[str, Any]]]:
    """For each event how long to sleep before it, the number of its run, and the event. At rate 0 there is no pause."""
    begin, rate = time.monotonic(), task["rate"]
    for number in range(task["events"]):
        pause = begin + number / rate - time.monotonic() if rate else 0
        sleep = max(pause, TICK) if pause > 0 else 0
        # 200 bytes of JSON, about.
        yield sleep, number % task["runs"], {"at": 0.0, "level": "info", "message": "x" * 140}


def with_store(task: dict[str, Any]) -> None:
    from genglossary_runs import RedisStore, RunManager, SqliteStore

    store = RedisStore(task["url"]) if task["url"].startswith("redis:") else SqliteStore(task["url"])
    manager = RunManager(store=store, history=200_000, history_bytes=1 << 30)
    for run in range(task["runs"]):
        manager.open_run(run + 1)
    say("open")
    for sleep, run, event in schedule(task):
        if sleep:
            time.sleep(sleep)
        event["at"] = time.time()
        manager.publish(run + 1, event)
    while (stored := manager.stats()["store"])["events_stored"] < task["events"]:
        assert stored["events_lost"] == 0, stored
        time.sleep(TICK)
    say("stored")
    for run in range(task["runs"]):
        manager.finish_run(run + 1, {})


async def with_redis_py(task: dict[str, Any]) -> None:
    from redis.asyncio import Redis

    client = Redis.from_url(task["url"])
    for run in range(task["runs"]):
        await client.delete(f"stream:{run + 1}")
    say("open")

    async def paced() -> AsyncIterator[tuple[int, dict[str, Any]]]:
        for sleep, run, event in schedule(task):
            if sleep:
                await asyncio.sleep(sleep)
            yield run, event

    pipeline = client.pipeline(transaction=False)
    async for run, event in paced():
        event["at"] = time.time()
        adder = client if task["batch"] == 1 else pipeline
        added = adder.xadd(f"stream:{run + 1}", {"json": json.dumps(event)}, maxlen=100_000, approximate=True)
        if adder is client:
            await added
        elif len(pipeline) == task["batch"]:
            await pipeline.execute()
    await pipeline.execute()
    say("stored")
    await client.aclose()


def say(what: str) -> None:
    print(what, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    if arguments["kind"] == "store":
        with_store(arguments)
    else:
        asyncio.run(with_redis_py(arguments))
