"""The answer to a request that the demo refuses."""

from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse


class Refusal(HTTPException):
    """A refused request: `detail` says why; from `code` and `values` a page can say it in its own language."""

    def __init__(self, status_code: int, detail: str, code: str, **values: Any) -> None:
        super().__init__(status_code, detail)
        self.code = code
        self.values = values


async def answer(request: Request, refusal: Exception) -> JSONResponse:
    """Answer a request that is refused."""
    assert isinstance(refusal, Refusal)
    content = {"detail": refusal.detail, "code": refusal.code} | refusal.values
    return JSONResponse(content, refusal.status_code)
