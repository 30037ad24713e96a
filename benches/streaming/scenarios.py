"""What is measured over HTTP: one server process a transport, one process of clients, one that asks for `/health`."""

import contextlib
import statistics
import time
from collections.abc import Iterator

from streaming.child import Child
from streaming.clients import run_drain, run_prober
from streaming.server import run_server

SETTLE_TIMEOUT = 15.0
"""Seconds that a server has to notice all of its clients, or that they are gone."""
DELIVERY_TIMEOUT = 30.0
"""Seconds after which what has not been delivered counts as lost."""
BURSTS_SECONDS = 1.0
HEALTH_INTERVAL = 0.004


class NotServed(Exception):
    """A server did not answer all of its clients in time."""


class Streams:
    """The processes, and one method for each thing that is measured. Clients are new for each measurement."""

    def __init__(self, transports: dict[str, str], loop: str) -> None:
        """Start a server for each transport, named by its module in this package."""
        self._servers = {name: Child(run_server, module, loop) for name, module in transports.items()}
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
    def _connected(self, name: str, clients: int) -> Iterator[Child]:
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
                began = server.ask("publish", events, None)
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


def _settle(server: Child, subscribers: int) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while (found := server.ask("subscribers")) != subscribers:
        if time.monotonic() > deadline:
            raise NotServed(f"the server has {found} subscribers instead of {subscribers}")
        time.sleep(0.01)
