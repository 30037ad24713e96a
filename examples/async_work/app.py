"""Work that is a coroutine and asks a model several things at once, logs with `logging`, and has its own API.

    pip install ".[console]" uvicorn
    uvicorn --app-dir examples async_work.app:app

    curl --json '{"topic": "run logs"}' --header "Idempotency-Key: $(uuidgen)" http://127.0.0.1:8000/api/runs
    curl --no-buffer http://127.0.0.1:8000/api/runs/ID/events
    curl --request POST http://127.0.0.1:8000/api/runs/ID/cancel
    curl http://127.0.0.1:8000/api/runs/ID/result

A run takes about ten seconds. A second one about the same topic is refused with 409 meanwhile, and a repeated request
with the same Idempotency-Key gets the first one's answer. http://127.0.0.1:8000/docs shows the API. The model is played
by `ask`; put a client of yours there.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from genglossary_runs import RunManager
from genglossary_runs.console import router
from genglossary_runs.logs import RunHandler
from genglossary_runs.runner import Run, RunContext, Runner
from genglossary_runs.sse import drain_on_shutdown

SECONDS_AN_ANSWER = 1.0
QUESTIONS = [f"question {number}" for number in range(1, 31)]

logger = logging.getLogger("async_work")
logger.setLevel(logging.INFO)
# What the work logs goes to the readers of its run, also from libraries that know nothing of runs.
logger.addHandler(RunHandler())

runner = Runner(RunManager(), max_active=8)


async def ask(question: str) -> str:
    """Wait as one waits for a model. A cancel of the run raises `CancelledError` here."""
    await asyncio.sleep(SECONDS_AN_ANSWER * random.uniform(0.5, 1.5))
    return f"an answer to {question}"


async def write_article(context: RunContext, topic: str) -> str:
    """Ask three questions at a time, then put the answers together."""
    places = asyncio.Semaphore(3)
    answers: list[str] = []

    async def answer(question: str) -> None:
        async with places:
            answers.append(await ask(f"{question} about {topic}"))
        logger.info("%s is answered", question)
        context.progress(len(answers), len(QUESTIONS), step="asking")

    logger.info("An article about %s", topic)
    try:
        async with asyncio.TaskGroup() as group:
            for question in QUESTIONS:
                group.create_task(answer(question))
    except asyncio.CancelledError:
        logger.info("Stopped after %s of %s answers", len(answers), len(QUESTIONS))
        raise
    return "\n".join(sorted(answers))


async def start(request: Request, body: dict[str, Any]) -> Run:
    """Start a run from the body of a request."""
    topic = body.get("topic")
    if not isinstance(topic, str) or not topic:
        raise HTTPException(422, "'topic' must be a text")
    return runner.start(partial(write_article, topic=topic), key=topic, name=f"An article about {topic}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """End open streams when the server stops, then the runs."""
    with drain_on_shutdown():
        yield
    await run_in_threadpool(runner.shutdown, 5)


app = FastAPI(title="Articles", lifespan=lifespan)
app.include_router(router(runner, start=start), prefix="/api")
