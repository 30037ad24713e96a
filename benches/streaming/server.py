"""The server process: one transport on a port of its own, and a thread that publishes as a run's thread does."""

import asyncio
import importlib
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from measure import log_message

from streaming.child import obey

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Transport(ABC):
    """One way to bring what a thread publishes to the clients of `/stream`; it answers `/health`, too."""

    @abstractmethod
    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled."""

    @abstractmethod
    def publish(self, message: dict[str, Any]) -> None:
        """Publish from a thread that is not the loop's."""

    @abstractmethod
    def subscribers(self) -> int:
        """How many clients would get what is published now."""


class UvicornTransport(Transport):
    """A FastAPI application under uvicorn."""

    stream: Callable[..., Any]
    """The route of a subclass."""

    def __init__(self, **route_options: Any) -> None:
        self.app = FastAPI()
        self.app.add_api_route("/health", health)
        self.app.add_api_route("/stream", self.stream, **route_options)

    async def serve(self, listener: socket.socket) -> None:
        config = uvicorn.Config(
            self.app,
            http="httptools",
            log_level="warning",
            access_log=False,
            lifespan="off",
            backlog=20_000,
            # Connections that have had an empty response are kept as long as streams are.
            timeout_keep_alive=600,
        )
        await uvicorn.Server(config).serve(sockets=[listener])


async def health() -> dict[str, str]:
    """What a page or a load balancer asks now and then."""
    return {"status": "ok"}


def resident_memory() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_server(control: Connection, module: str, loop: str) -> None:
    """The process: serve `streaming.<module>`, and obey `control`."""
    transport: Transport = importlib.import_module(f"streaming.{module}").create()
    # asyncio turns Nagle's algorithm off only for sockets that are said to be TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(20_000)

    def publish(count: int, rate: float | None) -> list[float]:
        """Publish `count` events, `rate` a second or as fast as it goes; returns when it did, each time."""
        message = log_message()
        begin = time.perf_counter()
        times = []
        published = 0
        while published < count:
            times.append(time.perf_counter())
            due = count if rate is None else min(count, int((time.perf_counter() - begin) * rate) + 1)
            for _ in range(due - published):
                transport.publish(message)
            published = due
            if rate is not None:
                time.sleep(max(begin + published / rate - time.perf_counter(), 0.0005))
        return times

    def obey_control() -> None:
        commands: dict[str, Callable[..., Any]] = {
            "port": lambda: listener.getsockname()[1],
            "publish": publish,
            "subscribers": transport.subscribers,
            "cpu": time.process_time,
            "memory": resident_memory,
        }
        obey(control, commands)
        # A transport that blocks its loop could not be asked to end.
        os._exit(0)

    threading.Thread(target=obey_control, daemon=True).start()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(transport.serve(listener))
