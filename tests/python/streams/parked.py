"""Tasks that wait for what comes next, in each way to await it."""

import asyncio
from collections.abc import Callable
from typing import Any

from genglossary_runs import Subscription

Read = Callable[[Subscription], Any]

WAYS: dict[str, Read] = {
    "aget": lambda reader: reader.aget(),
    "async for": lambda reader: anext(aiter(reader)),
    "frames": lambda reader: anext(aiter(reader.frames(None))),
}


async def park(read: Read, reader: Subscription) -> "asyncio.Task[Any]":
    """A task that waits for what comes next."""

    async def wait() -> Any:
        return await read(reader)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def read_to_end(reader: Subscription) -> list[dict[str, Any]]:
    return [event async for event in reader]
