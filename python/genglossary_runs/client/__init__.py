"""Follow runs from Python over HTTP: every event reaches the reader once and in order, until the run has ended.

    for event in follow("https://example.org/api/runs/7/events"):
        print(event.id, event.name, event.data)

    async for event in afollow(url, headers={"Authorization": token}):
        ...

A lost connection is re-established and resumes after the last event, even if a proxy answers 502 or 503 while the
server restarts. Only the terminal event ends the iteration. In a terminal, use `python -m genglossary_runs follow URL`.
This needs httpx and httpx-sse, which the extra `client` installs.
"""

from genglossary_runs.extras import missing

try:
    import httpx  # noqa: F401
    import httpx_sse  # noqa: F401
except ModuleNotFoundError as error:
    raise missing("genglossary_runs.client", error.name or "httpx", "client") from None

from genglossary_runs.errors import FollowError, RefusedError, StreamLostError

from .following import Event
from .streams import afollow, follow

__all__ = ["Event", "FollowError", "RefusedError", "StreamLostError", "afollow", "follow"]
