"""Errors as a user may see them."""

import re

MAX_LENGTH = 500
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.\-]+){2,}")


def sanitize_error_message(error: BaseException, prefix: str | None = None) -> str:
    """One line about the error, without file paths, at most 500 characters long."""
    text = " ".join(_PATH.sub("<path>", str(error)).split()) or type(error).__name__
    return (f"{prefix}: {text}" if prefix else text)[:MAX_LENGTH]
