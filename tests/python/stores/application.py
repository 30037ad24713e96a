"""An application for `uvicorn --workers`: each worker starts, streams and cancels runs, and says which it is."""

import os
import time
from contextlib import asynccontextmanager

from genglossary_runs import RunManager
from genglossary_runs.sse import drain_on_shutdown, run_stream
from kinds import make
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

manager = RunManager(store=make(os.environ["STORE_KIND"], os.environ["STORE_PLACE"]))


async def start(request: Request) -> Response:
    await manager.aopen_run(request.path_params["run_id"])
    return JSONResponse(os.getpid())


async def publish(request: Request) -> Response:
    event = {"n": int(request.query_params["n"]), "at": time.time()}
    return JSONResponse([os.getpid(), await manager.apublish(request.path_params["run_id"], event)])


async def finish(request: Request) -> Response:
    return JSONResponse(await manager.afinish_run(request.path_params["run_id"], {"complete": True}))


async def events(request: Request) -> Response:
    return run_stream(manager, request.path_params["run_id"], request, replay=True, must_exist=True, heartbeat=1.0)


async def pid(request: Request) -> Response:
    return JSONResponse(os.getpid())


@asynccontextmanager
async def lifespan(app: Starlette):  # type: ignore[no-untyped-def]
    with drain_on_shutdown():
        yield


app = Starlette(
    routes=[
        Route("/pid", pid),
        Route("/{run_id}/start", start, methods=["POST"]),
        Route("/{run_id}/publish", publish, methods=["POST"]),
        Route("/{run_id}/finish", finish, methods=["POST"]),
        Route("/{run_id}/events", events),
    ],
    lifespan=lifespan,
)
