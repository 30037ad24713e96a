"""The client processes: one drains any number of streams, one asks for `/health`. Neither parses what it gets."""

import contextlib
import math
import select
import socket
import time
from multiprocessing.connection import Connection

from measure import MARK

from streaming.child import obey

HEALTH_BODY = b'{"status":"ok"}'
HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
STREAM_REQUEST = b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
HEADER_TIMEOUT = 10.0
BUFFER_BYTES = 1 << 20
QUIET_TIMEOUT = 3.0
"""Seconds without a byte after which no more is expected."""


class Drain:
    """Reads streams as fast as one thread can, and counts their events by the byte that marks each."""

    def __init__(self) -> None:
        self._streams: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)

    def connect(self, port: int, count: int) -> int:
        """Open `count` streams; returns how many were answered with 200 before the timeout."""
        streams = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for stream in streams:
            stream.sendall(STREAM_REQUEST)
            self._streams[stream.fileno()] = stream
            self._epoll.register(stream, select.EPOLLIN)
        deadline = time.perf_counter() + HEADER_TIMEOUT
        return sum(self._has_answered(stream, deadline) for stream in streams)

    @staticmethod
    def _has_answered(stream: socket.socket, deadline: float) -> bool:
        answer = b""
        try:
            while b"\r\n\r\n" not in answer:
                stream.settimeout(max(deadline - time.perf_counter(), 0.001))
                received = stream.recv(4096)
                if not received:
                    return False
                answer += received
        except TimeoutError:
            return False
        return answer.startswith(b"HTTP/1.1 200 ")

    def receive(self, expected: int, seconds: float) -> tuple[int, float, float]:
        """Drain until `expected` events have come over all streams, or for `seconds`.

        Returns how many came, when the last did (on `time.perf_counter`, which every process shares), and the share
        of this process's time that was spent computing.
        """
        poll, streams, buffer = self._epoll.poll, self._streams, self._buffer
        events = 0
        started = last = time.perf_counter()
        deadline = started + seconds
        computed = time.process_time()
        while events < expected:
            ready = poll(min(max(deadline - time.perf_counter(), 0), QUIET_TIMEOUT))
            if not ready:
                break
            for descriptor, _ in ready:
                received = streams[descriptor].recv_into(buffer)
                if received == 0:
                    raise ConnectionError("the server closed a stream")
                events += buffer.count(MARK, 0, received)
            last = time.perf_counter()
        computed = time.process_time() - computed
        return events, last, computed / (last - started or 1)

    def close(self) -> None:
        """Close the streams."""
        for stream in self._streams.values():
            self._epoll.unregister(stream)
            stream.close()
        self._streams.clear()


def percentile_of_health(port: int, requests: int, interval: float) -> float:
    """The 99th percentile, in seconds, of requests for `/health` that fall due every `interval` seconds.

    A request's time begins when it falls due: a server that stands still is late for all that do meanwhile.
    """
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _ask_health(connection)
        times = []
        start = time.perf_counter()
        for number in range(requests):
            begin = start + number * interval
            if (early := begin - time.perf_counter()) > 0:
                time.sleep(early)
                # Waking late is this process's own delay; being late because the last answer was is the server's.
                begin = time.perf_counter()
            _ask_health(connection)
            times.append(time.perf_counter() - begin)
        return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def _ask_health(connection: socket.socket) -> None:
    connection.sendall(HEALTH_REQUEST)
    answer = b""
    while not answer.endswith(HEALTH_BODY):
        received = connection.recv(4096)
        if not received:
            raise ConnectionError("the server closed the connection of /health")
        answer += received


def run_drain(control: Connection) -> None:
    """The process that drains streams."""
    drain = Drain()
    obey(control, {"connect": drain.connect, "receive": drain.receive, "close": drain.close})


def run_prober(control: Connection) -> None:
    """The process that asks for `/health`."""
    obey(control, {"health": percentile_of_health})
