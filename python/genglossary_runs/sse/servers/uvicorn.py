"""uvicorn's HTTP/1.1, with httptools and with h11; also under gunicorn, whose worker it is."""

import asyncio
import sys
from typing import Any

from .connection import Connection, Tap
from .coroutines import awaited
from .stop import Stop

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

    def announce(self, stop: Stop) -> bool:
        module: Any = sys.modules.get("uvicorn.server")
        if module is None:
            return False
        for task in asyncio.all_tasks():
            coroutines = [each for each in awaited(task.get_coro()) if each.cr_code.co_filename == module.__file__]
            server = coroutines[0].cr_frame.f_locals.get("self") if coroutines else None
            if getattr(server, "server_state", None) is self.server:
                if any(each.cr_code is module.Server.shutdown.__code__ for each in coroutines):
                    stop.begin()
                else:
                    _begin_before_shutdown(server, stop)
                return True
        return False


def _begin_before_shutdown(server: Any, stop: Stop) -> None:
    shutdown = server.shutdown

    async def drain_and_shutdown(*args: Any, **kwargs: Any) -> None:
        # uvicorn tells its connections once, so streams that are to come would not hear of it.
        stop.begin()
        await shutdown(*args, **kwargs)
        await stop.drained()

    server.shutdown = drain_and_shutdown
