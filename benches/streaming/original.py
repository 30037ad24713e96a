"""The original's shape: an `async def` generator that waits in a blocking `get`, and so holds up the whole loop."""

import json
import queue
from collections.abc import AsyncIterator
from typing import Any

from baseline import BaselineManager
from fastapi.responses import StreamingResponse
from measure import RUN_ID
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from streaming.server import UvicornTransport


async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Let the loop take a turn at each frame; without any middleware the first client would hold it for ever."""
    return await call_next(request)


class Original(UvicornTransport):
    """A bounded `queue.Queue` a client."""

    def __init__(self) -> None:
        super().__init__()
        self.app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
        self.manager = BaselineManager()

    async def stream(self) -> StreamingResponse:
        return StreamingResponse(self.frames(), media_type="text/event-stream")

    async def frames(self) -> AsyncIterator[str]:
        subscriber = self.manager.subscribe(RUN_ID)
        try:
            while True:
                try:
                    message = subscriber.get(timeout=1)
                except queue.Empty:
                    yield ": keepalive\n\n"
                else:
                    yield f"data: {json.dumps(message, ensure_ascii=False)}\n\n"
        finally:
            self.manager.unsubscribe(RUN_ID, subscriber)

    def publish(self, message: dict[str, Any]) -> None:
        self.manager.publish(RUN_ID, message)

    def subscribers(self) -> int:
        return self.manager.subscribers(RUN_ID)


create = Original
