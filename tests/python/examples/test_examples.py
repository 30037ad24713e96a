"""Each example, served as its docstring says, does what its docstring promises."""

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from genglossary_runs.client import follow
from ports import held_port
from runner.support import DEADLINE, until
from streams.servers import Site

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NAMES = ("minimal", "async_work", "workers")


@pytest.fixture
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, Site]]:
    """An example, imported afresh and served in this process, so that a test can hurry it."""
    name = f"{request.param}.app"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    with Site(module.app) as site:
        yield module, site
    monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("name", ["runs.example", "other.example"])
def test_the_pods_answered_to_no_name_that_the_ingress_passes_on(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8")
    assert "- host: runs.example\n" in text
    (hosts,) = re.findall(r"\{name: RUNS_HOSTS, value: (.*)\}", text)
    monkeypatch.setenv("RUNS_HOSTS", hosts)
    monkeypatch.setenv("RUNS_STORE", str(tmp_path / "runs.db"))
    monkeypatch.delitem(sys.modules, "workers.app", raising=False)
    with Site(importlib.import_module("workers.app").app) as site:
        answer = site.client.get("/runs/api/runs", headers={"Host": name})
    monkeypatch.delitem(sys.modules, "workers.app", raising=False)
    assert answer.status_code == (200 if name == "runs.example" else 403)


@pytest.mark.parametrize("served", ["minimal"], indirect=True)
def test_the_smallest_example(served: tuple[ModuleType, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    module, site = served
    assert "html" in site.client.get("/runs/").text
    first = site.client.post("/runs/api/runs").json()
    # Long enough to be refused, cancelled and resumed.
    assert site.client.post("/runs/api/runs").status_code == 409
    assert site.client.post(f"/runs/api/runs/{first['id']}/cancel").json() == {"cancelled": True}
    assert site.client.get(f"/runs/api/runs/{first['id']}/wait").json()["status"] == "cancelled"
    monkeypatch.setattr(module, "SECONDS_A_PAGE", 0.0)
    second = site.client.post("/runs/api/runs").json()
    events = list(follow(f"http://127.0.0.1:{site.port}/runs/api/runs/{second['id']}/events"))
    lines = [event.data["message"] for event in events if "message" in event.data]
    assert lines == [f"{pages} pages read" for pages in range(10, 101, 10)]
    assert site.client.get(f"/runs/api/runs/{second['id']}/result").json() == {"pages": 100}


@pytest.mark.parametrize("served", ["async_work"], indirect=True)
def test_the_example_with_async_work(served: tuple[ModuleType, Site], monkeypatch: pytest.MonkeyPatch) -> None:
    module, site = served
    body = {"topic": "run logs"}
    assert site.client.post("/api/runs", json={}).status_code == 422
    first = site.client.post("/api/runs", json=body, headers={"Idempotency-Key": "one"}).json()
    assert site.client.post("/api/runs", json=body, headers={"Idempotency-Key": "one"}).json() == first
    assert site.client.post("/api/runs", json=body, headers={"Idempotency-Key": "two"}).status_code == 409
    path = f"/api/runs/{first['id']}"
    until(lambda: "An article about" in site.client.get(f"{path}/log").text)
    site.client.post(f"{path}/cancel")
    assert site.client.get(f"{path}/wait").json()["status"] == "cancelled"
    assert "Stopped after" in site.client.get(f"{path}/log.txt").text
    monkeypatch.setattr(module, "SECONDS_AN_ANSWER", 0.0)
    second = site.client.post("/api/runs", json=body).json()
    record = site.client.get(f"/api/runs/{second['id']}/wait").json()
    assert (record["status"], record["result_kind"]) == ("completed", "text")
    assert record["progress"] == {"step": "asking", "current": 30, "total": 30}
    assert len(site.client.get(f"/api/runs/{second['id']}/result").text.splitlines()) == 30


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


def test_the_example_with_two_workers(port: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--workers", "2", "--port", str(port)]
    environment = {**os.environ, "RUNS_STORE": str(tmp_path / "runs.db")}
    server = subprocess.Popen([*command, "--log-level", "warning", "workers.app:app"], env=environment)
    try:
        workers = Workers(f"http://127.0.0.1:{port}")
        until(workers.are_there)
        run = workers.ask("POST", "/runs/api/runs").json()
        run_url = f"/runs/api/runs/{run['id']}"
        shown = workers.by_each("GET", run_url)
        assert sorted(answer.json()["local"] for answer in shown) == [False, True]
        assert {answer.json()["status"] for answer in shown} == {"running"}
        assert [answer.status_code for answer in workers.by_each("POST", "/runs/api/runs")] == [409, 409]
        # Whichever worker streams it, it says where it is executed.
        for client in workers.clients.values():
            with client.stream("GET", f"{run_url}/events") as stream:
                assert any("converts" in line for line in stream.iter_lines())
        answers = workers.by_each("POST", f"{run_url}/cancel")
        assert any(answer.json()["cancelled"] for answer in answers)
        ended = workers.by_each("GET", f"{run_url}/wait")
        assert {answer.json()["status"] for answer in ended} == {"cancelled"}
        lists = workers.by_each("GET", "/runs/api/runs")
        assert [[each["id"] for each in answer.json()["runs"]] for answer in lists] == [[run["id"]]] * 2
        workers.close()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) in (0, -signal.SIGTERM)


class Workers:
    """A client for each worker, which keeps its connection and so its worker."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.clients: dict[int, httpx.Client] = {}

    def are_there(self) -> bool:
        """Whether both workers have been reached."""
        client = httpx.Client(base_url=self._url, trust_env=False, timeout=DEADLINE)
        try:
            process = client.get("/process").json()
        except httpx.TransportError:
            client.close()
            return False
        if process in self.clients:
            client.close()
        else:
            self.clients[process] = client
        return len(self.clients) == 2

    def ask(self, method: str, path: str) -> httpx.Response:
        """The answer of one worker."""
        return next(iter(self.clients.values())).request(method, path)

    def by_each(self, method: str, path: str) -> list[httpx.Response]:
        """The answer of each worker."""
        return [client.request(method, path) for client in self.clients.values()]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()


@pytest.mark.parametrize("name", NAMES)
def test_each_example_says_how_it_is_run(name: str) -> None:
    text = (EXAMPLES / name / "app.py").read_text(encoding="utf-8")
    assert f"{name}.app:app" in text.split('"""')[1]
