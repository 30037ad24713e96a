"""A server that stops while a client waits for the end of a run."""

import time

import httpx
from core.support import Background, wait_until
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from genglossary_runs.sse import drain
from runner.support import Gate
from streams.servers import Site

from .support import DEADLINE, make_app


def test_a_wait_kept_the_server_from_stopping(gate: Gate) -> None:
    runner = Runner(RunManager())
    run = runner.start(gate)
    with Site(make_app(runner)) as site:
        begun = time.monotonic()
        waiting = Background(lambda: site.client.get(f"/api/runs/{run.run_id}/wait", params={"timeout": 300}).json())
        wait_until(lambda: runner.manager.stats()["subscribers"] == 1)
        site.call(drain)
        record = waiting.result()
        assert (record["ended"], record["status"]) == (False, "running")
        # Nor does a further one wait.
        assert not site.client.get(f"/api/runs/{run.run_id}/wait", params={"timeout": 300}).json()["ended"]
        assert time.monotonic() - begun < DEADLINE
    gate.opened.set()
    assert runner.shutdown(DEADLINE)


def test_a_wait_kept_a_server_from_stopping_that_stopped_without_a_signal(gate: Gate) -> None:
    runner = Runner(RunManager())
    run = runner.start(gate)
    with Site(make_app(runner)) as site:
        url = f"http://127.0.0.1:{site.port}/api/runs/{run.run_id}/wait?timeout=300"
        waiting = Background(lambda: httpx.get(url, trust_env=False, timeout=DEADLINE).json())
        wait_until(lambda: runner.manager.stats()["subscribers"] == 1)
        site.stop()
        assert not waiting.result()["ended"]
    gate.opened.set()
    assert runner.shutdown(DEADLINE)


def test_waits_used_up_the_streams(gate: Gate) -> None:
    runner = Runner(RunManager())
    run = runner.start(gate)
    with Site(make_app(runner, stream_options={"max_streams": 1})) as site:
        path = f"/api/runs/{run.run_id}"
        waiting = Background(lambda: site.client.get(f"{path}/wait", params={"timeout": 300}).json())
        wait_until(lambda: runner.manager.stats()["subscribers"] == 1)
        with site.client.stream("GET", f"{path}/events") as stream:
            assert stream.status_code == 200
            gate.opened.set()
        assert waiting.result()["ended"]
    assert runner.shutdown(DEADLINE)
