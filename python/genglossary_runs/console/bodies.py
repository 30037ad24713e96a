"""The body of a start, read only once the request is allowed, and never more of it than the limit."""

from typing import Any

from fastapi import HTTPException, Request
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.types import Message

OPENAPI: dict[str, Any] = {
    "requestBody": {
        "description": "What to start, as the application defines it",
        "required": False,
        "content": {"application/json": {"schema": {"type": "object", "additionalProperties": True, "title": "Body"}}},
    }
}
"""What the route of a start adds to its description, since FastAPI does not read the body."""


async def read_object(request: Request, limit: int) -> tuple[Request, dict[str, Any]]:
    """Read the JSON object that is the body; no body is an empty one.

    Args:
        request: the request; `allow` or a dependency may have read its body.
        limit: bytes of the body at most.

    Returns:
        The request for the application, which may read the body, too; and the object.

    Raises:
        HTTPException: 413, the body is longer than `limit`; 422, it is no JSON object; 400, the client has gone away.
    """
    content = bytearray()
    try:
        async for chunk in request.stream():
            if len(content) + len(chunk) > limit:
                raise HTTPException(413, f"The body must not be longer than {limit} bytes")
            content += chunk
    except ClientDisconnect:
        raise HTTPException(400, "The client went away before its body was read") from None
    body = _parsed(request, bytes(content)) if content else {}
    if not isinstance(body, dict):
        raise HTTPException(422, "The body must be a JSON object, sent as application/json")
    messages: list[Message] = [{"type": "http.request", "body": bytes(content), "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await request.receive()

    again = Request(request.scope, receive)
    await again.body()  # which it keeps
    return again, body


def _parsed(request: Request, content: bytes) -> Any:
    # A browser asks before it sends JSON to another site, and does not before it sends what is not called JSON.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (kind.startswith("application/") and kind.endswith("json")):
        return None
    try:
        return from_json(content)
    except ValueError:
        return None
