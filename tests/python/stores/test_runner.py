"""A runner whose manager has a store: records outlive the process, keys are unique, cancels reach all."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from api.support import Client, make_app
from genglossary_runs import RedisStore, RunManager
from genglossary_runs.errors import UnknownRunError
from genglossary_runs.runner import AlreadyRunningError, Run, RunContext, RunExistsError, Runner
from runner.support import Gate, ended

from .servers import RedisServer
from .support import DEADLINE, INTERRUPTED, Place, Refused, read_to_end, wait_until


def test_a_record_outlives_the_run(place: Place) -> None:
    runner = Runner(place.manager(), finished_runs=0)
    run = runner.start(lambda context: {"pages": 3}, key="book")
    assert run.wait(30)
    assert runner.get(run.run_id) is None
    found = Runner(place.manager()).find(run.run_id)
    assert found is not None
    assert (found.run_id, found.key, found.status) == (run.run_id, "book", "completed")
    assert (found.error, found.result) == (None, {"pages": 3})
    assert found.finished_at is not None
    assert found.started_at <= found.finished_at
    assert [event["status"] for _, event in read_to_end(found.events())] == ["completed"]
    assert runner.find("unknown") is None


def test_a_result_without_a_json_form_is_left_out_of_the_record(place: Place) -> None:
    runner = Runner(place.manager())
    for result in (object(), float("nan"), "x" * 2_000_000):
        run = runner.start(lambda context, result=result: result)
        assert run.wait(30)
        found = runner.find(run.run_id)
        assert found is not None
        assert (found.status, found.result) == ("completed", None)


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_a_result_that_cannot_be_written_kept_its_run_from_ending(place: Place, error: type[BaseException]) -> None:
    class Vast(dict[str, int]):
        def items(self) -> Any:
            raise error

    runner = Runner(place.manager())
    run = ended(runner.start(lambda context: Vast(pages=3)))
    found = runner.find(run.run_id)
    assert found is not None
    assert (run.status, found.status, found.result) == ("completed", "completed", None)


def test_a_result_that_cannot_be_read_back_spoils_no_list(place: Place) -> None:
    runner = Runner(place.manager())
    deep: list[object] = []
    for _ in range(250):
        deep = [deep]
    for result, kept in (({"file": "r \udcff.pdf"}, {"file": "r \ufffd.pdf"}), (deep, None)):
        run = runner.start(lambda context, result=result: result)
        assert run.wait(30)
        assert [found.result for found in runner.history(limit=1)] == [kept]
        found = runner.find(run.run_id)
        assert found is not None
        assert found.result == kept


def test_a_list_tells_the_kinds_of_results_that_it_does_not_read(place: Place) -> None:
    runner = Runner(place.manager())
    results = {"json": {"pages": 3}, "text": "https://example.org/a b", "link": "HTTPS://example.org/用語", None: None}
    for result in results.values():
        assert runner.start(lambda context, result=result: result).wait(30)
    listed = runner.history(with_results=False)[::-1]
    assert [run.result_kind for run in listed] == list(results)
    assert [run.result for run in listed] == [None] * len(results)
    for run, result in zip(listed, results.values(), strict=True):
        found, without = runner.find(run.run_id), runner.find(run.run_id, with_result=False)
        assert found is not None
        assert without is not None
        assert (found.result, without.result) == (result, None)
        assert found.result_kind == without.result_kind == run.result_kind
    assert [run.result for run in runner.history()[::-1]] == list(results.values())


def test_a_result_that_is_no_json_is_left_out(place: Place) -> None:
    manager = place.manager()
    for run_id, result in enumerate(("{", '"https://example.org', "", "nothing"), start=1):
        manager.open_run(run_id)
        manager.finish_run(run_id, {"complete": True}, result=result)
        record = manager.run_record(run_id)
        assert record is not None
        assert (record["status"], record["result"], record["result_kind"]) == ("finished", None, None)


def test_a_failure_is_recorded(place: Place) -> None:
    runner = Runner(place.manager())

    def work(context: RunContext) -> None:
        raise ValueError("no such page")

    run = runner.start(work)
    assert run.wait(30)
    found = runner.find(run.run_id)
    assert found is not None
    assert (found.status, found.error) == ("failed", run.error)


def test_history_comes_newest_first_by_key_by_status_and_in_pages(place: Place) -> None:
    runner = Runner(place.manager())
    ids = []
    for number in range(5):
        run = runner.start(lambda context: None, key=f"key {number % 2}")
        assert run.wait(30)
        ids.append(run.run_id)
    page = runner.history(limit=2)
    assert [run.run_id for run in page] == ids[:2:-1]
    assert [run.run_id for run in runner.history(before=page[-1].fence)] == ids[2::-1]
    assert [run.run_id for run in runner.history(key="key 0")] == ids[::-2]
    assert runner.history(status="failed") == []


def test_a_key_is_unique_over_processes(place: Place) -> None:
    runner, other = Runner(place.manager()), place.worker()
    other.ask("open", 7, "book")
    with pytest.raises(AlreadyRunningError) as refused:
        runner.start(lambda context: None, key="book")
    assert (refused.value.key, refused.value.run_id, refused.value.run) == ("book", 7, None)
    other.ask("finish", 7, {})
    wait_until(lambda: runner.find(7).status != "running")  # type: ignore[union-attr]
    go = threading.Event()
    run = runner.start(lambda context: go.wait(30), key="book")
    with pytest.raises(Refused, match="book"):
        other.ask("open", 8, "book")
    go.set()
    assert run.wait(30)
    # Its end is stored before the next start of this process.
    assert runner.start(lambda context: None, key="book").wait(30)


@pytest.mark.parametrize("if_active", ["wait", "replace"])
def test_a_start_that_was_to_wait_was_refused_while_the_run_before_it_ended(
    place: Place, if_active: Literal["wait", "replace"]
) -> None:
    """The key was free in the queue, and not yet in the store."""
    gate = Gate()

    class Slow(dict[str, int]):
        def items(self) -> Any:
            gate.entered.set()
            assert gate.opened.wait(DEADLINE)
            return super().items()

    runner = Runner(place.manager())
    first = runner.start(lambda context: Slow(pages=3), key="book")
    assert gate.entered.wait(DEADLINE)
    second = runner.start(lambda context: "second", key="book", if_active=if_active)
    gate.opened.set()
    assert [ended(run).result for run in (first, second)] == [{"pages": 3}, "second"]


def test_a_key_has_to_be_a_text(place: Place) -> None:
    runner = Runner(place.manager())
    with pytest.raises(TypeError, match="with a store a key is a str"):
        runner.start(lambda context: None, key=("a", 1))
    assert runner.runs() == []


def test_an_id_that_the_store_knows_is_refused(place: Place) -> None:
    other = place.worker()
    other.ask("open", 7, None)
    other.ask("finish", 7, {})
    runner = Runner(place.manager())
    wait_until(lambda: runner.find(7).status != "running")  # type: ignore[union-attr]
    with pytest.raises(RunExistsError):
        runner.start(lambda context: None, run_id=7)


async def test_a_run_of_another_process_is_found_and_cancelled(place: Place) -> None:
    runner, other = Runner(place.manager()), place.worker()
    other.ask("open", 7, None)
    found = await runner.afind(7)
    assert found is not None
    assert found.status == "running"
    assert [run.run_id for run in await runner.ahistory()] == [7]
    assert await runner.acancel(7)
    assert other.ask("cancelled", 30.0)[0]
    assert not runner.cancel(8)


def test_a_cancel_reached_only_the_old_work_of_an_id_that_runs_again_elsewhere(place: Place) -> None:
    runner, other, gate = Runner(place.manager()), place.worker(), Gate()
    run = runner.start(gate, run_id=7)
    assert gate.entered.wait(DEADLINE)
    other.ask("finish", 7, {})
    other.ask("open", 7, None)
    wait_until(lambda: not runner.manager.is_active(7))
    assert runner.cancel(7)
    assert other.ask("cancelled", 30.0)[0]
    gate.opened.set()
    assert ended(run).cancel_requested


def test_a_run_whose_process_was_killed_has_failed(place: Place) -> None:
    other = place.worker()
    other.ask("open", 7, None)
    other.kill()
    runner = Runner(place.manager())
    wait_until(lambda: not place.lease or runner.find(7).status != "running")  # type: ignore[union-attr]
    found = runner.find(7)
    assert found is not None
    assert (found.status, found.error) == ("failed", INTERRUPTED)


async def test_a_run_that_the_store_had_evicted_was_404_although_its_runner_knew_the_end(tmp_path: Path) -> None:
    runner = Runner(Place("sqlite", str(tmp_path), max_runs=1).manager(retained_runs=0))
    run = ended(runner.start(lambda context: None))
    stored = runner.find(run.run_id)
    assert stored is not None
    ended(runner.start(lambda context: None))
    wait_until(lambda: runner.find(run.run_id) is None)
    client = Client(make_app(runner))
    answer = await client.http.get(f"/runs/{run.run_id}/events")
    assert (answer.status_code, answer.text.count("event: complete")) == (200, 1)
    after = {"Last-Event-ID": run._last_event_id or ""}
    assert (await client.http.get(f"/runs/{run.run_id}/events", headers=after)).status_code == 204
    assert (await client.http.get("/runs/unknown/events")).status_code == 404
    assert run.events().get(timeout=DEADLINE) == run.terminal_event
    # Which waited for the run to be opened.
    with pytest.raises(UnknownRunError):
        stored.events()
    await client.http.aclose()


# While the store is away


class Away:
    """A run that has begun, on a store that has stopped answering since."""

    def __init__(self, server: RedisServer) -> None:
        self.gate = Gate()
        self.contexts: list[RunContext] = []
        self.runner = Runner(RunManager(store=RedisStore(server.url)))
        self.run: Run = self.runner.start(self.work)
        assert self.gate.entered.wait(DEADLINE)
        server.signal(signal.SIGSTOP)

    def work(self, context: RunContext) -> None:
        self.contexts.append(context)
        self.gate(context)
        context.log("odd", pages=[1, 2], value=object())


@pytest.fixture
def away(redis_server: Callable[..., RedisServer]) -> Iterator[Away]:
    server = redis_server()
    away = Away(server)
    yield away
    away.gate.opened.set()
    server.signal(signal.SIGCONT)
    # Or what is not stored would keep the process from ending.
    wait_until(lambda: away.runner.manager.stats()["store"]["owned_runs"] == 0)


def test_an_odd_value_and_a_late_message_waited_for_the_store(away: Away) -> None:
    """Each field of the message waited, and became its repr; the late message raised."""
    reader = away.run.events()
    away.gate.opened.set()
    ended(away.run)
    away.contexts[0].log("late")
    away.contexts[0].progress(1, 2)
    odd, terminal = [event for _, event in read_to_end(reader)]
    assert (odd["message"], odd["pages"], odd["value"][:7]) == ("odd", [1, 2], "<object")
    assert terminal["status"] == "completed"


def test_the_end_of_a_run_that_others_had_finished_waited_for_the_store(
    away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    away.runner.manager.finish_run(away.run.run_id, {"complete": True})
    away.gate.opened.set()
    assert ended(away.run).status == "completed"
    assert away.runner.shutdown(0)
    assert "may not be told" not in caplog.text


def test_a_cancel_of_a_run_that_has_ended_asked_the_store(away: Away) -> None:
    """In a shutdown it kept the other runs from being cancelled, and on an event loop it blocked that."""
    away.gate.opened.set()
    ended(away.run)
    assert not away.run.cancel()

    async def cancel() -> float:
        """How long the loop is kept from others."""
        began = time.monotonic()
        cancelling = asyncio.ensure_future(away.runner.acancel(away.run.run_id))
        await asyncio.sleep(0)
        blocked = time.monotonic() - began
        cancelling.cancel()
        await asyncio.wait([cancelling])
        return blocked

    assert asyncio.run(cancel()) < 3
    assert away.runner.shutdown(DEADLINE)
