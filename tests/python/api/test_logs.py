"""A run's events as pages of JSON and as a file."""

import itertools
import json

import pytest
from genglossary_runs import RunManager
from genglossary_runs.console import log
from genglossary_runs.errors import StoreError, UnknownRunError
from genglossary_runs.runner import RunContext, Runner
from runner.support import Gate, ended

from .conftest import Side
from .support import DEADLINE, Client, make_app, until


async def test_pages_have_every_event_once(side: Side) -> None:
    def work(context: RunContext) -> None:
        for number in range(7):
            context.log(f"line {number}")

    run = ended(side.runner.start(work))
    await side.client.get(f"/runs/{run.run_id}/wait")
    events, after, pages = [], "0", 0
    while True:
        page = await side.client.get(f"/runs/{run.run_id}/log", after=after, limit=3)
        assert len(page["events"]) <= 3
        assert page["more"] is not page["ended"]
        events += page["events"]
        pages, after = pages + 1, page["next"]
        if page["ended"]:
            break
    assert pages == 3
    assert [event["data"].get("message") for event in events] == [f"line {number}" for number in range(7)] + [None]
    assert [event["name"] for event in events] == [None] * 7 + ["complete"]
    assert [int(event["id"].partition("-")[2]) for event in events] == list(range(1, 9))
    assert page["gaps"] == []
    again = await side.client.get(f"/runs/{run.run_id}/log", after=after)
    # Whoever stored where it was and comes back knows that this was the end.
    assert (again["events"], again["next"], again["more"], again["ended"]) == ([], after, False, True)


async def test_a_poll_of_an_active_run_does_not_wait(side: Side, gate: Gate) -> None:
    def work(context: RunContext) -> None:
        context.log("begun")
        gate(context)

    run = side.runner.start(work)

    async def has_begun() -> bool:
        return bool((await side.client.get(f"/runs/{run.run_id}/log"))["events"])

    await until(has_begun)
    page = await side.client.get(f"/runs/{run.run_id}/log")
    assert ([event["data"]["message"] for event in page["events"]], page["ended"]) == (["begun"], False)
    page = await side.client.get(f"/runs/{run.run_id}/log", after=page["next"])
    assert (page["events"], page["ended"], page["more"]) == ([], False, False)
    gate.opened.set()
    ended(run)


async def test_what_is_missing_is_named() -> None:
    runner = Runner(RunManager(history=3))
    client = Client(make_app(runner))

    def work(context: RunContext) -> None:
        for number in range(7):
            context.log(f"line {number}")

    run = ended(runner.start(work))
    page = await client.get(f"/runs/{run.run_id}/log")
    assert page["gaps"] == [{"from": 1, "to": 5, "missed": 5}]
    assert len(page["events"]) == 3
    await client.http.aclose()


async def test_an_event_that_looked_like_a_gap_kept_the_log_from_being_read(side: Side) -> None:
    """Or it was taken for one."""
    told = [{"gap": {"from": "Ulm", "to": "Bonn", "missed": "a bus"}}, {"gap": {"from": 1, "to": 2, "missed": 2}}]

    def work(context: RunContext) -> None:
        for event in told:
            side.runner.manager.publish(context.run_id, event)

    run = ended(side.runner.start(work))
    await side.client.get(f"/runs/{run.run_id}/wait")
    page = await side.client.get(f"/runs/{run.run_id}/log")
    assert page["gaps"] == []
    assert [event["data"] for event in page["events"][:-1]] == told


async def test_the_whole_log_is_a_file(side: Side) -> None:
    def work(context: RunContext) -> None:
        context.progress(1, 2)
        context.log("Zwei\nZeilen", level="warning", pages=3, file="a b")
        raise ValueError("no such page")

    run = ended(side.runner.start(work))
    await side.client.get(f"/runs/{run.run_id}/wait")
    answer = await side.client.http.get(f"/runs/{run.run_id}/log.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"run-{run.run_id}.log" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert lines[0].endswith(" WARNING Zwei")
    assert lines[1].endswith('        Zeilen pages=3 file="a b"')
    assert lines[2].endswith(" ERROR   ValueError: no such page")
    assert lines[-1].endswith("Run failed: ValueError: no such page")
    answer = await side.client.http.get(f"/runs/{run.run_id}/log.txt", params={"format": "jsonl"})
    assert f"run-{run.run_id}.jsonl" in answer.headers["content-disposition"]
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["name"] for event in events] == [None, None, None, "complete"]
    assert events[0]["data"]["progress_current"] == 1


