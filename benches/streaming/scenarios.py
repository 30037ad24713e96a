"""What is measured over HTTP: one server process a transport, one process of clients, one that asks for `/health`."""

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from streaming.child import Child
from streaming.clients import run_drain, run_prober
from streaming.nchan import Nchan
from streaming.server import run_server

SETTLE_TIMEOUT = 15.0
"""Seconds that a server has to notice all of its clients, or that they are gone."""
DELIVERY_TIMEOUT = 30.0
"""Seconds after which what has not been delivered counts as lost."""
UNKNOWN = -1
"""What a server says that does not count subscribers."""
BURSTS_SECONDS = 1.0
HEALTH_INTERVAL = 0.004


class NotServed(Exception):
    """A server did not answer all of its clients in time."""


@dataclass(frozen=True)
class Storm:
    """What many clients cost that connect at once.

    Attributes:
        seconds: until all were answered.
        cpu: seconds of the server for each.
        memory: bytes of the server for each, that stay while it is idle.
    """

    seconds: float
    cpu: float
    memory: float


class Streams:
    """The processes, and one method for each thing that is measured. Clients are new for each measurement."""

    def __init__(self, transports: dict[str, str | Nchan], loop: str) -> None:
        """Start a server for each transport, named by its module in this package; or take one that serves already."""
        self._servers: dict[str, Child | Nchan] = {
            name: transport if isinstance(transport, Nchan) else Child(run_server, transport, loop)
            for name, transport in transports.items()
        }
        self._ports = {name: server.ask("port") for name, server in self._servers.items()}
        self._drain = Child(run_drain)
        self._prober = Child(run_prober)
        self.client_load = 0.0
        """The largest share of a burst that the client process had to compute for."""

    def stop(self) -> None:
        """End every process."""
        for child in [*self._servers.values(), self._drain, self._prober]:
            child.stop()

    @contextlib.contextmanager
    def _connected(self, name: str, clients: int) -> Iterator[Child | Nchan]:
        server = self._servers[name]
        # Those of the measurement before, if the server has not noticed yet that they are gone.
        _settle(server, 0)
        try:
            answered = self._drain.ask("connect", self._ports[name], clients)
            if answered < clients:
                raise NotServed(f"{answered} of {clients} clients were answered")
            _settle(server, clients)
            yield server
        finally:
            self._drain.ask("close")

    def burst(self, name: str, clients: int, events: int) -> float:
        """Delivered events a second, each burst timed from its first publish to the last byte that counts.

        The median of as many bursts as fit into a second: one alone may last no longer than a scheduler's whim.
        """
        rates: list[float] = []
        with self._connected(name, clients) as server:
            until = time.monotonic() + BURSTS_SECONDS
            while not rates or time.monotonic() < until:
                self._drain.tell("receive", clients * events, DELIVERY_TIMEOUT)
                began = server.ask("publish", events, None)[0]
                delivered, last, load = self._drain.answer()
                if delivered < clients * events:
                    raise NotServed(f"{delivered} of {clients * events} events were delivered")
                rates.append(delivered / (last - began))
                self.client_load = max(self.client_load, load)
        return statistics.median(rates)

    def cpu(self, name: str, clients: int, events: int, rate: float) -> float:
        """CPU seconds, of the user and the system, that the server spends on a delivered event at a steady rate."""
        with self._connected(name, clients) as server:
            self._drain.tell("receive", clients * events, DELIVERY_TIMEOUT)
            before = server.ask("cpu")
            server.ask("publish", events, rate)
            delivered, _, _ = self._drain.answer()
            after = server.ask("cpu")
        return float((after - before) / delivered)

    def storm(self, name: str, clients: int, last_event_id: str | None = None) -> Storm:
        """Connect as many clients as fast as they are answered, and see what that costs the server."""
        server = self._servers[name]
        _settle(server, 0)
        memory, cpu = server.ask("memory"), server.ask("cpu")
        try:
            answered, seconds = self._drain.ask("storm", self._ports[name], clients, last_event_id)
            if answered < clients:
                raise NotServed(f"{answered} of {clients} clients were answered")
            _settle(server, clients)
            # What is freed a moment later is none of a connection's.
            time.sleep(0.5)
            return Storm(seconds, (server.ask("cpu") - cpu) / clients, (server.ask("memory") - memory) / clients)
        finally:
            self._drain.ask("close")

    def delays(self, name: str, clients: int, events: int, rate: float) -> tuple[float, float]:
        """The median and the 99th percentile of the seconds from publishing an event to a client that has it."""
        server = self._servers[name]
        _settle(server, 0)
        try:
            answered, _ = self._drain.ask("storm", self._ports[name], clients, None)
            if answered < clients:
                raise NotServed(f"{answered} of {clients} clients were answered")
            _settle(server, clients)
            self._drain.tell("receive_times", events, DELIVERY_TIMEOUT + events / rate)
            published = server.ask("publish", events, rate)
            self._drain.answer()
            delivered, median, percentile = self._drain.ask("delays", published)
            if delivered < clients * events:
                raise NotServed(f"{delivered} of {clients * events} events were delivered")
            return median, percentile
        finally:
            self._drain.ask("close")

    def delivered_share(self, name: str, clients: int, events: int, rate: float) -> float:
        """The share of what is offered at a rate that reaches the clients."""
        with self._connected(name, clients) as server:
            self._drain.tell("receive", clients * events, DELIVERY_TIMEOUT)
            server.ask("publish", events, rate)
            delivered, _, _ = self._drain.answer()
        return float(delivered / (clients * events))

    def idle_health(self, name: str, clients: int, requests: int) -> float:
        """The 99th percentile of `/health`, in seconds, beside streams in which nothing happens."""
        with self._connected(name, clients):
            return self._health(name, requests)

    def loaded_health(self, name: str, clients: int, rate: float, requests: int) -> float:
        """The same beside streams that get events at a rate."""
        events = int(requests * HEALTH_INTERVAL * rate)
        with self._connected(name, clients) as server:
            self._drain.tell("receive", clients * events, DELIVERY_TIMEOUT)
            server.tell("publish", events, rate)
            percentile = self._health(name, requests)
            server.answer()
            self._drain.answer()
        return percentile

    def _health(self, name: str, requests: int) -> float:
        return float(self._prober.ask("health", self._ports[name], requests, HEALTH_INTERVAL))


def _settle(server: Child | Nchan, subscribers: int) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT
    if server.ask("subscribers") == UNKNOWN:
        return
    while (found := server.ask("subscribers")) != subscribers:
        if time.monotonic() > deadline:
            raise NotServed(f"the server has {found} subscribers instead of {subscribers}")
        time.sleep(0.01)
