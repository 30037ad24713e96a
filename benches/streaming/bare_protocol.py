"""The limit: an asyncio protocol that writes each frame, made once, to every connection, and can do nothing else."""

import asyncio
import json
import socket
from typing import Any, cast

from streaming.server import Transport

STREAM_HEADER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEALTH_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"status":"ok"}'


class Connection(asyncio.Protocol):
    """Answers a request that comes in one piece, as those of the benchmark do."""

    transport: asyncio.Transport

    def __init__(self, streams: set[asyncio.Transport]) -> None:
        self._streams = streams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /stream "):
            self.transport.write(STREAM_HEADER)
            self._streams.add(self.transport)
        else:
            self.transport.write(HEALTH_ANSWER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.discard(self.transport)


class BareProtocol(Transport):
    """No HTTP server, no framework."""

    def __init__(self) -> None:
        self._streams: set[asyncio.Transport] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published = 0

    async def serve(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(lambda: Connection(self._streams), sock=listener, backlog=20_000)
        await server.serve_forever()

    def publish(self, message: dict[str, Any]) -> None:
        self._published += 1
        frame = f"id: 1-{self._published}\ndata: {json.dumps(message, ensure_ascii=False)}\n\n".encode()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._write, b"%x\r\n%b\r\n" % (len(frame), frame))

    def _write(self, chunk: bytes) -> None:
        for stream in self._streams:
            stream.write(chunk)

    def subscribers(self) -> int:
        return len(self._streams)


create = BareProtocol
