"""Make text encodable as UTF-8: lone surrogates, as in file names that are not UTF-8, become U+FFFD."""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator


def sendable(text: str) -> str:
    """Return the text with lone surrogates replaced by U+FFFD, as the core writes events."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _sendable_if_text(value: Any) -> Any:
    return sendable(value) if isinstance(value, str) else value


Text: TypeAlias = Annotated[str, BeforeValidator(_sendable_if_text)]
"""A text of an answer."""
