"""A route that answers with a stream after its client has gone."""

import asyncio
import socket
import threading

from core.support import wait_until
from fastapi import FastAPI, Request, Response
from genglossary_runs import RunManager
from genglossary_runs.sse import run_stream

from .servers import Site


def test_a_client_that_left_while_the_route_was_busy_was_an_error_of_the_server() -> None:
    manager = RunManager()
    manager.open_run(1)
    asked, may_answer, answered = threading.Event(), threading.Event(), threading.Event()
    app = FastAPI()

    @app.get("/events")
    async def events(request: Request) -> Response:
        asked.set()
        await asyncio.to_thread(may_answer.wait)
        answered.set()
        return run_stream(manager, 1, request)

    with Site(app) as site:
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert asked.wait(60)
        wait_until(lambda: site.connections == 0)
        may_answer.set()
        assert answered.wait(60)
        wait_until(lambda: manager.stats()["subscribers"] == 0 and site.tasks <= 2)
