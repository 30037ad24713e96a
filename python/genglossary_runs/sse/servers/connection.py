"""What an adapter tells of a connection, and the tap that shows what reaches it."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .stop import Stop


class Connection(ABC):
    """The connection of one response.

    Attributes:
        transport: the loop's transport; None where it carries other responses, too.
        server: what stands for the server, and lives as long.
    """

    transport: Any
    server: object

    @abstractmethod
    def obstacle(self) -> str | None:
        """Why the response cannot leave its server; None if it can."""

    @abstractmethod
    def tap(self, expected: bytes) -> "Tap":
        """Watch what is written to the connection, until `Tap.close`."""

    @abstractmethod
    async def forget(self) -> None:
        """Return once the server takes the client for gone, after `transport` was aborted.

        It complains of a response that ends before.
        """

    @abstractmethod
    def announce(self, stop: Stop) -> bool:
        """Have `stop.begin` called when the server stops, for whatever reason: at once if it is stopping.

        To be called once for each server.

        Returns:
            Whether it will be; False if the server is not as expected.
        """

    def socket_obstacle(self) -> str | None:
        """What stands against handing over the socket itself."""
        if self.transport.get_extra_info("sslcontext") is not None:
            return "the server speaks TLS"
        if self.transport.get_extra_info("socket") is None:
            return "its connection has no socket"
        if self.transport.is_closing():
            return "its client has left"
        return None


class Tap:
    """A writer that shows whether a body begins, on the connection, with one chunk as it was sent.

    It holds the head back until the body begins, so that both go out with one system call.

    Args:
        writer: what it stands in for; everything is passed on to it.
        expected: the first chunk of the body.
        close: what puts the writer back.
    """

    def __init__(self, writer: Any, expected: bytes, close: Callable[[], None]) -> None:
        self._writer = writer
        self._expected = b"%x\r\n%b\r\n" % (len(expected), expected)
        self._held = b""
        self._unchanged: bool | None = None
        self._seen = asyncio.Event()
        self._put_back = close

    def write(self, data: bytes) -> None:
        """Look at what is written, and write it or hold it back."""
        if self._unchanged is not None:
            self._writer.write(data)
            return
        self._held += bytes(data)
        head, end, body = self._held.partition(b"\r\n\r\n")
        if end and (body == self._expected or not self._expected.startswith(body)):
            self._unchanged = body == self._expected and b"\r\ntransfer-encoding: chunked" in head.lower()
            self._seen.set()
            self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._writer.write(held)

    def close(self) -> None:
        """Put the writer back. May be repeated."""
        self._put_back()
        self._flush()

    async def is_unchanged(self, timeout: float) -> bool | None:
        """Whether the body began as expected; None if nothing of it has reached the connection in time."""
        if self._unchanged is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._seen.wait(), timeout)
        return self._unchanged

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)
