"""A proxy between a client and a server, which loses connections and answers for a server that is away."""

import contextlib
import socket
import threading
from collections.abc import Iterator

EXCUSE = b"<html>Service Unavailable</html>"


class Proxy:
    """Passes connections on to a server, byte by byte.

    Args:
        port: of the server, on this host. It may be changed: the server that comes after a restart.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        # The status of its own answers while the server is away; None while it is there.
        self._status: int | None = None
        self._headers = ""
        self.refused = 0
        self.requests: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._cuts = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Lose every connection, also one that is about to be passed on."""
        with self._lock:
            lost, self._open = self._open, set()
            self._cuts += 1
        for each in lost:
            # Wakes those that read from it, which `close` does not.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def away(self, status: int, headers: str = "") -> Iterator[None]:
        """Lose every connection, and answer requests with this status as long as the block lasts."""
        self._status, self._headers = status, headers
        self.cut()
        try:
            yield
        finally:
            self._status = None

    def close(self) -> None:
        """Stop."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        cuts = self._cuts
        with contextlib.suppress(OSError), client:
            if self._status is not None:
                self._refuse(client)
                return
            with socket.create_connection(("127.0.0.1", self.upstream)) as server, self._known(cuts, client, server):
                back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
                back.start()
                self._pass(client, server, self.requests)
                back.join()

    def _refuse(self, client: socket.socket) -> None:
        client.recv(65536)
        self.refused += 1
        head = f"HTTP/1.1 {self._status} Excuse\r\n{self._headers}Content-Type: text/html\r\n"
        client.sendall(f"{head}Content-Length: {len(EXCUSE)}\r\nConnection: close\r\n\r\n".encode() + EXCUSE)

    @contextlib.contextmanager
    def _known(self, cuts: int, *sockets: socket.socket) -> Iterator[None]:
        with self._lock:
            if cuts != self._cuts:
                raise ConnectionAbortedError
            self._open.update(sockets)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(sockets)

    def _pass(self, source: socket.socket, sink: socket.socket, log: list[bytes] | None = None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if log is not None:
                    log.append(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
