"""Starts of runs over HTTP: each Idempotency-Key starts one, however often its request is sent.

As draft-ietf-httpapi-idempotency-key-header describes it: a repeated request gets the response to the first. It is
refused with 422 if its body differs, and with 409 while the first is still being handled. A refused start may be
retried with the same key. No response mentions a run that the request did not start unless `allow` lets it read that
run.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from genglossary_runs.errors import AlreadyRunningError, RunExistsError, RunnerShutDownError, StoreError
from genglossary_runs.runner import Run, Runner

from .access import Access, call
from .listing import Listing
from .models import StartRefusal
from .records import Row
from .refusals import RETRY_AFTER, STORE_FAILS, note_failure

Start: TypeAlias = Callable[[Request, dict[str, Any]], Run | Awaitable[Run]]
"""Starts a run for a request, from its body."""


@dataclass(slots=True)
class _Attempt:
    """What was answered to a key; `content` is None while it is being answered."""

    fingerprint: bytes
    began: float
    run_id: str = ""
    content: bytes | None = None


class Starts:
    """Starts runs, and remembers the answers of this process by their keys."""

    def __init__(
        self,
        runner: Runner,
        start: Start,
        access: Access,
        listing: Listing,
        *,
        keys: int,
        key_age: float,
        max_queued: int | None,
    ) -> None:
        """Make it.

        Args:
            runner: the runner of the runs that `start` starts.
            start: the application's.
            access: says which runs a request may be shown that it did not start.
            listing: shows runs.
            keys: how many keys are remembered; the oldest are forgotten first.
            key_age: seconds for which they are.
            max_queued: runs that may wait for their turn; a start for which there would be more is refused with 429.
        """
        self._runner, self._start, self._access, self._listing = runner, start, access, listing
        self._most_keys, self._key_age, self._max_queued = keys, key_age, max_queued
        self._attempts: OrderedDict[str, _Attempt] = OrderedDict()
        # An event loop itself keeps no task from the garbage collector.
        self._begun: set[asyncio.Task[Response]] = set()
        # Calls of `start` that have not returned.
        self._under_way = 0

    async def answer(self, request: Request, body: dict[str, Any], key: str | None) -> Response:
        """Start a run, or repeat the answer to an earlier request with this key."""
        if key is None:
            return await self._begin(request, body, None)
        self._forget_old()
        fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
        earlier = self._attempts.get(key)
        if earlier is not None:
            return await self._repeat(request, earlier, fingerprint)
        attempt = self._attempts[key] = _Attempt(fingerprint, time.monotonic())
        # A client that goes away stops its request, and not the start: its next try is to get the answer of this one.
        begun = asyncio.create_task(self._begin(request, body, attempt))
        self._begun.add(begun)
        begun.add_done_callback(lambda begun: self._settle(begun, key, attempt))
        return await asyncio.shield(begun)

    async def _repeat(self, request: Request, earlier: _Attempt, fingerprint: bytes) -> Response:
        if earlier.fingerprint != fingerprint:
            return _refused(422, "This Idempotency-Key was used for another request; use a new one for each")
        if earlier.content is None:
            return _refused(409, "The first request with this Idempotency-Key is still being answered", retry=True)
        # Keys are no secrets: another client may have sent this one, or this client may have lost its rights since.
        if not await self._access.allows(request, "read", earlier.run_id):
            return _refused(403, "You may not read the run that this Idempotency-Key started")
        return _started(earlier.run_id, earlier.content)

    async def _begin(self, request: Request, body: dict[str, Any], attempt: _Attempt | None) -> Response:
        if self._is_full():
            return _refused(429, f"{self._max_queued} runs are waiting for their turn", retry=True)
        try:
            return await self._begin_now(request, body, attempt)
        except RunnerShutDownError:
            return _refused(503, "The server is stopping and starts no more runs", retry=True)
        except StoreError as error:
            note_failure(error)
            return _refused(503, STORE_FAILS, retry=True)

    def _is_full(self) -> bool:
        """Whether too many runs would wait for their turn after one more start."""
        if self._max_queued is None:
            return False
        waiting, free = len(self._runner.queued()), self._runner.free_places()
        if free is not None:
            waiting += max(0, self._under_way + 1 - free)
        return waiting > self._max_queued

    async def _begin_now(self, request: Request, body: dict[str, Any], attempt: _Attempt | None) -> Response:
        self._under_way += 1
        try:
            row: Row = await call(self._start, request, body)
        except (RunExistsError, AlreadyRunningError) as error:
            run_id = None if error.run_id is None else str(error.run_id)
            if run_id is not None and not await self._access.allows(request, "read", run_id):
                return _refused(409, "A run that you may not read is in the way")
            # The application makes ids of keys: an earlier request may have started it, perhaps in another process.
            repeats = attempt is not None and isinstance(error, RunExistsError)
            earlier = await self._listing.find(run_id) if repeats and run_id is not None else None
            if earlier is None:
                return _refused(409, str(error), run_id=run_id)
            row = earlier
        finally:
            self._under_way -= 1
        content = (await self._listing.show(row)).model_dump_json().encode()
        if attempt is not None:
            attempt.run_id, attempt.content = str(row.run_id), content
        return _started(str(row.run_id), content)

    def _settle(self, begun: asyncio.Task[Response], key: str, attempt: _Attempt) -> None:
        self._begun.discard(begun)
        if not begun.cancelled():
            # Asked for, since nobody does when the client has gone.
            begun.exception()
        if attempt.content is None and self._attempts.get(key) is attempt:
            del self._attempts[key]

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self._key_age
        for key, attempt in list(self._attempts.items()):
            if len(self._attempts) < self._most_keys and attempt.began >= oldest:
                break
            if attempt.content is not None:
                del self._attempts[key]


def _started(run_id: str, content: bytes) -> Response:
    # Relative, so that it holds behind any proxy and under any prefix.
    location = f"runs/{quote(run_id, safe='')}"
    return Response(content, 201, {"Location": location}, "application/json")


def _refused(status: int, why: str, *, run_id: str | None = None, retry: bool = False) -> Response:
    content = StartRefusal(detail=why, run_id=run_id).model_dump()
    return JSONResponse(content, status, RETRY_AFTER if retry else None)
