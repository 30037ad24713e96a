"""Ports for servers that can only be told a number."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port of this host that nobody else is given until the block is left.

    One that is merely free is anybody's until the server listens there: another test's server or connection may take
    it. On one that is held connections are refused, until a server listens that reuses addresses, as servers do.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            # Elsewhere nobody could listen beside the holder.
            holder.close()
        yield port
