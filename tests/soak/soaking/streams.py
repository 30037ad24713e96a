"""Streams over uvicorn on this machine, with clients that join, read, leave and stall."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import uvicorn
from genglossary_runs import RunManager, UnknownRunError
from genglossary_runs.sse import drain, run_stream, stats
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from soaking.account import DEADLINE, Account, WrongError
from soaking.readings import wait_until
from soaking.wire import Frames

EVENTS = 120
EVENT_BYTES = 4096
CLIENTS_OF_A_KIND = 8
SHORT_TIMEOUT = 0.2
"""Seconds within which a stalled client is dropped."""
SMALL = 4096
"""For the buffers of sockets, so that a client that does not read is soon noticed. The system takes more."""


class Server:
    """uvicorn in a thread, with a stream for each run of the manager."""

    def __init__(self, manager: RunManager) -> None:
        async def stream(request: Request) -> Response:
            run_id, timeout = request.path_params["run_id"], float(request.query_params["timeout"])
            options = {"heartbeat": 0.05, "send_timeout": timeout, "handoff": "plain" not in request.query_params}
            try:
                return run_stream(manager, run_id, request, must_exist=True, **options)
            except UnknownRunError:
                return Response(status_code=404)

        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.port: int = self._listener.getsockname()[1]
        app = Starlette(routes=[Route("/runs/{run_id:int}/events", stream)])
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)

    def _serve(self) -> None:
        with self._runner:
            self._runner.run(self._server.serve(sockets=[self._listener]))

    def __enter__(self) -> "Server":
        self._thread.start()
        wait_until(lambda: self._server.started, "the start of the server")
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.get_loop().call_soon_threadsafe(drain)
        self._server.should_exit = True
        self._thread.join(DEADLINE)

    @property
    def is_idle(self) -> bool:
        """Whether it has no connection and no work, and has handed over none that is open."""
        state = self._server.server_state
        # All that have been handed over have one stand-in there, which has no transport.
        connections = [one for one in list(state.connections) if hasattr(one, "transport")]
        return not connections and not state.tasks and not stats()["handed_over"]

    def serves(self, address: tuple[str, int]) -> bool:
        """Whether the connection of this client is open."""
        return any(getattr(one, "client", None) == address for one in list(self._server.server_state.connections))


def wave(manager: RunManager, server: Server, run_ids: Iterator[int], seed: str) -> list[Account]:
    """Execute a run that is too much for slow clients, with clients of every kind, and wait for all of them."""
    run_id = next(run_ids)
    manager.open_run(run_id)
    publisher = threading.Thread(target=_execute, args=(manager, run_id))
    publisher.start()
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        accounts = runner.run(_visit(server, run_id, seed))
    publisher.join()
    wait_until(lambda: server.is_idle, "the end of every connection")
    return accounts


def _execute(manager: RunManager, run_id: int) -> None:
    pause = threading.Event()
    for n in range(1, EVENTS + 1):
        manager.publish(run_id, {"run_id": run_id, "n": n, "message": "x" * EVENT_BYTES})
        if n % 10 == 0:
            pause.wait(0.03)
    manager.finish_run(run_id, {"run_id": run_id, "n": EVENTS + 1, "complete": True})


async def _visit(server: Server, run_id: int, seed: str) -> list[Account]:
    chance = random.Random(seed)

    async def visit_one(visit: Callable[["Client"], Awaitable[None]]) -> Account:
        client = Client(server, run_id, random.Random(chance.random()), visit.__name__)
        # Some come when the run has ended.
        await asyncio.sleep(chance.uniform(0, 0.5))
        try:
            with suppress(UnknownRunError):
                await visit(client)
        finally:
            client.leave()
        return client.account

    async with asyncio.timeout(DEADLINE):
        return await asyncio.gather(*(visit_one(visit) for visit in CLIENTS for _ in range(CLIENTS_OF_A_KIND)))


class Client:
    """A client on a socket of its own, which knows what it has been told."""

    def __init__(self, server: Server, run_id: int, chance: random.Random, name: str) -> None:
        # From the start.
        self.account = Account(f"{name} of run {run_id}", "0-0")
        self.chance = chance
        self._server = server
        self._path = f"/runs/{run_id}/events"
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, timeout: float = DEADLINE, *, plain: bool = False) -> None:
        """Send the request, with the id of the last event.

        Args:
            timeout: seconds that the server may wait for a send.
            plain: have the server itself send the stream, which then knows the connection to its end.
        """
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._server.port))
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=SMALL)
        self.account.resume()
        query = f"timeout={timeout}" + ("&plain" if plain else "")
        head = f"GET {self._path}?{query} HTTP/1.1\r\nHost: localhost\r\n"
        self._writer.write(f"{head}Last-Event-ID: {self.account.last_event_id}\r\n\r\n".encode())

    async def read_head(self) -> None:
        """Read the response's head. `UnknownRunError` if the run has been evicted meanwhile."""
        status, *_ = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        if b" 404 " in status:
            raise UnknownRunError
        if b" 200 " not in status:
            raise WrongError(f"the server answered {status!r}")

    async def read_body(self, stop: int = EVENTS + 1) -> None:
        """Read the response's body until `stop` events have come in all, or to its end."""
        frames = Frames()
        while self.account.delivered < stop and (size := int(await self._reader.readuntil(b"\r\n"), 16)):
            chunk = await self._reader.readexactly(size + 2)
            for message, event_id in frames.feed(chunk[:-2]):
                self.account.note(message, event_id)

    def leave(self, *, rudely: bool = False) -> None:
        """Close the connection, with an RST if `rudely`."""
        if self._writer is not None:
            if rudely:
                linger = struct.pack("ii", 1, 0)
                self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._writer.transport.abort()
            self._writer.close()
            self._writer = None

    async def wait_until_dropped(self) -> None:
        """Read nothing until the server has given up."""
        assert self._writer is not None
        address = self._writer.get_extra_info("sockname")
        while self._server.serves(address):  # noqa: ASYNC110 - it is not this loop's server
            await asyncio.sleep(0.02)


async def read_all(client: Client) -> None:
    """Read to the end, as fast as it comes."""
    await client.connect()
    await client.read_head()
    await client.read_body()
    client.account.must_have_ended()


async def read_in_goes(client: Client) -> None:
    """Lose the connection again and again, and resume each time."""
    while not client.account.ended:
        await client.connect()
        await client.read_head()
        await client.read_body(client.account.delivered + client.chance.randrange(1, EVENTS))
        client.leave(rudely=client.chance.random() < 0.5)


async def leave_early(client: Client) -> None:
    """Read some and close."""
    await client.connect()
    await client.read_head()
    await client.read_body(client.chance.randrange(EVENTS))


async def reset(client: Client) -> None:
    """Read some and leave with an RST."""
    await leave_early(client)
    client.leave(rudely=True)


async def ask_and_leave(client: Client) -> None:
    """Be gone before the answer comes."""
    await client.connect()


async def stall(client: Client) -> None:
    """Stop reading: the server drops such a client, which then finds no end of the stream."""
    await client.connect(SHORT_TIMEOUT, plain=True)
    await client.read_head()
    await client.wait_until_dropped()
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await client.read_body()
        raise WrongError(f"a client that stalled was sent all of {client.account.last_event_id}")


CLIENTS = (read_all, read_in_goes, leave_early, reset, ask_and_leave, stall)
