"""Stream a run to browsers as server-sent events, from Starlette and FastAPI.

    @app.get("/runs/{run_id}/events")
    async def events(run_id: int, request: Request) -> Response:
        return run_stream(manager, run_id, request)

What a client gets: `retry:` first; each event as `data:` with its `id:`; `event: gap` where it fell behind;
`event: complete` with the terminal event, then the end of the stream. A client that reconnects sends `Last-Event-ID`
and resumes where it was; once it has had everything the answer is 204, which stops an `EventSource`.

Differences from sse-starlette and FastAPI's `EventSourceResponse`:

- Nothing is encoded or queued for a client; everything that waits goes out as one chunk.
- A stream leaves Python if nothing prevents it: once the response has begun, its socket is handed to a thread that
  writes without the GIL, and the server forgets the connection. That works for HTTP/1.1 on plain sockets under uvicorn
  (also as gunicorn's worker) and Hypercorn, with any middleware that leaves the body as it is. Streams with a
  background task, behind something that changes or holds back the body, over TLS, HTTP/2 or HTTP/1.0 stay with it.
  `stats()` counts both kinds, and a debug record says why one stays. A connection that was handed over is closed after
  the end of its stream. Dependencies with `yield` end when the stream is handed over. To the server's own
  limit of connections all such streams together are one: use `max_streams`. `handoff=False` keeps a stream in Python.
- On Linux that thread sends with io_uring where the system allows it; `GENGLOSSARY_RUNS_IO_URING=0` in the environment
  keeps it from that.
- A client that stops reading is dropped.
- With `drain_on_shutdown` open streams do not keep the server from stopping.
- `retry:` and heartbeats are single lines. An empty line after them would be an empty event to clients like httpx-sse.

What to know elsewhere:

- Only asyncio and loops made for it (uvloop) are supported. Under gevent a blocking `Subscription.get` stops all
  greenlets.
- Do not send a run through a synchronous generator in Starlette's `StreamingResponse`: it holds a thread of the pool
  for as long as its client is connected, and longer if the run is silent. Forty of them hold up the whole application.
- Over HTTP/1.1 a browser opens six connections to a host, for all tabs together, and an `EventSource` keeps one. For
  more tabs serve through a proxy that speaks HTTP/2, which has no such limit.
"""

from ..errors import UnknownRunError
from ..extras import missing

try:
    import starlette  # noqa: F401
except ModuleNotFoundError:
    raise missing("genglossary_runs.sse", "Starlette", "web") from None

from .response import RunStream, run_stream, stats
from .shutdown import drain, drain_on_shutdown

__all__ = ["RunStream", "UnknownRunError", "drain", "drain_on_shutdown", "run_stream", "stats"]
