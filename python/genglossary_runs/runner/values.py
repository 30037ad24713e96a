"""What may stand in a message: levels, amounts of progress, and a text for what JSON has no form for."""

import logging
import math
import operator
import reprlib
from typing import Any, Literal, TypeAlias

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

_LEVELS = ("info", "debug", "warning", "error")
_LONGEST_REPR = 200

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _LONGEST_REPR


def level_of(level: str | int) -> Level | None:
    """One of the four levels that readers know, for any level of `logging`, by name or number; None if it is none."""
    if isinstance(level, str):
        if level in _LEVELS:
            return level  # type: ignore[return-value]
        known = logging.getLevelNamesMapping()
        number = known.get(level.strip().upper(), known.get(level))
    else:
        number = level if isinstance(level, int) and not isinstance(level, bool) else None
    if number is None:
        return None
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"


def amount_of(value: Any, name: str) -> int | float:
    """A finite number for whatever stands for one, as NumPy's scalars and Decimal do.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN or infinite.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool | str | bytes | bytearray):
        raise TypeError(f"{name} must be a number, not {type(value).__name__} {short_repr(value)}")
    number: int | float
    try:
        number = operator.index(value)
    except TypeError:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, and is {number}; the total may be None where nobody knows it")
    return number


def text_of(value: Any) -> str:
    """The text of a message, of whatever type."""
    if isinstance(value, str):
        return value
    try:
        return str(value)
    except Exception:
        return short_repr(value)


def short_repr(value: Any) -> str:
    """A `repr` of a bounded length that never raises."""
    try:
        # `reprlib` bounds the containers it knows, and would take all of these first.
        shown = repr(bytes(value[:_LONGEST_REPR])) if isinstance(value, bytes | bytearray) else _short.repr(value)
    except Exception:
        shown = f"<{type(value).__name__} that cannot be shown>"
    return shown if len(shown) <= _LONGEST_REPR else shown[: _LONGEST_REPR - 1] + "…"
