"""What uvicorn and FastAPI cost for a connection by themselves: an empty response, and the connection is kept alive."""

from typing import Any

from fastapi import Response

from streaming.server import UvicornTransport


class Empty(UvicornTransport):
    """Nothing is streamed."""

    async def stream(self) -> Response:
        return Response()

    def publish(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def subscribers(self) -> int:
        return -1


create = Empty