async def test_a_stream_begins_after_the_query_or_the_header(side: Side) -> None:
    def work(context: RunContext) -> None:
        for number in range(3):
            context.log(f"line {number}")

    run = ended(side.runner.start(work))
    await side.client.get(f"/runs/{run.run_id}/wait")
    page = await side.client.get(f"/runs/{run.run_id}/log")
    first, second = (event["id"] for event in page["events"][:2])
    stream = await side.client.http.get(f"/runs/{run.run_id}/events")
    assert "line 0" in stream.text
    assert stream.text.rstrip().splitlines()[-2] == "event: complete"
    stream = await side.client.http.get(f"/runs/{run.run_id}/events", params={"after": first})
    assert "line 0" not in stream.text
    assert "line 1" in stream.text
    # A browser that comes back repeats the address, so the header is the newer one.
    stream = await side.client.http.get(
        f"/runs/{run.run_id}/events", params={"after": first}, headers={"Last-Event-ID": second}
    )
    assert "line 1" not in stream.text
    assert "line 2" in stream.text
    stream = await side.client.http.get(f"/runs/{run.run_id}/events", params={"after": page["next"]})
    assert stream.status_code == 204


@pytest.mark.parametrize("side", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("error", "status"), [(StoreError("/secret/runs.db is away"), 503), (UnknownRunError("it has just gone"), 404)]
)
async def test_a_run_that_the_store_does_not_tell_of_was_an_error_of_the_server(
    side: Side, gate: Gate, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """And the file of its log broke off after it had begun."""

    async def fail(*args: object, **options: object) -> None:
        raise error

    run = side.runner.start(gate)
    monkeypatch.setattr(side.runner, "asubscribe", fail)
    for part in ("log", "log.txt", "wait"):
        answer = await side.client.http.get(f"/runs/{run.run_id}/{part}")
        assert (answer.status_code, "secret" in answer.text) == (status, False), part
        assert ("retry-after" in answer.headers) == (status == 503)
    monkeypatch.undo()
    gate.opened.set()


async def test_a_stream_was_refused_in_plain_text_where_a_store_was_asked(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the text was advice for the application's author."""
    unknown = await side.client.get("/runs/nowhere/events", expected=404)
    assert unknown == {"detail": "There is no run nowhere"}
    if side.asked.manager.store is None:
        return

    async def fail(*args: object, **options: object) -> None:
        raise StoreError("/secret/runs.db is away")

    monkeypatch.setattr("genglossary_runs.sse.response._StoredStream.asked", fail)
    answer = await side.client.http.get("/runs/nowhere/events")
    assert (answer.status_code, answer.json()) == (503, {"detail": "The run store cannot be used"})
    assert "retry-after" in answer.headers


async def test_a_store_that_fell_silent_cut_a_log_short_without_a_word(
    client: Client, runner: Runner, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(context: RunContext) -> None:
        context.log("begun")
        gate(context)

    run = runner.start(work)
    assert gate.entered.wait(DEADLINE)
    monkeypatch.setattr(log, "_STORE_TIMEOUT", 0.02)
    # There are ten events, as the store says, and it gives the first.
    seqs = itertools.cycle([10, 0, 0])
    monkeypatch.setattr(log, "seq_of", lambda subscription: next(seqs))
    for query in ({}, {"format": "jsonl"}):
        answer = await client.http.get(f"/runs/{run.run_id}/log.txt", params=query)
        begun, missing = answer.text.splitlines()
        assert "begun" in begun
        assert "The rest of the log is missing" in missing
    await client.get(f"/runs/{run.run_id}/log", expected=503)
    gate.opened.set()


async def test_an_event_with_an_odd_time_spoiled_the_file(client: Client, runner: Runner) -> None:
    def work(context: RunContext) -> None:
        for time in (None, 7, {"of": "day"}):
            runner.manager.publish(context.run_id, {"message": "odd", "time": time, "level": None})

    run = ended(runner.start(work))
    answer = await client.http.get(f"/runs/{run.run_id}/log.txt")
    assert [line.split()[-1] for line in answer.text.splitlines()] == ["odd", "odd", "odd", "completed"]
