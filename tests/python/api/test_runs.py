"""One run: shown, waited for, cancelled, and its result, wherever it is executed."""

import asyncio
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from genglossary_runs import RunManager
from genglossary_runs.runner import RunContext, Runner
from runner.support import Gate, ended, until_cancelled

from .conftest import Side
from .support import DEADLINE, Client, make_app, until


async def test_a_run_is_shown_while_it_runs(side: Side) -> None:
    opened = threading.Event()

    def work(context: RunContext) -> None:
        context.progress(3, 10, step="reading")
        context.log("Three pages read")
        assert opened.wait(DEADLINE)

    run = side.runner.start(work, key="book", name="Read a book")
    try:

        async def shown() -> bool:
            record = await side.client.get(f"/runs/{run.run_id}")
            return bool(record["message"] == "Three pages read")

        await until(shown)
        record = await side.client.get(f"/runs/{run.run_id}")
    finally:
        opened.set()
    assert record["progress"] == {"step": "reading", "current": 3, "total": 10}
    assert (record["id"], record["key"], record["status"]) == (run.run_id, "book", "running")
    assert (record["finished"], record["error"], record["result_kind"]) == (None, None, None)
    assert (record["name"], record["owner"]) == ("Read a book", run.owner)
    assert record["local"] is not side.is_elsewhere
    assert abs((datetime.fromisoformat(record["started"]) - run.started_at).total_seconds()) < DEADLINE


async def test_a_failure_is_shown_with_its_traceback_and_how_far_it_came(side: Side) -> None:
    def work(context: RunContext) -> None:
        context.progress(1, 2)
        raise ValueError("no such page")

    run = ended(side.runner.start(work))
    record = await side.client.get(f"/runs/{run.run_id}/wait")
    assert record["ended"]
    assert (record["status"], record["error"]) == ("failed", "ValueError: no such page")
    assert "in work" in record["traceback"]
    assert record["progress"] == {"step": None, "current": 1, "total": 2}
    assert record["duration"] >= 0
    assert record["finished"] is not None


async def test_texts_with_lone_surrogates_are_shown(side: Side) -> None:
    def work(context: RunContext) -> None:
        context.progress(1, 2, step="page \udcff")
        context.log("report \udcff.pdf")

    key = "key \ud800" if side.runner.manager.store is None else None
    run = ended(side.runner.start(work, key=key, name="name \udcff"))
    record = await side.client.get(f"/runs/{run.run_id}/wait")
    assert record["message"] == "report \ufffd.pdf"
    assert record["progress"]["step"] == "page \ufffd"
    assert record["key"] == (None if key is None else "key \ufffd")
    assert record["name"] == "name \ufffd"
    assert await side.client.get(f"/runs/{run.run_id}")
    assert await side.client.ids() == [run.run_id]


async def test_progress_that_no_float_can_hold_is_shown(side: Side) -> None:
    def work(context: RunContext) -> None:
        context.progress(10**400, 10**401)

    run = ended(side.runner.start(work))
    progress = (await side.client.get(f"/runs/{run.run_id}/wait"))["progress"]
    assert progress["current"] == progress["total"] == sys.float_info.max
    assert await side.client.ids() == [run.run_id]


async def test_results_with_lone_surrogates_are_answered(client: Client, runner: Runner) -> None:
    def work(result: str) -> Callable[[RunContext], str]:
        def give(context: RunContext) -> str:
            return result

        return give

    text = ended(runner.start(work("report \udcff.pdf")))
    link = ended(runner.start(work("https://example.com/\udcff")))
    answer = await client.http.get(f"/runs/{text.run_id}/result")
    assert (answer.status_code, answer.text) == (200, "report \ufffd.pdf")
    answer = await client.http.get(f"/runs/{link.run_id}/result")
    assert (answer.status_code, answer.headers["location"]) == (307, "https://example.com/%EF%BF%BD")


async def test_a_wait_ends_with_the_run(side: Side, gate: Gate) -> None:
    run = side.runner.start(gate)
    waiting = asyncio.create_task(side.client.get(f"/runs/{run.run_id}/wait", timeout=DEADLINE))
    await until(gate.entered.is_set)
    gate.opened.set()
    record = await waiting
    assert (record["ended"], record["status"]) == (True, "completed")


async def test_a_run_that_no_handle_was_kept_of_was_unknown_to_who_waited_for_its_end(gate: Gate) -> None:
    runner = Runner(RunManager(), finished_runs=0)
    client = Client(make_app(runner))
    run = runner.start(gate)
    waiting = asyncio.create_task(client.get(f"/runs/{run.run_id}/wait", timeout=DEADLINE))
    await until(lambda: runner.manager.stats()["subscribers"])
    gate.opened.set()
    record = await waiting
    assert (record["ended"], record["status"]) == (True, "completed")
    await client.http.aclose()


