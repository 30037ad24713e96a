"""The result of a run: JSON, a text, or a link to where it is."""

from typing import Any

from fastapi import HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, RedirectResponse
from pydantic_core import PydanticSerializationError, to_json

from genglossary_runs._core import result_kind

from .texts import sendable


async def answer(run_id: str, result: Any) -> Response:
    """Answer with a result.

    Raises:
        HTTPException: 404, there is none; 406, it has no JSON form.
    """
    match result_kind(result):
        case None:
            raise HTTPException(404, f"Run {run_id} has no result")
        case "link":
            return RedirectResponse(sendable(result))
        case "text":
            return PlainTextResponse(sendable(result), headers={"X-Content-Type-Options": "nosniff"})
        case "json":
            try:
                # It may be large.
                content = await run_in_threadpool(to_json, result, inf_nan_mode="null")
            except (PydanticSerializationError, ValueError, RecursionError) as error:
                kind = type(result).__name__
                raise HTTPException(406, f"The result of run {run_id}, a {kind}, has no JSON form") from error
            return Response(content, media_type="application/json")
