"""A plain `asyncio.Queue` a client, with JSON a client, through Starlette's `StreamingResponse`."""

import json
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from streaming.hub import HubTransport


class AsyncioQueue(HubTransport):
    """No library for server-sent events."""

    async def stream(self) -> StreamingResponse:
        return StreamingResponse(self.frames(), media_type="text/event-stream")

    async def frames(self) -> AsyncIterator[str]:
        async for event_id, message in self.items():
            yield f"id: {event_id}\ndata: {json.dumps(message, ensure_ascii=False)}\n\n"


create = AsyncioQueue
