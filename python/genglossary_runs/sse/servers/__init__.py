"""Find the connection of a response, which ASGI does not expose. One file per server.

A connection is found by the classes of its server. The server's own coroutine is either at the bottom of the task that
answers the request, or, where a middleware has put tasks of its own in between, at the end of what `receive` waits for.
Closures are not searched. If no server is recognised, plain ASGI serves all streams.
"""

import asyncio
from typing import Any

from . import hypercorn, uvicorn
from .connection import Connection, Tap
from .coroutines import awaited
from .stop import DRAIN_GRACE, Drains, Stop

__all__ = ["DRAIN_GRACE", "Connection", "Drains", "Stop", "Tap", "find", "find_through"]

ADAPTERS = (uvicorn.connect, hypercorn.connect)

# How many turns of its loop a middleware may take to pass the first call of `receive` on to the server.
TURNS = 30


def find() -> Connection | None:
    """The connection whose server runs this task, if it is a known one."""
    task = asyncio.current_task()
    return _connection_in(task) if task is not None else None


async def find_through(receiving: asyncio.Task[Any]) -> Connection | None:
    """The connection to whose server `receiving` leads, a task that calls `receive`."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if receiving.done():
            break
        connection = _connection_in(receiving)
        if connection is not None:
            return connection
    return None


def _connection_in(task: asyncio.Task[Any]) -> Connection | None:
    for coroutine in awaited(task.get_coro()):
        for connect in ADAPTERS:
            connection = connect(coroutine)
            if connection is not None:
                return connection
    return None
