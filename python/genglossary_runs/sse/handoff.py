"""Hand a stream over: its socket leaves the server, and a thread without Python continues it.

The response begins through ASGI as always. Its body begins with a comment that has a random number; if that arrives at
the connection unchanged, in the chunked coding, nothing between the application and the connection changes the body.
Then the socket is duplicated and the server's transport aborted, which closes its own descriptor and not the
connection. The server takes the client for gone and forgets it.
"""

import random
from typing import NamedTuple

from .._core import StreamGroup, Subscription, stream_stats
from .servers import Connection, Tap

# Seconds that whatever lies between may hold back the first bytes of a body before plain ASGI serves the stream.
PATIENCE = 1.0


class Settings(NamedTuple):
    """How a stream behaves that is handed over; as for `run_stream`, but `retry` is the client's own."""

    heartbeat: float | None
    send_timeout: float
    retry: int


class HandOff:
    """The attempt to hand over one response.

    Attributes:
        connection: that of the response; None if its server is not known.
        obstacle: why it stays with the server; None as long as nothing is known against it.
        prelude: what the body is to begin with.
    """

    def __init__(self, connection: Connection | None, obstacle: str | None) -> None:
        self.connection = connection
        if obstacle is None:
            obstacle = connection.obstacle() if connection is not None else "its server is not known"
        self.obstacle = obstacle
        self.prelude = b""
        self._tap: Tap | None = None

    def begin(self, prelude: bytes) -> None:
        """Watch the connection. To be called before the response starts; then `prelude` is to be sent."""
        self.prelude = prelude
        if self.obstacle is None and self.connection is not None:
            self.prelude = b": %b\n%b" % (b"%016x" % random.getrandbits(64), prelude)
            self._tap = self.connection.tap(self.prelude)

    def stop_watching(self) -> None:
        """Leave the connection as it was. May be repeated."""
        if self._tap is not None:
            self._tap.close()

    async def complete(self, group: StreamGroup, subscription: Subscription, settings: Settings) -> bool:
        """Hand it over, once the prelude has been sent.

        Returns:
            Whether it was; if not, `obstacle` says why.
        """
        if self._tap is None or self.connection is None:
            return False
        unchanged = await self._tap.is_unchanged(PATIENCE)
        self.stop_watching()
        if unchanged is None:
            self.obstacle = "its first bytes have been held back on their way to the connection"
        elif not unchanged:
            self.obstacle = "its first bytes have been changed on their way to the connection"
        else:
            self.obstacle = self._give_away(self.connection, group, subscription, settings)
        return self.obstacle is None

    @staticmethod
    def _give_away(
        connection: Connection, group: StreamGroup, subscription: Subscription, settings: Settings
    ) -> str | None:
        # A middleware may have let time pass since the first look.
        obstacle = connection.obstacle()
        if obstacle is not None:
            return obstacle
        if subscription.closed:
            return "it has been closed meanwhile"
        transport = connection.transport
        if transport.get_write_buffer_size() > 0:
            return "its client has not taken the head of the response"
        try:
            group.add(
                transport.get_extra_info("socket").fileno(),
                subscription,
                heartbeat=settings.heartbeat,
                send_timeout=settings.send_timeout,
                retry=settings.retry,
            )
        except OSError as error:
            return f"its socket could not be duplicated: {error}"
        transport.abort()
        return None


def count_handed_over() -> int:
    """How many streams have been handed over in this process and have not ended."""
    return stream_stats()["open"]
