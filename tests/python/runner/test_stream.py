"""A stream answers from the runner's records, whatever the manager's retention has evicted."""

import json

import httpx
import pytest
from genglossary_runs import RunManager
from genglossary_runs.errors import UnknownRunError
from genglossary_runs.runner import Runner
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .support import DEADLINE, Gate, ended, nothing, raising, until


@pytest.fixture
def forgetful() -> Runner:
    """A runner on a manager that retains nothing."""
    return Runner(RunManager(retained_runs=0))


async def ask(runner: Runner, run_id: object, last_event_id: str | None = None) -> httpx.Response:
    """What a page gets, to the end of its stream."""

    def events(request: Request) -> Response:
        try:
            return runner.stream(request.path_params["run_id"], request, heartbeat=1)
        except UnknownRunError as error:
            raise HTTPException(404) from error

    transport = httpx.ASGITransport(Starlette(routes=[Route("/{run_id}", events)]))
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(f"/{run_id}", headers=headers, timeout=DEADLINE)


def frames(text: str) -> list[dict[str, str]]:
    return [
        dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        for frame in text.split("\n\n")
        if "data: " in frame
    ]


async def test_a_run_that_was_evicted_is_answered(forgetful: Runner) -> None:
    """A page that came back waited for ever, or got 404."""
    run = ended(forgetful.start(raising(ValueError("no such page"))))
    until(lambda: forgetful.manager.terminal_event(run.run_id) is None)
    (frame,) = frames((await ask(forgetful, run.run_id)).text)
    assert frame["event"] == "complete"
    assert json.loads(frame["data"]) == run.terminal_event
    again = await ask(forgetful, run.run_id, frame["id"])
    assert (again.status_code, again.text) == (204, "")


async def test_a_page_that_had_received_the_end_got_it_again(forgetful: Runner, gate: Gate) -> None:
    """The runner's record of the end has another id."""
    run = forgetful.start(gate)
    page = forgetful.subscribe(run.run_id)
    gate.opened.set()
    assert [event["status"] for event in page] == ["completed"]
    until(lambda: forgetful.manager.terminal_event(run.run_id) is None)
    assert run.wait(DEADLINE)
    assert (await ask(forgetful, run.run_id, page.last_event_id)).status_code == 204
    assert forgetful.subscribe(run.run_id, page.last_event_id).ended


@pytest.mark.parametrize("finished_runs", [0, 1])
def test_the_events_of_an_evicted_run_were_waited_for_for_ever(finished_runs: int) -> None:
    runner = Runner(RunManager(retained_runs=0), finished_runs=finished_runs)
    run = ended(runner.start(lambda context: context.log("line")))
    until(lambda: runner.manager.terminal_event(run.run_id) is None)
    # As a page that waits for the run by itself.
    with runner.manager.subscribe(run.run_id, "0"):
        assert run.events().get(timeout=DEADLINE) == run.terminal_event
    assert run.events(run._last_event_id).ended


async def test_a_page_of_the_run_itself_is_answered(forgetful: Runner) -> None:
    run = ended(forgetful.start(nothing))
    until(lambda: forgetful.manager.terminal_event(run.run_id) is None)
    # A reader that waited for the run by itself has made an entry, which is no run.
    with forgetful.manager.subscribe(run.run_id, "0"):
        (frame,) = frames((await ask(forgetful, run.run_id, "123-4")).text)
    assert json.loads(frame["data"])["status"] == "completed"


async def test_a_run_that_is_retained_is_answered_with_all_of_it() -> None:
    manager = RunManager()
    runner = Runner(manager)
    run = ended(runner.start(lambda context: context.log("line")))
    first, last = frames((await ask(runner, run.run_id)).text)
    assert json.loads(first["data"])["message"] == "line"
    assert last["event"] == "complete"


async def test_an_unknown_run_is_refused(forgetful: Runner) -> None:
    assert (await ask(forgetful, "nobody")).status_code == 404


def test_a_run_of_the_manager_alone_is_streamed(forgetful: Runner) -> None:
    forgetful.manager.open_run(7)
    with pytest.raises(UnknownRunError):
        forgetful.stream(8)
    assert forgetful.stream(7).status_code == 200
    forgetful.manager.finish_run(7, {"complete": True})


def test_a_run_that_was_started_again_had_the_outcome_of_its_first_life() -> None:
    runner = Runner(RunManager(retained_runs=0), finished_runs=1)
    for work, status in ((raising(ValueError("no such page")), "failed"), (nothing, "completed")):
        run = ended(runner.start(work, run_id="nightly"))
        for _ in range(2):
            assert runner.subscribe(run.run_id).get(timeout=DEADLINE)["status"] == status
        ended(runner.start(nothing))
        until(lambda: runner.get("nightly") is None)


def test_records_that_went_are_unknown() -> None:
    runner = Runner(RunManager(retained_runs=0), finished_runs=1)
    first = runner.start(nothing)
    assert first.wait(DEADLINE)
    ended(runner.start(nothing))
    until(lambda: runner.get(first.run_id) is None)
    with pytest.raises(UnknownRunError):
        runner.stream(first.run_id)
