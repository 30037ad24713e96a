"""What uvicorn and FastAPI cost for a stream by themselves: the response begins, and nothing comes."""

from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send

from streaming.server import UvicornTransport


class Open(Response):
    """Sends its headers, then waits until the client leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass


class Silent(UvicornTransport):
    """Nothing is published."""

    async def stream(self) -> Response:
        return Open(media_type="text/event-stream")

    def publish(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def subscribers(self) -> int:
        return -1


create = Silent
