"""A TCP proxy on this host that loses, delays and swallows bytes when a test tells it to."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

UP, DOWN = "up", "down"
"""From a client to the server, and back."""


class Proxy:
    """Passes connections on to a server, byte by byte, in a thread of its own.

    Args:
        upstream: port of the server, on this host. Without one it is cut.

    Attributes:
        upstream: may be set to that of another server, for connections to come.
        delay: seconds that everything takes each way.
        requests: what clients have sent.
    """

    def __init__(self, upstream: int | None = None) -> None:
        self.upstream, self.delay = upstream, 0.0
        self.requests: list[bytes] = []
        self._is_cut = upstream is None
        self._swallowed: frozenset[str] = frozenset()
        self._open: set[asyncio.StreamWriter] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def drop(self) -> None:
        """Lose every connection, also one that has just been accepted."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(30)

    def cut(self) -> None:
        """Lose every connection, and those to come, until mended."""
        self._is_cut = True
        self.drop()

    def swallow(self, *ways: str) -> None:
        """Take connections and bytes, and pass nothing on, in both directions or one, until mended.

        A connection that lost bytes so passes on none ever after, not even its end: neither side learns of it.
        """
        self._swallowed = frozenset(ways or (UP, DOWN))

    def mend(self, upstream: int | None = None) -> None:
        """Pass on everything again, at once, to another server if one is given."""
        self.upstream = upstream or self.upstream
        self._is_cut, self._swallowed, self.delay = False, frozenset(), 0.0

    def close(self) -> None:
        """Stop, unless it has."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        starting = loop.create_task(asyncio.start_server(self.serve, sock=self._listener))
        loop.run_forever()
        server = loop.run_until_complete(starting)
        # What has been accepted must be among the open before asyncio's server closes: it leaves open what is not.
        loop.remove_reader(self._listener)
        self._is_cut = True
        loop.run_until_complete(self._drop())
        server.close()
        while tasks := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.wait(tasks))
        loop.close()

    async def _drop(self) -> None:
        # So many turns of the loop, at most, lie between a connection's acceptance and its place among the open.
        for _ in range(8):
            await asyncio.sleep(0)
        self._abort()

    def _abort(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Pass on a connection to its end."""
        with self._known(client), contextlib.suppress(OSError):
            if self._is_cut:
                return
            back, server = await asyncio.open_connection("127.0.0.1", self.upstream)
            with self._known(server):
                if self._is_cut:
                    return
                await asyncio.gather(self._carry(UP, reader, server), self._carry(DOWN, back, client))

    @contextlib.contextmanager
    def _known(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(self, way: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        due, is_dead = 0.0, False
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if way == UP:
                    self.requests.append(data)
                is_dead = is_dead or way in self._swallowed
                due = max(due, self._loop.time() + self.delay)
                if is_dead:
                    continue
                if due > self._loop.time():
                    self._loop.call_at(due, sink.write, data)
                else:
                    sink.write(data)
                    await sink.drain()
        if not is_dead:
            await asyncio.sleep(due - self._loop.time())
            sink.close()
