"""Starts over HTTP, and what an Idempotency-Key does to them."""

import asyncio
import gc
import uuid
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import HTTPException, Request
from genglossary_runs import RunManager, StoreError
from genglossary_runs.console import router
from genglossary_runs.runner import Run, RunContext, Runner
from runner.support import Gate
from stores.kinds import KINDS

from .conftest import Side
from .support import DEADLINE, Client, make_app, until


def nothing(context: RunContext) -> None:
    """Work that is done at once."""


@asynccontextmanager
async def serving(runner: Runner, start: Any = None, **options: Any) -> AsyncIterator[Client]:
    """The API of the runner, where `start` starts runs, or by default work that is done at once."""
    client = Client(make_app(runner, start=start or (lambda request, body: runner.start(nothing)), **options))
    yield client
    await client.http.aclose()


async def test_a_start_gives_the_run_and_where_it_is(runner: Runner, gate: Gate) -> None:
    bodies = []

    def start(request: Request, body: dict[str, Any]) -> Run:
        bodies.append((request.url.path, body))
        return runner.start(gate, key=body.get("key"))

    async with serving(runner, start) as client:
        answer = await client.http.post("/runs", json={"key": "book"})
        assert answer.status_code == 201
        record = answer.json()
        assert (record["key"], record["status"]) == ("book", "running")
        assert (await client.http.get(str(answer.url.join(answer.headers["location"])))).json()["id"] == record["id"]
        refusal = await client.post("/runs", {"key": "book"}, 409)
        assert refusal["run_id"] == record["id"]
        # A start without a body.
        await client.post("/runs", None, 201)
        await client.post("/runs", ["a list"], 422)
    assert bodies == [("/api/runs", {"key": "book"})] * 2 + [("/api/runs", {})]
    gate.opened.set()


async def test_a_coroutine_function_starts_runs(runner: Runner) -> None:
    async def start(request: Request, body: dict[str, Any]) -> Run:
        await asyncio.sleep(0)
        return runner.start(nothing)

    async with serving(runner, start) as client:
        await client.post("/runs", {})


async def test_without_start_nothing_is_started(client: Client) -> None:
    await client.post("/runs", {}, 405)


async def test_a_key_starts_one_run(runner: Runner) -> None:
    async with serving(runner) as client:
        first = await client.post("/runs", {"a": 1, "b": 2}, key="one")
        assert await client.post("/runs", {"b": 2, "a": 1}, key="one") == first
        assert (await client.post("/runs", {"a": 1}, 422, key="one"))["run_id"] is None
        assert (await client.post("/runs", {"a": 1, "b": 2}, key="two"))["id"] != first["id"]
        assert (await client.post("/runs", {"a": 1, "b": 2}))["id"] != first["id"]
        await client.post("/runs", {}, 422, key="x" * 256)
    assert len(runner.runs()) == 3


