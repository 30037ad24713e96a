"""uvicorn's HTTP/1.1, with httptools and with h11; also under gunicorn, whose worker it is."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from ..._core import StreamGroup
from .connection import Connection, Tap

MODULES = ("uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.http.h11_impl")


def connect(coroutine: Any) -> Connection | None:
    """The connection of a request, if this is a coroutine of what uvicorn has made for it."""
    code = coroutine.cr_code
    for name in MODULES:
        module = sys.modules.get(name)
        cycle_class = getattr(module, "RequestResponseCycle", None)
        if cycle_class is None or code.co_filename != module.__file__:  # type: ignore[union-attr]
            continue
        cycle = coroutine.cr_frame.f_locals.get("self")
        if type(cycle) is cycle_class:
            # A transport that was closed has no protocol: the client has gone.
            protocol = cycle.transport.get_protocol()
            return None if protocol is None else UvicornConnection(cycle, protocol)
    return None


class UvicornConnection(Connection):
    """The connection of a request that uvicorn answers.

    Args:
        cycle: its request and response.
        protocol: that of its transport.
    """

    def __init__(self, cycle: Any, protocol: Any) -> None:
        self._cycle = cycle
        self.transport = cycle.transport
        self._protocol = protocol
        self.server = protocol.server_state

    def obstacle(self) -> str | None:
        cycle = self._cycle
        if cycle.scope["http_version"] != "1.1":
            return f"its client speaks HTTP/{cycle.scope['http_version']}"
        if cycle.more_body or cycle.waiting_for_100_continue:
            return "its request has not been read to the end"
        if self._protocol.cycle is not cycle:
            # The server would tell that one of the lost connection.
            return "another request waits for it"
        return self.socket_obstacle()

    def tap(self, expected: bytes) -> Tap:
        def close() -> None:
            self._cycle.transport = self.transport

        tap = Tap(self.transport, expected, close)
        self._cycle.transport = tap
        return tap

    async def forget(self) -> None:
        # As the protocol's `connection_lost` does, a turn of the loop later. If each response waited for that, those of
        # a storm of clients would all be open together, for the garbage collector to visit again and again.
        self._cycle.disconnected = True

    def on_stop(self, call: Callable[[], None]) -> Callable[[], None]:
        protocol = self._protocol

        def shutdown() -> None:
            type(protocol).shutdown(protocol)
            call()

        def undo() -> None:
            del protocol.shutdown

        protocol.shutdown = shutdown
        return undo

    def drain_on_stop(self, group: StreamGroup, grace: float) -> None:
        connections = self._protocol.connections
        connections.add(HandedOver(connections, group, grace))


class HandedOver:
    """Stands among the connections of a server for those that it has handed over, and is told when it stops.

    It holds the server up for as long as they take to drain.
    """

    def __init__(self, connections: set[Any], group: StreamGroup, grace: float) -> None:
        self._connections = connections
        self._group = group
        self._grace = grace

    def shutdown(self) -> None:
        """Drain them; uvicorn calls this when it stops."""
        self._group.drain(self._grace)
        loop = asyncio.get_running_loop()
        self._leave_when_drained(loop, loop.time() + 2 * self._grace)

    def _leave_when_drained(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        if self._group.open and loop.time() < latest:
            loop.call_later(0.005, self._leave_when_drained, loop, latest)
        else:
            self._connections.discard(self)
