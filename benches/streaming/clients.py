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
STREAM_REQUEST = b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n%b\r\n"
WINDOW = 500
"""Clients that wait for their answer at a time: more than a server's backlog takes would wait for a second."""
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
            stream.sendall(STREAM_REQUEST % b"")
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

    def storm(self, port: int, count: int, last_event_id: str | None) -> tuple[int, float]:
        """Open `count` streams as fast as the server answers, each with this id.

        Returns how many were answered with 200, and how many seconds it took.
        """
        header = b"" if last_event_id is None else f"Last-Event-ID: {last_event_id}\r\n".encode()
        request = STREAM_REQUEST % header
        begin = time.perf_counter()
        waiting: dict[int, bytes] = {}
        opened = answered = 0
        while answered < count:
            while opened < count and len(waiting) < WINDOW:
                stream = socket.create_connection(("127.0.0.1", port))
                stream.sendall(request)
                self._streams[stream.fileno()] = stream
                self._epoll.register(stream, select.EPOLLIN)
                waiting[stream.fileno()] = b""
                opened += 1
            ready = self._epoll.poll(HEADER_TIMEOUT)
            if not ready:
                break
            for descriptor, _ in ready:
                received = self._streams[descriptor].recv(1 << 16)
                if descriptor not in waiting:
                    continue
                head = waiting[descriptor] + received
                if not received or not head.startswith(b"HTTP/1.1 200 "[: len(head)]):
                    return answered, time.perf_counter() - begin
                waiting[descriptor] = head
                if b"\r\n\r\n" in head:
                    del waiting[descriptor]
                    answered += 1
        return answered, time.perf_counter() - begin

    def receive_times(self, events: int, seconds: float) -> None:
        """Drain until each stream has had so many events, or for `seconds`, and note when each event came.

        `delays` has what comes of it.
        """
        counts = dict.fromkeys(self._streams, 0)
        self._arrivals: list[list[float]] = [[] for _ in range(events)]
        left = events * len(counts)
        deadline = time.perf_counter() + seconds
        while left > 0:
            ready = self._epoll.poll(min(max(deadline - time.perf_counter(), 0), QUIET_TIMEOUT))
            if not ready:
                break
            for descriptor, _ in ready:
                received = self._streams[descriptor].recv_into(self._buffer)
                now = time.perf_counter()
                first = counts[descriptor]
                counts[descriptor] += self._buffer.count(MARK, 0, received)
                for number in range(first, min(counts[descriptor], events)):
                    self._arrivals[number].append(now)
                    left -= 1
            # So that it is not woken for each of thousands of events: their senders would pay for that.
            time.sleep(0.001)

    def delays(self, published: list[float]) -> tuple[int, float, float]:
        """How many events came, and the median and the 99th percentile of the seconds after they were published."""
        pairs = zip(published, self._arrivals, strict=True)
        delays = sorted(arrival - begin for begin, arrivals in pairs for arrival in arrivals)
        return len(delays), delays[len(delays) // 2], delays[math.ceil(0.99 * len(delays)) - 1]

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
    commands = {
        "connect": drain.connect,
        "storm": drain.storm,
        "receive": drain.receive,
        "receive_times": drain.receive_times,
        "delays": drain.delays,
        "close": drain.close,
    }
    obey(control, commands)


def run_prober(control: Connection) -> None:
    """The process that asks for `/health`."""
    obey(control, {"health": percentile_of_health})
