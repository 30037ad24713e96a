"""The console as an ASGI application: where it can be mounted, what it refuses, what it says."""

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from genglossary_runs import RunManager
from genglossary_runs.console import console
from genglossary_runs.console.page import STATIC
from genglossary_runs.runner import Run, Runner
from starlette.types import ASGIApp


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(RunManager())
    yield runner
    assert runner.shutdown(30)


class Client:
    """Asks an application on loops of another thread: Playwright's may be running in this one."""

    def __init__(self, app: ASGIApp, host: str, client: str, root_path: str) -> None:
        self._app, self._host, self._client, self._root_path = app, host, client, root_path

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._ask("GET", path, options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._ask("POST", path, options)

    def _ask(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(self._client, 1), root_path=self._root_path)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{self._host}") as client:
                return await client.request(method, path, **options)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(ask())).result()


def client_of(app: ASGIApp, host: str = "127.0.0.1", client: str = "127.0.0.1", root_path: str = "") -> Client:
    return Client(app, host, client, root_path)


def start_in(runner: Runner) -> Any:
    def start(request: object, body: dict[str, Any]) -> Run:
        return runner.start(lambda context: "done", name="work")

    return start


# Where it is mounted


@pytest.mark.parametrize(("path", "root_path"), [("", ""), ("/runs", ""), ("/a/b", "/behind/a/proxy")])
def test_it_can_be_mounted_anywhere(runner: Runner, path: str, root_path: str) -> None:
    app: Any = console(runner, title="Runs & more")
    if path:
        outer = FastAPI()
        outer.mount(path, app)
        app = outer
    # Servers put the root path before the path.
    path = root_path + path
    client = client_of(app, root_path=root_path)
    page = client.get(f"{path}/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<title>Runs &amp; more</title>" in page.text
    # All links are relative, so that whatever is before the path does not matter.
    links = re.findall(r'(?:href|src)="([^"]*)"', page.text)
    files = [link for link in links if link.startswith("static/")]
    assert not [link for link in links if link.startswith(("/", "http"))]
    assert len(files) > 20
    for file in files:
        assert client.get(f"{path}/{file}").status_code == 200
    assert client.get(f"{path}/api/runs").json()["runs"] == []


def test_the_address_without_a_slash_leads_to_the_page(runner: Runner) -> None:
    app = FastAPI()
    app.mount("/runs", console(runner))
    client = client_of(app)
    assert client.get("/runs", follow_redirects=True).status_code == 200


def test_nothing_outside_of_the_page_is_served(runner: Runner) -> None:
    client = client_of(console(runner))
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/docs", "/redoc"):
        assert client.get(path).status_code == 404


# What it refuses


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "10.0.0.9"])
def test_it_answers_to_addresses_and_localhost(runner: Runner, host: str) -> None:
    client = client_of(console(runner))
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "", "[", "[::1", "a b", "127.1.x"]
)
def test_it_answers_to_no_name_that_a_foreign_site_could_point_here(runner: Runner, host: str) -> None:
    client = client_of(console(runner))
    response = client.get("/api/stats", headers={"Host": host})
    assert (response.status_code, "manager" in response.json()) == (403, False)


def test_it_answers_to_the_names_it_is_given(runner: Runner) -> None:
    client = client_of(console(runner, hosts=["Runs.example"]))
    assert client.get("/", headers={"Host": "runs.example:80"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost"}).status_code == 200
    assert client.get("/", headers={"Host": "example"}).status_code == 403


def test_where_the_application_decides_who_asks_any_name_will_do(runner: Runner) -> None:
    allow = lambda request, action, run_id: action == "list"  # noqa: E731
    client = client_of(console(runner, allow=allow, start=start_in(runner)), "runs.example")
    assert client.get("/api/runs").status_code == 200
    assert client.post("/api/runs", json={}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this host
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    ],
)
def test_other_sites_change_nothing(runner: Runner, headers: dict[str, str]) -> None:
    run = runner.start(lambda context: context.cancel_event.wait())
    client = client_of(console(runner, start=start_in(runner)))
    for path in ("/api/runs", f"/api/runs/{run.run_id}/cancel"):
        response = client.post(path, json={}, headers=headers)
        assert response.status_code == 403
        assert response.json() == {"detail": "Other sites may not change anything here"}
    assert runner.runs() == [run]
    assert not run.cancel_requested


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"},
        # Behind a proxy that names the server as it reaches it.
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://runs.example"},
    ],
)
def test_its_own_page_and_other_clients_do(runner: Runner, headers: dict[str, str]) -> None:
    client = client_of(console(runner, start=start_in(runner)))
    assert client.post("/api/runs", json={}, headers=headers).status_code == 201


