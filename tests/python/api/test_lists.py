"""Lists: pages, filters, search, the queue, and what a store has besides."""

import os
import threading
from typing import Any

import pytest
from genglossary_runs import RunManager, StoreError
from genglossary_runs.runner import RunContext, Runner
from runner.support import Gate, ended, until_cancelled
from stores.kinds import KINDS

from .conftest import Side
from .support import DEADLINE, Client, make_app, until


def failing(context: RunContext) -> None:
    raise ValueError("no such page")


async def test_the_newest_come_first_and_in_pages(side: Side) -> None:
    runs = [ended(side.runner.start(lambda context: None)) for _ in range(5)]
    newest_first = [run.run_id for run in reversed(runs)]
    assert await side.client.ids() == newest_first
    seen, after = [], None
    while True:
        page = await side.client.get("/runs", limit=2, **({} if after is None else {"after": after}))
        seen += [run["id"] for run in page["runs"]]
        after = page["next"]
        if after is None:
            break
    assert seen == newest_first


async def test_lists_by_status_key_and_text(side: Side) -> None:
    good = ended(side.runner.start(lambda context: None, key="Atlas"))
    bad = ended(side.runner.start(failing, key="Bible"))
    stopped = side.runner.start(until_cancelled, key="Atlas")
    active = side.runner.start(until_cancelled, key="Codex")
    stopped.cancel()
    ended(stopped)

    async def recorded() -> bool:
        return await side.client.ids(status="running") == [active.run_id]

    await until(recorded)
    assert await side.client.ids(status="failed") == [bad.run_id]
    assert await side.client.ids(status=["failed", "completed"]) == [bad.run_id, good.run_id]
    assert await side.client.ids(key="Atlas") == [stopped.run_id, good.run_id]
    assert await side.client.ids(key="Atlas", status="cancelled") == [stopped.run_id]
    assert await side.client.ids(q="SUCH PAGE") == [bad.run_id]
    assert await side.client.ids(q="bib") == [bad.run_id]
    assert await side.client.ids(q=str(active.run_id)[:13]) == [active.run_id]
    assert await side.client.ids(q="UNTIL_canc") == [active.run_id, stopped.run_id]
    assert await side.client.ids(q="nothing has this") == []
    await side.client.get("/runs", expected=422, status="odd")


@pytest.mark.parametrize("side", ["memory", *(f"{kind}-here" for kind in KINDS)], indirect=True)
async def test_a_page_after_a_number_that_no_run_has_is_refused(side: Side) -> None:
    for after in (-1, 2**63, 10**30):
        await side.client.get("/runs", expected=422, after=after)
    assert await side.client.ids(after=2**63 - 1) == []


async def test_the_total_counts_all_pages(client: Client, runner: Runner) -> None:
    for _ in range(3):
        ended(runner.start(lambda context: None))
    ended(runner.start(failing))
    page = await client.get("/runs", limit=1)
    assert (len(page["runs"]), page["total"]) == (1, 4)
    assert (await client.get("/runs", limit=1, status="completed"))["total"] == 3
    assert (await client.get("/runs", limit=1, after=page["next"]))["total"] == 4


async def test_a_name_and_a_key_that_are_no_text_spoiled_every_list(client: Client, runner: Runner) -> None:
    class Odd:
        def __bool__(self) -> bool:
            raise ValueError

        __str__ = __bool__  # type: ignore[assignment]

    run = ended(runner.start(lambda context: None, name=7, key=Odd()))  # type: ignore[arg-type]
    assert await client.ids(q="odd") == await client.ids() == [run.run_id]
    assert (await client.get(f"/runs/{run.run_id}"))["name"] == "7"
    ended(runner.start(lambda context: None, key=0))
    assert len(await client.ids(key="0")) == 1


async def test_an_id_that_was_subscribed_to_before_its_run_started_hid_others(client: Client, runner: Runner) -> None:
    with runner.manager.subscribe("early"):
        ended(runner.start(lambda context: None, run_id="first"))
        ended(runner.start(lambda context: None, run_id="early"))
    page = await client.get("/runs", limit=1)
    rest = await client.get("/runs", after=page["next"])
    assert {run["id"] for run in page["runs"] + rest["runs"]} == {"first", "early"}