class HeldStart:
    """A start that has begun, and goes on once it is let."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Request, body: dict[str, Any]) -> Run:
        self.begun.set()
        await self.go_on.wait()
        return self._runner.start(nothing)


@pytest.mark.parametrize("goes_away", [False, True])
async def test_requests_beside_the_first_are_409_and_then_get_its_answer(runner: Runner, goes_away: bool) -> None:
    held = HeldStart(runner)
    async with serving(runner, held) as client:
        first = asyncio.create_task(client.post("/runs", {}, key="one"))
        await held.begun.wait()
        assert "still being answered" in (await client.post("/runs", {}, 409, key="one"))["detail"]
        if goes_away:
            first.cancel()
            await asyncio.wait([first])
        held.go_on.set()
        await until(lambda: len(runner.runs()) == 1)
        answered = None if goes_away else await first
        again = await client.post("/runs", {}, key="one")
    assert goes_away or answered == again
    assert [run.run_id for run in runner.runs()] == [again["id"]]


async def test_a_start_whose_client_went_away_was_left_to_the_garbage_collector(runner: Runner) -> None:
    waited_for: list[weakref.ref[asyncio.Future[None]]] = []

    async def start(request: Request, body: dict[str, Any]) -> Run:
        # Nobody else has it, as the answer of a connection that is in a cycle with its protocol.
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited_for.append(weakref.ref(future))
        await future
        return runner.start(nothing)

    async with serving(runner, start) as client:
        first = asyncio.create_task(client.post("/runs", {}, key="one"))
        await until(lambda: waited_for)
        first.cancel()
        await asyncio.wait([first])
        del first
        gc.collect()
        future = waited_for[0]()
        assert future is not None
        future.set_result(None)
        await until(lambda: len(runner.runs()) == 1)


async def test_a_start_that_was_refused_may_be_tried_again(runner: Runner, gate: Gate) -> None:
    tries = 0

    def start(request: Request, body: dict[str, Any]) -> Run:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise HTTPException(429, "Too many", {"Retry-After": "7"})
        return runner.start(nothing)

    async with serving(runner, start) as client:
        answer = await client.http.post("/runs", json={}, headers={"Idempotency-Key": "one"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        await client.post("/runs", {}, key="one")


async def test_old_and_too_many_keys_are_forgotten(runner: Runner) -> None:
    async with serving(runner, idempotency_keys=2) as client:
        first = await client.post("/runs", {}, key="1")
        second = await client.post("/runs", {}, key="2")
        assert await client.post("/runs", {}, key="2") == second
        await client.post("/runs", {}, key="3")
        assert await client.post("/runs", {}, key="1") != first
    async with serving(runner, idempotency_age=1e-9) as client:
        first = await client.post("/runs", {}, key="1")
        assert await client.post("/runs", {}, key="1") != first


async def test_ids_made_of_keys_start_one_run_over_all_processes(runner: Runner) -> None:
    def start(request: Request, body: dict[str, Any]) -> Run:
        return runner.start(nothing, run_id=uuid.uuid5(uuid.NAMESPACE_URL, request.headers["idempotency-key"]))

    # Each application remembers for itself, as two processes do.
    async with serving(runner, start) as one, serving(runner, start) as other:
        first = await one.post("/runs", {}, key="key")
        assert (await other.post("/runs", {}, key="key"))["id"] == first["id"]


@pytest.mark.parametrize("side", [f"{kind}-elsewhere" for kind in KINDS], indirect=True)
async def test_a_retry_that_reached_another_process_was_refused(side: Side, gate: Gate) -> None:
    def start_in(runner: Runner) -> Any:
        return lambda request, body: runner.start(gate, run_id=request.headers["idempotency-key"])

    async with serving(side.runner, start_in(side.runner)) as one, serving(side.asked, start_in(side.asked)) as other:
        first = await one.post("/runs", {}, key="key")
        again = await other.post("/runs", {}, key="key")
        assert (again["id"], again["status"]) == (first["id"], "running")
        assert await other.post("/runs", {}, key="key") == again
    assert side.asked.runs() == []
    gate.opened.set()


async def test_a_key_does_not_show_a_run_that_may_not_be_read(runner: Runner) -> None:
    def start(request: Request, body: dict[str, Any]) -> Run:
        return runner.start(nothing, run_id=request.headers["idempotency-key"])

    def allow(request: Request, action: str, run_id: str | None) -> bool:
        return run_id != "secret"

    runner.start(nothing, run_id="secret", name="A secret")
    async with serving(runner, start, allow=allow) as client:
        assert "name" not in await client.post("/runs", {}, 409, key="secret")
        await client.post("/runs", {}, 409, key="secret")
        runner.start(nothing, run_id="known", name="Known")
        assert (await client.post("/runs", {}, key="known"))["name"] == "Known"


async def test_a_key_repeats_its_answer_only_to_those_who_may_start_and_read_that_run(runner: Runner) -> None:
    def start(request: Request, body: dict[str, Any]) -> Run:
        return runner.start(nothing, name="A secret")

    def allow(request: Request, action: str, run_id: str | None) -> bool:
        return action in request.headers["rights"].split()

    async with serving(runner, start, allow=allow) as client:
        client.http.headers["rights"] = "start read"
        first = await client.post("/runs", {}, key="one")
        for rights in ("start", "read"):
            client.http.headers["rights"] = rights
            refusal = await client.post("/runs", {}, 403, key="one")
            assert "secret" not in str(refusal)
            assert first["id"] not in str(refusal)
        client.http.headers["rights"] = "start read"
        assert await client.post("/runs", {}, key="one") == first
    assert len(runner.runs()) == 1


async def test_a_refusal_does_not_tell_of_a_run_in_the_way_that_may_not_be_read(runner: Runner, gate: Gate) -> None:
    def start(request: Request, body: dict[str, Any]) -> Run:
        return runner.start(nothing, **body)

    hidden = runner.start(gate, run_id="hidden", key="book")
    async with serving(runner, start, allow=lambda request, action, run_id: run_id is None) as client:
        for body in ({"key": "book"}, {"run_id": hidden.run_id}):
            refusal = await client.post("/runs", body, 409)
            assert refusal == {"detail": "A run that you may not read is in the way", "run_id": None}
    gate.opened.set()


async def test_a_body_is_not_read_before_the_start_is_allowed_nor_beyond_its_limit(runner: Runner) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"[" * 1000

    def start(request: Request, body: dict[str, Any]) -> Run:
        raise AssertionError("started although the body is too long")

    headers = {"Content-Type": "application/json"}
    async with serving(runner, start, allow=lambda *asked: False) as client:
        assert (await client.http.post("/runs", content=body(), headers=headers)).status_code == 403
        assert taken == 0
    async with serving(runner, start, max_body=5000) as client:
        assert (await client.http.post("/runs", content=body(), headers=headers)).status_code == 413
        assert taken == 6
    async with serving(runner, start) as client:
        assert (await client.http.post("/runs", content=b" " * 2**20 + b"{", headers=headers)).status_code == 413


async def test_what_is_no_json_object_is_422(runner: Runner) -> None:
    bodies = []

    async def start(request: Request, body: dict[str, Any]) -> Run:
        # As one does that checks a signature.
        assert not await request.is_disconnected()
        bodies.append((body, await request.body()))
        return runner.start(nothing)

    async with serving(runner, start) as client:
        for content in (b"[1]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000):
            answer = await client.http.post("/runs", content=content, headers={"Content-Type": "application/json"})
            assert (answer.status_code, type(answer.json()["detail"])) == (422, str), content[:10]
        # A browser sends these to another site without asking.
        for kind in ({}, {"Content-Type": "text/plain"}):
            assert (await client.http.post("/runs", content=b"{}", headers=kind)).status_code == 422
        kind = {"Content-Type": "application/vnd.example+json; charset=utf-8"}
        assert (await client.http.post("/runs", content=b'{"a": 1}', headers=kind)).status_code == 201
    assert bodies == [({"a": 1}, b'{"a": 1}')]


async def test_a_queue_that_is_full_is_429(gate: Gate) -> None:
    runner = Runner(RunManager(), max_active=1)

    def start(request: Request, body: dict[str, Any]) -> Run:
        return runner.start(gate)

    async with serving(runner, start, max_queued=1) as client:
        for _ in range(2):
            await client.post("/runs", {})
        answer = await client.http.post("/runs", json={})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    gate.opened.set()
    assert runner.shutdown(DEADLINE)


async def test_an_idle_server_where_nothing_may_be_queued_refused_every_start(gate: Gate) -> None:
    runner = Runner(RunManager(), max_active=1)

    async with serving(runner, lambda request, body: runner.start(gate), max_queued=0) as client:
        await client.post("/runs", {})
        await client.post("/runs", {}, 429)
        gate.opened.set()
        await until(lambda: runner.free_places() == 1)
        await client.post("/runs", {})
    async with serving(Runner(RunManager(), max_active=None), max_queued=0) as client:
        await client.post("/runs", {})
    assert runner.shutdown(DEADLINE)


async def test_starts_that_came_together_filled_the_queue_beyond_its_limit(gate: Gate) -> None:
    runner, begun, go_on = Runner(RunManager(), max_active=1), 0, asyncio.Event()

    async def start(request: Request, body: dict[str, Any]) -> Run:
        nonlocal begun
        begun += 1
        await go_on.wait()
        return runner.start(gate)

    async with serving(runner, start, max_queued=1) as client:
        posts = [asyncio.create_task(client.http.post("/runs", json={})) for _ in range(5)]
        await until(lambda: begun + sum(post.done() for post in posts) == 5)
        go_on.set()
        assert sorted([(await post).status_code for post in posts]) == [201, 201, 429, 429, 429]
    assert len(runner.queued()) == 1
    gate.opened.set()
    assert runner.shutdown(DEADLINE)


async def test_a_server_that_stops_or_has_no_store_is_503(runner: Runner) -> None:
    def start(request: Request, body: dict[str, Any]) -> Run:
        if "store" in body:
            raise StoreError("the disk is full")
        return runner.start(nothing)

    runner.shutdown()
    async with serving(runner, start) as client:
        assert "stopping" in (await client.post("/runs", {}, 503))["detail"]
        assert (await client.post("/runs", {"store": 1}, 503))["detail"] == "The run store cannot be used"


def test_numbers_out_of_their_bounds_are_refused(runner: Runner) -> None:
    for options in ({"idempotency_keys": 0}, {"idempotency_age": 0}, {"max_queued": -1}, {"max_body": -1}):
        with pytest.raises(ValueError, match="idempotency_keys"):
            router(runner, **options)  # type: ignore[arg-type]
