"""What a client is told when the demo refuses a request."""

from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse


class Refusal(HTTPException):
    """Why a request is refused: `detail` is a sentence; with `code` and `values` a page says it in other words."""

    def __init__(self, status_code: int, detail: str, code: str, **values: Any) -> None:
        super().__init__(status_code, detail)
        self.code = code
        self.values = values


async def answer(request: Request, refusal: Exception) -> JSONResponse:
    """Answer a request that is refused."""
    assert isinstance(refusal, Refusal)
    content = {"detail": refusal.detail, "code": refusal.code} | refusal.values
    return JSONResponse(content, refusal.status_code)
