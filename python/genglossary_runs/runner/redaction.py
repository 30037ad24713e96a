"""What readers may see of an error: its kind and message, without secrets, paths and traceback."""

import asyncio
import os
import re
from collections.abc import Iterator

from .secrets import redact

_LONGEST_MESSAGE = 500
_MOST_LEAVES = 5
_TRACEBACK = "Traceback (most recent call last)"


def client_message(error: BaseException) -> str:
    """The kind of the error and its message in one line; for a group of errors those of its leaves."""
    found = list(leaves(error))
    # What a failure beside them has cancelled says nothing.
    told = [leaf for leaf in found if not isinstance(leaf, asyncio.CancelledError)] or found
    shown = list(dict.fromkeys(map(_single_message, told)))
    more = f"; and {len(shown) - _MOST_LEAVES} more" if len(shown) > _MOST_LEAVES else ""
    return _cut("; ".join(shown[:_MOST_LEAVES])) + more


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, and in the groups in it; of any other error itself."""
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))
        else:
            yield error


def _single_message(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:
        return kind
    if isinstance(error, OSError):
        # The one error that tells its paths apart from its text, so that spaces in them cannot mislead.
        for path in (error.filename, error.filename2):
            if isinstance(path, str | bytes):
                text = text.replace(repr(path), repr(os.path.basename(path)))
    before, found, after = text.partition(_TRACEBACK)
    if found:
        text = before.strip() or after.strip().rpartition("\n")[2]
    # Cut before the searches, which take long in long texts.
    text = redact(text[: 4 * _LONGEST_MESSAGE])
    # Without lone surrogates, which many encoders refuse.
    text = re.sub("[\ud800-\udfff]", "\ufffd", " ".join(text.split()))
    text = _cut(_PATH.sub(_file_name, text))
    return f"{kind}: {text}" if text else kind


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


# Paths


_PATH_CHARACTER = r"[^\s'\"<>|:;,()\[\]{}/\\]"
_PATH = re.compile(
    rf"""
    (?P<url>\b(?!file:)[a-z][a-z0-9+.-]+://\S+)             # left alone
    | (?P<quote>['"])(?P<quoted>(?:file://|~|\.{{0,2}}|[A-Za-z]:|\\)?[/\\](?:(?!(?P=quote)).)+)(?P=quote)
    | (?:file://|(?<![\w<])(?:[A-Za-z]:|~|\.\.?)?)          # an absolute path, or one from here or from home
      [/\\]+{_PATH_CHARACTER}+(?:[/\\]+{_PATH_CHARACTER}*)*
      (?:[ ]{_PATH_CHARACTER}+[/\\]{_PATH_CHARACTER}+(?:[/\\]+{_PATH_CHARACTER}*)*)*   # with spaces in it
    | (?:{_PATH_CHARACTER}+[/\\]+)+{_PATH_CHARACTER}+\.[A-Za-z]\w*                     # a relative path to a file
    """,
    re.VERBOSE,
)


def _file_name(match: re.Match[str]) -> str:
    if match["url"]:
        return match["url"]
    if match["quote"]:
        return f"{match['quote']}{_last_part(match['quoted'])}{match['quote']}"
    return _last_part(match[0])


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "…"
