"""This project: every client is a cursor on the run's log."""

from typing import Any

from fastapi import Request
from genglossary_runs import RunManager
from genglossary_runs.sse import run_stream
from measure import RUN_ID
from starlette.responses import Response

from streaming.server import UvicornTransport


class ThisProject(UvicornTransport):
    """`run_stream`, with every default as it is."""

    def __init__(self, history: int = 1000) -> None:
        super().__init__()
        self.manager = RunManager(history=history)
        self.manager.open_run(RUN_ID)

    async def stream(self, request: Request) -> Response:
        return run_stream(self.manager, RUN_ID, request)

    def publish(self, message: dict[str, Any]) -> None:
        self.manager.publish(RUN_ID, message)

    def subscribers(self) -> int:
        return self.manager.stats()["subscribers"]


create = ThisProject
