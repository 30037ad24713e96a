"""The routes of the API."""

import os
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from genglossary_runs.errors import StoreError
from genglossary_runs.runner import Runner, StoredRun
from genglossary_runs.runner.outcome import Status
from genglossary_runs.sse import stats as stream_stats
from genglossary_runs.sse.response import asked

from . import bodies, log, results
from .access import Access, Allow
from .listing import Filter, Listing
from .models import Cancelled, Event, Gap, Log, Page, Record, Refusal, StartRefusal, Stats, Waited
from .records import Row
from .refusals import STORE_FAILS, note_failure, refusing, unknown
from .starts import Start, Starts
from .waiting import Wait

RunId = Annotated[str, Path(description="The id of a run")]
After = Annotated[str | None, Query(description="The id of an event, for those after it; by default all")]

_FORBIDDEN: dict[int | str, dict[str, Any]] = {403: {"model": Refusal, "description": "Not allowed"}}
_UNKNOWN: dict[int | str, dict[str, Any]] = _FORBIDDEN | {
    404: {"model": Refusal, "description": "There is no such run"},
    503: {"model": Refusal, "description": "The store cannot be used"},
}
_NO_RESULT: dict[int | str, dict[str, Any]] = _UNKNOWN | {
    307: {"description": "The result is a link, where this leads to"},
    404: {"model": Refusal, "description": "There is no such run, or it has no result"},
    406: {"model": Refusal, "description": "The result has no JSON form"},
    409: {"model": Refusal, "description": "The run has not ended"},
}
_NOT_STARTED: dict[int | str, dict[str, Any]] = _FORBIDDEN | {
    409: {"model": StartRefusal, "description": "A run is in the way, or this very request is still being answered"},
    413: {"model": Refusal, "description": "The body is too long"},
    422: {"model": Refusal, "description": "The body is no JSON object, or the key was used for another request"},
    429: {"model": StartRefusal, "description": "Too many runs wait for their turn"},
    503: {"model": StartRefusal, "description": "The store cannot be used, or the server is stopping"},
}


def router(
    runner: Runner,
    *,
    allow: Allow | None = None,
    start: Start | None = None,
    max_queued: int | None = 1000,
    max_body: int = 1_048_576,
    idempotency_keys: int = 1000,
    idempotency_age: float = 86_400.0,
    stream_options: dict[str, Any] | None = None,
) -> APIRouter:
    """Make the routes of the API, for inclusion in an application.

        app.include_router(router(runner), prefix="/api")

    It knows the runs of the runner and, with a store, those of every process that uses the store. Authentication is up
    to the application: pass `allow`, or `dependencies` to `include_router`. If you authenticate with cookies, also
    refuse requests from other sites, as `console` does.

    Args:
        runner: starts, lists and cancels the runs.
        allow: `allow(request, action, run_id)` says whether a request may `list`, `read`, `cancel` or `start`; a
            function, which is called in a thread, or a coroutine function. Lists contain only runs that may be read.
            None allows everything.
        start: `start(request, body)` starts a run from the JSON object of a request; like `allow`, a function or a
            coroutine function. If it raises `HTTPException`, that is the response; `AlreadyRunningError` becomes 409.
            None: there is no route for starts.
        max_queued: how many runs may be queued, 0 or more; a start after which there would be more is refused with 429,
            also beside others that have not returned yet. None sets no limit.
        max_body: bytes of a start's body, 0 or more; longer bodies are refused with 413. A body is read only if `allow`
            permits the start.
        idempotency_keys: how many values of `Idempotency-Key` this process remembers, 1 or more.
        idempotency_age: seconds for which it remembers them, more than 0.
        stream_options: options of `genglossary_runs.sse.run_stream` for the streams of events.

    Raises:
        ValueError: a number is out of its bounds.
    """
    if idempotency_keys < 1 or not idempotency_age > 0 or (max_queued is not None and max_queued < 0) or max_body < 0:
        raise ValueError(
            "'idempotency_keys' must be 1 or more, 'idempotency_age' more than 0, and 'max_queued' and 'max_body' not "
            "negative"
        )
    access, listing = Access(allow), Listing(runner)
    routes = APIRouter(tags=["runs"])
    if start is not None:
        starts = Starts(
            runner, start, access, listing, keys=idempotency_keys, key_age=idempotency_age, max_queued=max_queued
        )
        _add_start(routes, access, starts, max_body)
    _add_lists(routes, runner, access, listing)
    # An id may have slashes in it, so what asks for a part of a run comes before what asks for the run.
    _add_events(routes, runner, access, listing, stream_options or {})
    _add_run(routes, runner, access, listing)
    return routes


