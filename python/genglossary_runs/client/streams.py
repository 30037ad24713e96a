"""Follow a run's stream, with and without an event loop."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import httpx
from httpx_sse import EventSource

from .following import Event, Following


def follow(
    url: str,
    *,
    after: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: httpx.Client | None = None,
    silence: float = 45.0,
    give_up: float | None = None,
    on_retry: Callable[[str, float], object] | None = None,
) -> Iterator[Event]:
    """Iterate over the events of a run, up to the terminal one.

    Args:
        url: the URL of the run's stream, or of the run in the API.
        after: the id of the event to resume after; by default, start with the oldest event held.
        headers: sent with each request.
        client: makes the requests; by default a new one.
        silence: seconds, more than 0, without any data from the server after which the connection is made again. The
            server sends a heartbeat every 15 seconds.
        give_up: seconds for which to try to reach the server; None for no limit.
        on_retry: called with the reason and the seconds to wait when a connection has to be made again.

    Raises:
        RefusedError: there is no such run, or this client may not read it.
        StreamLostError: the server was not reached within `give_up` seconds.
        FollowError: the stream is not that of a run, or the URL begins with neither http:// nor https://.
    """
    following = _following(url, after, headers, give_up, on_retry)
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(httpx.Client()) if client is None else client
        while not following.is_over:
            try:
                with http.stream(
                    "GET", following.url, headers=following.headers(), timeout=_timeout(silence)
                ) as response:
                    if following.accepts(response):
                        for received in EventSource(response).iter_sse():
                            event = following.take(received)
                            if event is not None:
                                yield event
                            if following.is_over:
                                return
                        following.lost("the stream stopped")
            except httpx.TransportError as error:
                following.failed(error)
            if not following.is_over:
                time.sleep(following.delay)


async def afollow(
    url: str,
    *,
    after: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: httpx.AsyncClient | None = None,
    silence: float = 45.0,
    give_up: float | None = None,
    on_retry: Callable[[str, float], object] | None = None,
) -> AsyncIterator[Event]:
    """Do the same as `follow`, on an event loop."""
    following = _following(url, after, headers, give_up, on_retry)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient()) if client is None else client
        while not following.is_over:
            try:
                async with http.stream(
                    "GET", following.url, headers=following.headers(), timeout=_timeout(silence)
                ) as response:
                    if following.accepts(response):
                        async for received in EventSource(response).aiter_sse():
                            event = following.take(received)
                            if event is not None:
                                yield event
                            if following.is_over:
                                return
                        following.lost("the stream stopped")
            except httpx.TransportError as error:
                following.failed(error)
            if not following.is_over:
                await asyncio.sleep(following.delay)


def _following(
    url: str,
    after: str | None,
    headers: Mapping[str, str] | None,
    give_up: float | None,
    on_retry: Callable[[str, float], object] | None,
) -> Following:
    return Following(httpx.URL(url), after or "", headers or {}, give_up, on_retry)


def _timeout(silence: float) -> httpx.Timeout:
    return httpx.Timeout(min(10.0, silence), read=silence)