async def test_queued_runs_have_their_position(gate: Gate) -> None:
    runner = Runner(RunManager(), max_active=1)
    client = Client(make_app(runner))
    runs = [runner.start(gate) for _ in range(3)]
    page = await client.get("/runs")
    assert [(run["status"], run["queue_position"]) for run in page["runs"]] == [
        ("queued", 2),
        ("queued", 1),
        ("running", None),
    ]
    assert await client.ids(status="queued") == [runs[2].run_id, runs[1].run_id]
    assert (await client.get(f"/runs/{runs[2].run_id}"))["queue_position"] == 2
    gate.opened.set()
    assert runner.shutdown(DEADLINE)
    await client.http.aclose()


async def test_progress_of_another_process_is_listed(side: Side) -> None:
    opened = threading.Event()

    def work(context: RunContext) -> None:
        context.progress(1, 2, step="reading")
        assert opened.wait(DEADLINE)

    side.runner.start(work)

    async def listed() -> bool:
        page = await side.client.get("/runs")
        return bool(page["runs"][0]["progress"] == {"step": "reading", "current": 1, "total": 2})

    try:
        await until(listed)
    finally:
        opened.set()


@pytest.mark.parametrize("side", [f"{kind}-elsewhere" for kind in KINDS], indirect=True)
async def test_a_run_of_the_same_id_in_another_process_is_not_taken_for_the_one_of_this(side: Side) -> None:
    ended(side.runner.start(failing, run_id="again"))
    await side.client.get("/runs/again/wait")
    first = await side.client.get("/runs")
    side.runner.manager.open_run("again")
    second = await side.client.get("/runs/again")
    assert (first["runs"][0]["status"], second["status"]) == ("failed", "running")
    side.runner.manager.finish_run("again", {"status": "completed"})


@pytest.mark.parametrize("side", [f"{kind}-here" for kind in KINDS], indirect=True)
async def test_a_store_that_fails_leaves_the_runs_of_this_process(
    side: Side, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    run = side.runner.start(gate)

    async def fail(*args: object, **options: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(side.runner, "ahistory", fail)
    monkeypatch.setattr(side.runner, "afind", fail)
    page = await side.client.get("/runs")
    assert [listed["id"] for listed in page["runs"]] == [run.run_id]
    assert page["store_error"] == "The run store cannot be used"
    assert (await side.client.get(f"/runs/{run.run_id}"))["status"] == "running"
    assert (await side.client.get("/runs/elsewhere", expected=503))["detail"] == "The run store cannot be used"
    gate.opened.set()


@pytest.mark.parametrize("side", ["sqlite-here"], indirect=True)
async def test_stats_told_where_the_store_is_that_fails(side: Side) -> None:
    class Failing(RunManager):
        def stats(self) -> Any:
            stats = super().stats()
            stats["store"]["error"] = "/secret/runs.db: disk I/O error"
            return stats

    client = Client(make_app(Runner(Failing(store=side.runner.manager.store))))
    assert (await client.get("/stats"))["store"]["error"] == "The run store cannot be used"
    await client.http.aclose()


async def test_stats_tell_what_is_held(side: Side, gate: Gate) -> None:
    run = side.runner.start(gate)
    stats = await side.client.get("/stats")
    assert set(stats) == {"process", "runs", "manager", "streams", "store"}
    assert stats["process"] == str(os.getpid())
    assert stats["runs"]["running"] == (0 if side.is_elsewhere else 1)
    assert (stats["store"] is None) == (side.runner.manager.store is None)
    if stats["store"] is not None:
        # Where it is, is nobody's business but the server's.
        assert set(stats["store"]) >= {"error", "runs", "bytes"}
        assert not {"path", "address", "project", "url"} & set(stats["store"])
    gate.opened.set()
    ended(run)
