"""Stream a run to browsers as server-sent events, from Starlette and FastAPI.

    @app.get("/runs/{run_id}/events")
    async def events(run_id: int, request: Request) -> Response:
        return run_stream(manager, run_id, request)

A client receives `retry:` first; then each event as `data:` with its `id:`; `event: gap` where it fell behind; and
`event: complete` with the terminal event, after which the stream ends. A client that reconnects sends `Last-Event-ID`
and resumes where it was. Once it has received everything, the response is 204, which stops an `EventSource`.

Differences from sse-starlette and FastAPI's `EventSourceResponse`:

- Nothing is encoded or queued for each client; all pending events are sent as one chunk.
- A stream leaves Python if possible: once the response has begun, its socket is handed to a thread that writes without
  the GIL, and the server drops the connection. That works for HTTP/1.1 on plain sockets under uvicorn (also as
  gunicorn's worker) and Hypercorn, with any middleware that does not change the body. Streams stay in Python if they
  have a background task, if something changes or buffers the body, and over TLS, HTTP/2 or HTTP/1.0. `stats()` counts
  both kinds, and a debug record says why a stream stays. A connection that was handed over is closed when its stream
  ends. Dependencies with `yield` end when the stream is handed over. The server's own connection limit does not count
  these streams; use `max_streams`. `handoff=False` keeps a stream in Python.
- On Linux that thread uses io_uring if the system allows it. The environment variable `GENGLOSSARY_RUNS_IO_URING=0`
  turns that off.
- A client that stops reading is dropped.
- With `drain_on_shutdown` open streams do not keep the server from stopping.
- `retry:` and heartbeats are single lines. Clients like httpx-sse would take an empty line after them for an event.

Also note:

- Only asyncio and loops made for it (uvloop) are supported. Under gevent a blocking `Subscription.get` stops all
  greenlets.
- Do not send a run through a synchronous generator in Starlette's `StreamingResponse`: it occupies a thread of the pool
  for as long as its client is connected, and longer if the run is silent. Forty of them stall the whole application.
- Over HTTP/1.1 a browser opens at most six connections to a host, for all tabs together, and each `EventSource`
  occupies one. For more tabs, use a proxy that speaks HTTP/2, which has no such limit.
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
