"""FastAPI's own server-sent events: a route that yields."""

from collections.abc import AsyncIterator

from fastapi.sse import EventSourceResponse, ServerSentEvent

from streaming.hub import HubTransport


class FastApi(HubTransport):
    """`response_class=EventSourceResponse`, with every default as it is."""

    def __init__(self) -> None:
        super().__init__(response_class=EventSourceResponse)

    async def stream(self) -> AsyncIterator[ServerSentEvent]:
        async for event_id, message in self.items():
            yield ServerSentEvent(data=message, id=event_id)


create = FastApi
