"""A run's events as pages of JSON and as a file."""

import json

from genglossary_runs import RunManager
from genglossary_runs.runner import RunContext, Runner
from runner.support import Gate, ended

from .conftest import Side
from .support import Client, make_app, until


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
    assert (again["events"], again["next"], again["more"]) == ([], after, False)


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


async def test_the_whole_log_is_a_file(side: Side) -> None:
    def work(context: RunContext) -> None:
        context.progress(1, 2)
        context.log("Zwei\nZeilen", level="warning")
        raise ValueError("no such page")

    run = ended(side.runner.start(work))
    await side.client.get(f"/runs/{run.run_id}/wait")
    answer = await side.client.http.get(f"/runs/{run.run_id}/log.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"run-{run.run_id}.log" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert lines[0].endswith(" WARNING Zwei")
    assert lines[1].endswith("        Zeilen")
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
