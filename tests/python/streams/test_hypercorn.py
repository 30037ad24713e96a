"""Streams under Hypercorn, whose worker is a process that gets no signal of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from core.support import DEADLINE, wait_until

from .servers import listen
from .support import Stream, is_hint

APPLICATION = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from genglossary_runs import RunManager
from genglossary_runs.sse import drain_on_shutdown, stats
from streams.servers import make_app

manager = RunManager()
manager.open_run(1)
app = make_app(manager, replay=True, send_timeout=0.1)

@asynccontextmanager
async def lifespan(app):
    with drain_on_shutdown():
        yield

app.router.lifespan_context = lifespan

@app.post("/events")
def publish(count: int, size: int = 0):
    for n in range(count):
        manager.publish(1, {"n": n, "message": "x" * size})

@app.get("/handed-over")
def handed_over():
    return stats()["handed_over"]

@app.get("/subscribers")
def subscribers():
    return manager.stats()["subscribers"]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """A port, and the process that serves it with one worker."""
    (tmp_path / "served.py").write_text(APPLICATION)
    with listen(None) as listener:
        listener.set_inheritable(True)
        command = [sys.executable, "-m", "hypercorn", "--bind", f"fd://{listener.fileno()}", "served:app"]
        environment = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"}
        with subprocess.Popen(
            command,
            pass_fds=[listener.fileno()],
            env=environment,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            port = listener.getsockname()[1]
            try:
                wait_until(lambda: answers(port))
                yield port, process
            finally:
                # With its worker, which is a process of its own.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    return False


def ask(port: int, method: str, path: str) -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{port}{path}", trust_env=False).raise_for_status()


def test_its_stop_ends_streams_with_a_hint(server: tuple[int, "subprocess.Popen[bytes]"]) -> None:
    port, process = server
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(port)) for _ in range(5)]
        ask(port, "POST", "/events?count=3")
        for stream in streams:
            stream.receive_event(n=2)
        assert ask(port, "GET", "/handed-over").json() == 5
        process.send_signal(signal.SIGTERM)
        for stream in streams:
            stream.receive_all()
            assert stream.is_whole
            assert is_hint(stream.frames[-1])
        assert process.wait(DEADLINE) == 0


def test_a_client_that_stops_reading_is_cut_off(server: tuple[int, "subprocess.Popen[bytes]"]) -> None:
    port, _ = server
    with Stream(port, receive_buffer=16 << 10) as stalled:
        stalled.receive_until(lambda stream: stream.frames)
        ask(port, "POST", "/events?count=900&size=8000")
        wait_until(lambda: ask(port, "GET", "/subscribers").json() == 0)
        stalled.receive_all()
        assert not stalled.is_whole
