"""Real servers: uvicorn in a thread, or in a process of its own."""

import asyncio
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop
from core.support import DEADLINE, wait_until
from fastapi import FastAPI, Request, Response
from genglossary_runs import RunManager
from genglossary_runs.sse import drain_on_shutdown, run_stream, stats

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}
PROTOCOLS = ("h11", "httptools")

SMALL = 16 << 10
"""For the buffers of sockets, so that a client that does not read is soon noticed."""

ASGIApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


def make_app(manager: RunManager, **options: Any) -> FastAPI:
    """An application with a stream for each run; `options` are those of `run_stream`."""
    app = FastAPI()

    @app.get("/runs/{run_id}/events")
    async def stream_run(run_id: int, request: Request) -> Response:
        return run_stream(manager, run_id, request, **options)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def listen(send_buffer: int | None) -> socket.socket:
    """A socket on a port that the system chooses."""
    # With any other protocol number asyncio does not set TCP_NODELAY, and every other answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


def unsent_bytes(server: uvicorn.Server) -> list[int]:
    """For each connection how many bytes the server holds for its client; 1 for one that was handed over and stalls."""
    handed_over = [1] * stats()["stalled"]
    return handed_over + [connection.transport.get_write_buffer_size() for connection in connections_of(server)]


def connections_of(server: uvicorn.Server) -> list[Any]:
    """The server's own connections."""
    return [connection for connection in server.server_state.connections if hasattr(connection, "transport")]


class Complaints(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))

    def __enter__(self) -> "Complaints":
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger().removeHandler(self)


class Site:
    """An application under uvicorn, in a thread. Nobody may complain while it serves, nor may it be left with work.

    Args:
        app: what is served.
        loop: a key of `LOOPS`.
        http: one of `PROTOCOLS`.
        send_buffer: bytes that the system takes for each connection, about.
        tls: what makes connections secure.
        limit_concurrency: as for uvicorn.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        loop: str = "asyncio",
        http: str = "httptools",
        send_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
        limit_concurrency: int | None = None,
    ) -> None:
        self._listener = listen(send_buffer)
        self.port = self._listener.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=DEADLINE)
        config = uvicorn.Config(app, http=http, log_config=None, access_log=False, limit_concurrency=limit_concurrency)
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._runner = asyncio.Runner(loop_factory=LOOPS[loop])
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._complaints = Complaints()

    def _serve(self) -> None:
        with self._runner:
            self._runner.run(self._server.serve(sockets=[self._listener]))

    def __enter__(self) -> "Site":
        self._complaints.__enter__()
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End its streams as a shutdown does, then the server. May be repeated."""
        if self._thread.is_alive():
            self.client.close()
            self._server.should_exit = True
            self._thread.join(DEADLINE)
            assert not self._thread.is_alive(), "the server did not stop"
            self._complaints.__exit__()
            assert self.complaints == []

    def begin_to_stop(self) -> None:
        """Tell the server to stop, and return when it has told its connections."""
        self._server.should_exit = True
        wait_until(lambda: not any(listener.is_serving() for listener in self._server.servers))

    def call(self, function: Callable[[], Any]) -> Any:
        """What `function` returns when it is called on the server's loop."""
        outcome: Future[Any] = Future()

        def call() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:
                outcome.set_exception(error)

        self._runner.get_loop().call_soon_threadsafe(call)
        return outcome.result(DEADLINE)

    @property
    def complaints(self) -> list[str]:
        """What has been logged as a warning or worse. A test may take from it what it expects."""
        return self._complaints.messages

    def settle(self) -> None:
        """Let the loop do what it has been woken for, such as send what has been published."""
        for _ in range(2):  # the first may come before that
            self.call(lambda: None)

    @property
    def connections(self) -> int:
        """How many connections are open, and streams in the process that have been handed over."""
        return len(connections_of(self._server)) + stats()["handed_over"]

    @property
    def unsent(self) -> list[int]:
        """As `unsent_bytes`."""

        sizes: list[int] = self.call(lambda: unsent_bytes(self._server))
        return sizes

    @property
    def tasks(self) -> int:
        """How many tasks its loop has."""
        number: int = self.call(lambda: len(asyncio.all_tasks()))
        return number


class Process:
    """A server in a process of its own, told to stop by signals, as in production.

    It serves streams of the runs 1 and 2, which are open, from their beginning.

    Args:
        loop, http, send_buffer: as for `Site`.
        handoff: hand streams over.
        lifespan: drain streams on shutdown.
    """

    def __init__(
        self,
        loop: str = "asyncio",
        http: str = "httptools",
        send_buffer: int | None = None,
        *,
        handoff: bool = True,
        lifespan: bool = True,
    ) -> None:
        options = [loop, http, str(send_buffer or ""), str(int(handoff)), str(int(lifespan))]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "streams.servers", *options],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline()
        assert port, self._process.communicate()[1]
        self.port = int(port)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=DEADLINE)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()
        self._process.kill()
        self._process.communicate()

    def publish(self, count: int, size: int = 0, run_id: int = 1) -> None:
        """Publish numbered log messages."""
        self.client.post(f"/runs/{run_id}/events", params={"count": count, "size": size}).raise_for_status()

    @property
    def unsent(self) -> list[int]:
        """As `unsent_bytes`."""
        sizes: list[int] = self.client.get("/unsent").json()
        return sizes

    def send_signal(self, signum: int) -> None:
        """Tell it something."""
        self._process.send_signal(signum)

    def wait(self) -> tuple[int, str]:
        """Wait for its end; its exit code and what it complained of."""
        _, errors = self._process.communicate(timeout=DEADLINE)
        return self._process.returncode, errors


def serve(loop: str, http: str, send_buffer: int | None, handoff: bool, lifespan: bool) -> None:
    """Serve until told to stop. The port is printed."""
    manager = RunManager()
    manager.open_run(1)
    manager.open_run(2)

    @asynccontextmanager
    async def draining(app: FastAPI) -> AsyncIterator[None]:
        with drain_on_shutdown():
            yield

    app = make_app(manager, replay=True, handoff=handoff)
    if lifespan:
        app.router.lifespan_context = draining

    @app.post("/runs/{run_id}/events")
    def publish(run_id: int, count: int, size: int) -> None:
        for n in range(count):
            manager.publish(run_id, {"message": "x" * size, "n": n})

    @app.get("/unsent")
    async def unsent() -> list[int]:
        return unsent_bytes(server)

    listener = listen(send_buffer)
    server = uvicorn.Server(uvicorn.Config(app, loop=loop, http=http, log_level="warning", access_log=False))
    print(listener.getsockname()[1], flush=True)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


if __name__ == "__main__":
    send_buffer, handoff, lifespan = (int(argument) if argument else None for argument in sys.argv[3:])
    serve(sys.argv[1], sys.argv[2], send_buffer, bool(handoff), bool(lifespan))
