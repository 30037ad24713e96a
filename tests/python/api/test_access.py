"""Who may do what, what OpenAPI shows, and what is said where FastAPI is missing."""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest
from fastapi import Request
from genglossary_runs.runner import RunContext, Runner
from runner.support import ended
from stores.kinds import KINDS

from .conftest import Side
from .support import Client, make_app

REFUSED = [
    ("GET", "/runs", "list", False),
    ("GET", "/stats", "list", False),
    ("POST", "/runs", "start", False),
    ("GET", "/runs/{}", "read", True),
    ("GET", "/runs/{}/wait", "read", True),
    ("GET", "/runs/{}/events", "read", True),
    ("GET", "/runs/{}/log", "read", True),
    ("GET", "/runs/{}/log.txt", "read", True),
    ("GET", "/runs/{}/result", "read", True),
    ("POST", "/runs/{}/cancel", "cancel", True),
]


@pytest.mark.parametrize("is_async", [False, True])
async def test_every_route_asks_whether_it_may(runner: Runner, is_async: bool) -> None:
    asked: list[Any] = []

    def allow(request: Request, action: str, run_id: str | None) -> bool:
        asked.append((action, run_id))
        return False

    async def allow_later(request: Request, action: str, run_id: str | None) -> bool:
        return allow(request, action, run_id)

    def start(request: Request, body: dict[str, Any]) -> Any:
        raise AssertionError("started although that is not allowed")

    run = ended(runner.start(lambda context: "secret"))
    client = Client(make_app(runner, allow=allow_later if is_async else allow, start=start))
    for method, path, action, names_run in REFUSED:
        answer = await client.http.request(method, path.format(run.run_id))
        assert (answer.status_code, asked.pop()) == (403, (action, run.run_id if names_run else None)), path
    assert asked == []
    await client.http.aclose()


class Later:
    """What can be awaited and is no coroutine, as of code that was compiled."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self._value


async def test_an_answer_that_is_no_coroutine_allowed_everything(runner: Runner) -> None:
    run = ended(runner.start(lambda context: None))
    client = Client(make_app(runner, allow=lambda request, action, run_id: Later(action == "list")))
    assert await client.ids() == []
    await client.get(f"/runs/{run.run_id}", expected=403)
    await client.http.aclose()


async def test_a_start_that_is_no_coroutine_was_no_run(runner: Runner) -> None:
    client = Client(make_app(runner, start=lambda request, body: Later(runner.start(lambda context: None))))
    assert await client.post("/runs", {})
    await client.http.aclose()


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_list_shows_only_what_may_be_read(runner: Runner, is_async: bool) -> None:
    for number in range(3):
        for owner in "ab":
            ended(runner.start(lambda context: None, run_id=f"{owner} {number}"))

    def allow(request: Request, action: str, run_id: str | None) -> bool:
        return run_id is None or run_id.startswith(request.headers["user"])

    async def allow_later(request: Request, action: str, run_id: str | None) -> bool:
        return allow(request, action, run_id)

    client = Client(make_app(runner, allow=allow_later if is_async else allow))
    client.http.headers["user"] = "a"
    page = await client.get("/runs", limit=2)
    assert [run["id"] for run in page["runs"]] == ["a 2", "a 1"]
    # How many others there are is not said either.
    assert page["total"] is None
    page = await client.get("/runs", limit=2, after=page["next"])
    assert ([run["id"] for run in page["runs"]], page["next"]) == (["a 0"], None)
    await client.http.aclose()


@pytest.mark.parametrize("side", ["memory", *(f"{kind}-here" for kind in KINDS)], indirect=True)
async def test_a_page_asked_about_every_hidden_run(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genglossary_runs.console.listing._MOST_HIDDEN", 5)
    asked: list[str] = []

    def allow(request: Request, action: str, run_id: str | None) -> bool:
        if run_id is not None:
            asked.append(run_id)
        return run_id is None or run_id.startswith("shown")

    names = ["shown 1", *(f"hidden {n}" for n in range(12)), "shown 2", "hidden 12", "shown 3"]
    for name in names:
        ended(side.runner.start(lambda context: None, run_id=name))
    client = Client(make_app(side.runner, allow=allow))
    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while after or not pages:
        page = await client.get("/runs", limit=2, **after)
        pages.append([run["id"] for run in page["runs"]])
        after = {} if page["next"] is None else {"after": page["next"]}
        assert len(asked) <= 2 * 2 + 1 + 5
        assert page["total"] is None
        asked.clear()
    assert pages == [["shown 3", "shown 2"], [], ["shown 1"]]
    await client.http.aclose()


@pytest.mark.parametrize("side", ["memory", *(f"{kind}-here" for kind in KINDS)], indirect=True)
async def test_a_total_does_not_tell_what_is_in_hidden_runs(side: Side) -> None:
    def fail(context: RunContext) -> None:
        raise ValueError("the password is swordfish")

    for number in range(3):
        ended(side.runner.start(fail, run_id=f"hidden {number}"))
    ended(side.runner.start(lambda context: None, run_id="shown"))
    client = Client(make_app(side.runner, allow=lambda request, action, run_id: run_id is None or run_id == "shown"))
    queries: list[dict[str, Any]] = [{"q": "swordfish"}, {"q": "no run has this"}, {"q": "swordfish", "after": 2**62}]
    for query in queries:
        page = await client.get("/runs", **query)
        assert (page["runs"], page["next"], page["total"]) == ([], None, None if "after" in query else 0)
    queries = [{}, {"status": "completed"}, {"limit": 1}]
    for query in queries:
        page = await client.get("/runs", **query)
        assert ([run["id"] for run in page["runs"]], page["next"], page["total"]) == (["shown"], None, 1)
    await client.http.aclose()


async def test_openapi_shows_every_route_with_its_types(runner: Runner) -> None:
    app = make_app(runner, start=lambda request, body: runner.start(lambda context: None))
    schema = app.openapi()
    paths = {(method, path) for path, methods in schema["paths"].items() for method in methods}
    run = "/api/runs/{run_id}"
    parts = ("", "/wait", "/events", "/log", "/log.txt", "/result")
    expected = {("get", run + part) for part in parts} | {("post", run + "/cancel")}
    assert paths == expected | {("get", "/api/runs"), ("post", "/api/runs"), ("get", "/api/stats")}
    models = {"Record", "Progress", "Page", "Waited", "Log", "Event", "Gap", "Cancelled", "Stats", "Refusal"}
    assert models <= set(schema["components"]["schemas"])
    start = schema["paths"]["/api/runs"]["post"]
    assert [parameter["name"] for parameter in start["parameters"]] == ["idempotency-key"]
    assert {"201", "403", "409", "413", "422", "429", "503"} <= set(start["responses"])
    assert start["requestBody"]["content"]["application/json"]["schema"]["type"] == "object"


def test_one_sentence_says_that_fastapi_is_missing() -> None:
    script = (
        "import sys\n"
        "sys.modules['fastapi'] = None\n"
        "try:\n"
        "    import genglossary_runs.console\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == 'genglossary_runs.console needs FastAPI: pip install "genglossary-runs[console]"\n'
