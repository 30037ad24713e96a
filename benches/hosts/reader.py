"""A host whose event loop makes server-sent events for clients, started by `delivery.py` with a JSON object.

Each client gets what is published to one run. It says "ready" when every client waits, and prints what it measured when
all have received everything.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

AT = re.compile(rb'"at": ?([0-9.]+)')


class Received:
    """What all clients received, and what that took."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.delays: list[float] = []
        self.done = asyncio.Event()
        self.gaps = 0

    def start(self) -> None:
        print("ready", flush=True)
        self._loop, self._process = time.thread_time(), time.process_time()

    def take(self, frames: bytes) -> None:
        now = time.time()
        self.gaps += frames.count(b"event: gap")
        self.delays.extend(now - float(at) for at in AT.findall(frames))
        if len(self.delays) >= self.expected:
            self.done.set()

    def report(self) -> None:
        loop = time.thread_time() - self._loop
        engine = time.process_time() - self._process - loop
        assert self.gaps == 0
        delays = sorted(1000 * delay for delay in self.delays)
        print(json.dumps({"received": len(delays), "loop": loop, "engine": engine, "delays": delays}), flush=True)


async def read_all(clients: "list[AsyncIterator[bytes]]", received: Received) -> None:
    async def read(client: AsyncIterator[bytes]) -> None:
        async for frames in client:
            received.take(frames)

    tasks = [asyncio.ensure_future(read(client)) for client in clients]
    # So that each of them waits.
    await asyncio.sleep(1)
    received.start()
    await received.done.wait()
    received.report()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def with_store(task: dict[str, Any]) -> None:
    from genglossary_runs import RedisStore, RunManager, SqliteStore

    store = RedisStore(task["url"]) if task["url"].startswith("redis:") else SqliteStore(task["url"])
    manager = RunManager(store=store, history=100_000, history_bytes=1 << 30)
    runs = [run + 1 for run in range(task["runs"]) for _ in range(task["clients"])]
    subscriptions = [await manager.asubscribe(run, "0", must_exist=True) for run in runs]
    await read_all([subscription.frames() for subscription in subscriptions], Received(task["expected"]))


async def with_redis_py(task: dict[str, Any]) -> None:
    from redis.asyncio import Redis

    redis = Redis.from_url(task["url"])

    async def client(stream: str) -> AsyncIterator[bytes]:
        last: bytes | str = "0"
        while True:
            for _, entries in await redis.xread({stream: last}, count=1000, block=60_000):
                for last, fields in entries:
                    yield b"id: %b\ndata: %b\n\n" % (last, fields[b"json"])

    streams = [f"stream:{run + 1}" for run in range(task["runs"]) for _ in range(task["clients"])]
    await read_all([client(stream) for stream in streams], Received(task["expected"]))
    await redis.aclose()


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    asyncio.run(with_store(arguments) if arguments["kind"] == "store" else with_redis_py(arguments))
