"""sse-starlette, with its own class for events of JSON."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, JSONServerSentEvent

from streaming.hub import HubTransport


class SseStarlette(HubTransport):
    """`EventSourceResponse`, with every default as it is."""

    async def stream(self) -> EventSourceResponse:
        return EventSourceResponse(self.events())

    async def events(self) -> AsyncIterator[JSONServerSentEvent]:
        async for event_id, message in self.items():
            yield JSONServerSentEvent(message, id=event_id)


create = SseStarlette
