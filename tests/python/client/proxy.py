"""A proxy between a client and a server, which answers for a server that is away."""

import asyncio
import contextlib
from collections.abc import Iterator

import proxy

EXCUSE = b"<html>Service Unavailable</html>"


class Proxy(proxy.Proxy):
    """Passes connections on to a server, unless told to answer for it.

    Attributes:
        refused: requests that it has answered.
    """

    # The status of its own answers while the server is away; None while it is there.
    _status: int | None = None
    _headers = ""
    refused = 0

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def away(self, status: int, headers: str = "") -> Iterator[None]:
        """Lose every connection, and answer requests with this status as long as the block lasts."""
        self._status, self._headers = status, headers
        self.drop()
        try:
            yield
        finally:
            self._status = None

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Answer a request, or pass the connection on."""
        if self._status is None:
            await super().serve(reader, client)
            return
        with self._known(client), contextlib.suppress(OSError):
            await reader.read(65536)
            self.refused += 1
            head = f"HTTP/1.1 {self._status} Excuse\r\n{self._headers}Content-Type: text/html\r\n"
            client.write(f"{head}Content-Length: {len(EXCUSE)}\r\nConnection: close\r\n\r\n".encode() + EXCUSE)
            client.close()