async def test_a_wait_ends_when_its_time_is_over(side: Side, gate: Gate) -> None:
    run = side.runner.start(gate)
    record = await side.client.get(f"/runs/{run.run_id}/wait", timeout=0.01)
    assert (record["ended"], record["status"], record["finished"]) == (False, "running", None)
    gate.opened.set()


async def test_a_cancel_reaches_the_run(side: Side) -> None:
    run = side.runner.start(until_cancelled)
    assert await side.client.post(f"/runs/{run.run_id}/cancel", expected=202) == {"cancelled": True}
    record = await side.client.get(f"/runs/{run.run_id}/wait")
    assert (record["status"], record["cancel_requested"]) == ("cancelled", True)
    assert await side.client.post(f"/runs/{run.run_id}/cancel", expected=202) == {"cancelled": False}


async def test_unknown_runs_are_404(side: Side) -> None:
    for path in ("", "/wait", "/log", "/log.txt", "/result"):
        await side.client.get(f"/runs/nowhere{path}", expected=404)
    await side.client.post("/runs/nowhere/cancel", expected=404)
    answer = await side.client.http.get("/runs/nowhere/events")
    assert answer.status_code == 404


async def test_results_are_json_text_or_a_link(side: Side) -> None:
    for result, kind in (({"pages": [1, 2]}, "json"), ("two pages", "text"), ("https://example.org/7", "link")):
        run = ended(side.runner.start(lambda context, result=result: result))
        record = await side.client.get(f"/runs/{run.run_id}/wait")
        assert record["result_kind"] == kind
        answer = await side.client.http.get(f"/runs/{run.run_id}/result")
        if kind == "link":
            assert (answer.status_code, answer.headers["location"]) == (307, result)
        else:
            assert answer.status_code == 200
            assert (answer.json() if kind == "json" else answer.text) == result
    run = ended(side.runner.start(lambda context: None))
    await side.client.get(f"/runs/{run.run_id}/result", expected=404)


async def test_a_result_that_is_not_there_yet_is_409(client: Client, runner: Runner, gate: Gate) -> None:
    run = runner.start(gate)
    await client.get(f"/runs/{run.run_id}/result", expected=409)
    gate.opened.set()


async def test_a_result_is_written_as_json_if_that_can_be(client: Client, runner: Runner) -> None:
    run = ended(runner.start(lambda context: {"path": Path("a/b"), "set": {1}, "none": float("nan")}))
    assert await client.get(f"/runs/{run.run_id}/result") == {"path": "a/b", "set": [1], "none": None}
    run = ended(runner.start(lambda context: object()))
    refusal = await client.get(f"/runs/{run.run_id}/result", expected=406)
    assert "object" in refusal["detail"]


async def test_a_link_that_a_browser_would_execute_is_a_text(client: Client, runner: Runner) -> None:
    run = ended(runner.start(lambda context: "javascript:alert(1)"))
    answer = await client.http.get(f"/runs/{run.run_id}/result")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")


async def test_an_id_may_have_slashes_and_spaces(client: Client, runner: Runner) -> None:
    run = ended(runner.start(lambda context: None, run_id="import/of 7 日"))
    record = await client.get("/runs/import%2Fof%207%20%E6%97%A5")
    assert record["id"] == run.run_id
    log = await client.get("/runs/import%2Fof%207%20%E6%97%A5/log")
    assert log["ended"]
    answer = await client.http.get("/runs/import%2Fof%207%20%E6%97%A5/log.txt")
    assert answer.headers["content-disposition"].isascii()


async def test_a_number_is_found_as_the_text_it_is_shown_as(client: Client, runner: Runner) -> None:
    ended(runner.start(lambda context: None, run_id=2**62))
    assert (await client.get(f"/runs/{2**62}"))["id"] == str(2**62)


async def test_a_run_that_the_manager_has_evicted_is_still_waited_for_and_read() -> None:
    runner = Runner(RunManager(retained_runs=0))
    client = Client(make_app(runner))
    run = ended(runner.start(lambda context: "done"))
    assert (await client.get(f"/runs/{run.run_id}/wait"))["status"] == "completed"
    log = await client.get(f"/runs/{run.run_id}/log")
    assert [event["name"] for event in log["events"]] == ["complete"]
    await client.http.aclose()
