"""What a task waits for."""

import inspect
from collections.abc import Iterator
from typing import Any


def awaited(coroutine: Any) -> Iterator[Any]:
    """A coroutine and, one after the other, those that it waits for."""
    while inspect.iscoroutine(coroutine):
        if coroutine.cr_frame is not None:
            yield coroutine
        coroutine = coroutine.cr_await
