"""The least that the system asks for: one `send` for each client in a loop, and nothing else."""

import asyncio
import json
import select
import socket
import threading
from typing import Any

from streaming.bare_protocol import HEALTH_ANSWER, STREAM_HEADER
from streaming.server import Transport


class SendLoop(Transport):
    """A thread that answers, and one that sends what is published."""

    def __init__(self) -> None:
        self._streams: list[socket.socket] = []
        self._published = 0

    async def serve(self, listener: socket.socket) -> None:
        threading.Thread(target=self._answer, args=(listener,), daemon=True).start()
        await asyncio.Event().wait()

    def _answer(self, listener: socket.socket) -> None:
        epoll = select.epoll()
        epoll.register(listener, select.EPOLLIN)
        connections: dict[int, socket.socket] = {}
        while True:
            for descriptor, _ in epoll.poll():
                if descriptor == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[connection.fileno()] = connection
                    epoll.register(connection, select.EPOLLIN)
                    continue
                connection = connections[descriptor]
                request = connection.recv(4096)
                if not request:
                    epoll.unregister(connection)
                    del connections[descriptor]
                    if connection in self._streams:
                        self._streams = [stream for stream in self._streams if stream is not connection]
                    connection.close()
                elif request.startswith(b"GET /stream "):
                    connection.sendall(STREAM_HEADER)
                    self._streams.append(connection)
                else:
                    connection.sendall(HEALTH_ANSWER)

    def publish(self, message: dict[str, Any]) -> None:
        self._published += 1
        frame = f"id: 1-{self._published}\ndata: {json.dumps(message, ensure_ascii=False)}\n\n".encode()
        chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
        for stream in self._streams:
            stream.send(chunk)

    def subscribers(self) -> int:
        return len(self._streams)


create = SendLoop