def _add_start(routes: APIRouter, access: Access, starts: Starts, max_body: int) -> None:
    @routes.post("/runs", status_code=201, response_model=Record, responses=_NOT_STARTED, openapi_extra=bodies.OPENAPI)
    async def start_run(
        request: Request,
        idempotency_key: Annotated[
            str | None,
            Header(description="Requests with the same key start one run", min_length=1, max_length=255),
        ] = None,
    ) -> Response:
        """Start a run. `Location` is where it is shown."""
        await access.check(request, "start")
        request, body = await bodies.read_object(request, max_body)
        return await starts.answer(request, body, idempotency_key)


def _add_lists(routes: APIRouter, runner: Runner, access: Access, listing: Listing) -> None:
    @routes.get("/runs", responses=_FORBIDDEN)
    async def list_runs(
        request: Request,
        status: Annotated[
            list[Status] | None,
            Query(description="Only runs with this status, or one of these"),
        ] = None,
        key: Annotated[str | None, Query(description="Only runs with this key")] = None,
        q: Annotated[
            str,
            Query(
                description="Only runs that have this text in id, key, name or error; those of this process also in "
                "the newest message. A to Z match a to z"
            ),
        ] = "",
        after: Annotated[int | None, Query(description="The `next` of the page before", ge=0, le=2**63 - 1)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Page:
        """List runs, the newest first."""
        await access.check(request, "list")
        which = Filter(key, frozenset(status or ()), q.strip())
        readable = None if access.is_open else partial(access.readable, request)
        return await listing.page(which, after, limit, readable)

    @routes.get("/stats", responses=_FORBIDDEN)
    async def stats(request: Request) -> Stats:
        """Show what this process and the store hold."""
        await access.check(request, "list")
        held: dict[str, Any] = dict(runner.manager.stats())
        streams: dict[str, Any] = dict(stream_stats())
        store = held.pop("store", None)
        if store is not None:
            # Where it is, is nobody's business but the server's.
            store = {name: value for name, value in store.items() if name not in ("path", "address", "project")}
            store["error"] = None if store["error"] is None else STORE_FAILS
        counts = Counter({"queued": 0, "running": 0, "completed": 0, "failed": 0, "cancelled": 0})
        counts.update(run.status for run in runner.runs())
        return Stats(process=str(os.getpid()), runs=dict(counts), manager=held, streams=streams, store=store)


def _add_events(
    routes: APIRouter, runner: Runner, access: Access, listing: Listing, stream_options: dict[str, Any]
) -> None:
    @routes.get("/runs/{run_id:path}/events", response_class=_EventStream, responses=_UNKNOWN)
    async def stream_events(request: Request, run_id: RunId, after: After = None) -> Response:
        """Stream a run's events as they come, as server-sent events; a client that comes back sends `Last-Event-ID`."""
        await access.check(request, "read", run_id)
        options: dict[str, Any] = {"last_event_id": request.headers.get("last-event-id") or after} | stream_options
        with refusing(run_id):
            return await asked(runner.stream(run_id, request, **options))

    @routes.get("/runs/{run_id:path}/log", responses=_UNKNOWN)
    async def read_log(
        request: Request,
        run_id: RunId,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> Log:
        """Read a run's events that are there, for clients that poll."""
        await access.check(request, "read", run_id)
        await _find(listing, run_id)
        page = Log(events=[], next=after or "0", more=False, ended=False, gaps=[])
        with refusing(run_id):
            reading = await log.read(runner, run_id, after or "0")
            async for entry in reading:
                if len(page.events) == limit:
                    page.more = True
                    break
                if entry.name == "gap":
                    page.gaps.append(Gap(**entry.data["gap"]))
                else:
                    page.events.append(Event(id=entry.id, name=entry.name, data=entry.data))
                page.next = entry.id
            page.ended = reading.ended and not page.more
        return page

    @routes.get("/runs/{run_id:path}/log.txt", response_class=_LogFile, responses=_UNKNOWN)
    async def download_log(
        request: Request,
        run_id: RunId,
        format: Annotated[Literal["txt", "jsonl"], Query(description="Lines for people, or one event a line")] = "txt",
    ) -> Response:
        """Download the whole log of a run, as far as it is there."""
        await access.check(request, "read", run_id)
        await _find(listing, run_id)
        with refusing(run_id):
            entries = await log.read(runner, run_id, "0")
        line_of = log.as_text if format == "txt" else log.as_json

        async def lines() -> AsyncIterator[str]:
            try:
                async for entry in entries:
                    yield line_of(entry)
            except StoreError as error:
                note_failure(error)
                yield line_of(log.BROKEN_OFF)

        name = quote(f"run-{run_id}.{'log' if format == 'txt' else 'jsonl'}", safe="")
        return StreamingResponse(
            lines(),
            media_type="text/plain; charset=utf-8" if format == "txt" else "application/jsonl",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "X-Content-Type-Options": "nosniff",
            },
        )


def _add_run(routes: APIRouter, runner: Runner, access: Access, listing: Listing) -> None:
    @routes.post("/runs/{run_id:path}/cancel", status_code=202, responses=_UNKNOWN)
    async def cancel_run(request: Request, run_id: RunId) -> Cancelled:
        """Ask a run's work to stop, in whichever process it is."""
        await access.check(request, "cancel", run_id)
        await _find(listing, run_id)
        with refusing(run_id):
            return Cancelled(cancelled=await runner.acancel(run_id))

    @routes.get("/runs/{run_id:path}/wait", responses=_UNKNOWN)
    async def wait_for_run(
        request: Request,
        run_id: RunId,
        timeout: Annotated[float, Query(description="Seconds to wait at most", ge=0, le=300)] = 30.0,
    ) -> Waited:
        """Wait for the end of a run."""
        await access.check(request, "read", run_id)
        row = await _find(listing, run_id)
        if row.finished_at is None and timeout > 0:
            with refusing(run_id):
                subscription = await runner.asubscribe(run_id, None)
            await Wait(subscription).until_end(timeout)
            # A handle tells the end by itself; its runner may know no more of it than that.
            if isinstance(row, StoredRun):
                row = await _find(listing, run_id)
        record = await listing.show(row)
        return Waited(**record.model_dump(), ended=record.finished is not None)

    @routes.get("/runs/{run_id:path}/result", response_class=Response, responses=_NO_RESULT)
    async def show_result(request: Request, run_id: RunId) -> Response:
        """Answer with a run's result: JSON, a text, or a redirect where the result is a link."""
        await access.check(request, "read", run_id)
        row = await _find(listing, run_id, with_result=True)
        if row.finished_at is None:
            raise HTTPException(409, f"Run {run_id} is {row.status} and has no result yet")
        return await results.answer(run_id, row.result)

    @routes.get("/runs/{run_id:path}", responses=_UNKNOWN)
    async def show_run(request: Request, run_id: RunId) -> Record:
        """Show a run."""
        await access.check(request, "read", run_id)
        return await listing.show(await _find(listing, run_id))


class _EventStream(Response):
    media_type = "text/event-stream"


class _LogFile(Response):
    media_type = "text/plain"


async def _find(listing: Listing, run_id: str, *, with_result: bool = False) -> Row:
    with refusing(run_id):
        row = await listing.find(run_id, with_result=with_result)
    if row is None:
        raise unknown(run_id)
    return row