def test_a_request_without_a_host_was_an_error(runner: Runner) -> None:
    app = console(runner, allow=lambda request, action, run_id: True, start=start_in(runner))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/runs",
        "raw_path": b"/api/runs",
        "query_string": b"",
        "http_version": "1.0",
        "headers": [(b"origin", b"http://evil.example")],
    }
    answers: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(app(scope, receive, send))).result()  # type: ignore[arg-type]
    assert answers[0]["status"] == 403
    assert runner.runs() == []


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/runs", "/nowhere", "/api/runs/0/events"])
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_every_answer_tells_browsers_to_be_careful(runner: Runner, path: str, host: str) -> None:
    client = client_of(console(runner))
    headers = client.get(path, headers={"Host": host}).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


# What it says


@pytest.mark.parametrize(
    ("host", "client", "allow", "said"),
    [
        ("127.0.0.1", "127.0.0.1", None, 0),
        ("10.0.0.9", "10.0.0.7", None, 1),
        ("10.0.0.9", "10.0.0.7", lambda request, action, run_id: True, 0),
    ],
)
def test_it_says_once_that_it_is_open_to_everyone(
    runner: Runner, caplog: pytest.LogCaptureFixture, host: str, client: str, allow: Any, said: int
) -> None:
    caplog.set_level(logging.WARNING)
    asking = client_of(console(runner, allow=allow), host, client)
    for _ in range(2):
        assert asking.get("/").status_code == 200
    assert [record.getMessage() for record in caplog.records if "open to everyone" in record.getMessage()] == [
        "The run console is open to everyone who can reach 10.0.0.9: give it allow=, or serve it on loopback only"
    ] * said


@pytest.mark.parametrize(
    ("hosts", "allow", "level"),
    [
        (None, None, "INFO"),
        (["localhost", "127.0.0.1", "::1"], None, "INFO"),
        (["runs.example.com"], None, "WARNING"),
        (["0.0.0.0"], None, "WARNING"),
        (["runs.example.com"], lambda request, action, run_id: True, None),
    ],
)
def test_it_says_at_start_up_that_it_is_open_to_everyone(
    runner: Runner, caplog: pytest.LogCaptureFixture, hosts: Any, allow: Any, level: str | None
) -> None:
    caplog.set_level(logging.INFO)
    console(runner, hosts=hosts, allow=allow)
    said = [record.levelname for record in caplog.records if "everyone who can reach" in record.getMessage()]
    assert said == ([] if level is None else [level])


# Its files


def names_of(file: str) -> set[str]:
    return set(re.findall(r"^  (\w+):", (STATIC / "texts" / file).read_text(encoding="utf-8"), re.M))


def test_all_languages_say_everything() -> None:
    files = [path.name for path in (STATIC / "texts").iterdir()]
    english = names_of("en.js")
    assert sorted(files) == ["en.js", "ja.js"]
    for file in files:
        assert names_of(file) == english
    markup = (STATIC / "index.html").read_text(encoding="utf-8")
    asked_for = set(re.findall(r'data-(?:text|label|title|placeholder)="(\w+)"', markup))
    scripts = "".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js"))
    asked_for |= set(re.findall(r'\b(?:text|named)\(\s*"(\w+)"', scripts))
    assert asked_for <= english


def test_no_module_has_grown_beyond_one_sitting() -> None:
    long = [path.name for path in STATIC.rglob("*.*") if len(path.read_text(encoding="utf-8").splitlines()) > 300]
    assert long == []
