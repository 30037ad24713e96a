"""Fuzz the JSON writer: any Python value comes back as `json` would bring it back, or is refused as the stub says.

    python tests/fuzz/fuzz_json.py [--seconds N] [--seed TEXT]

Values are random, and often odd: lone and paired surrogates, U+2028, NUL, 4-byte characters,
line ends, NaN, infinities, integers beyond 64 bits, keys that are no strings or become the same one, subclasses whose
own `__repr__` lies, mappings that are no dicts, nesting around the limit, cycles, and what JSON has no form for. Each
is published and read twice, as a dict and as a server-sent event; both must equal `json.loads(json.dumps(value))`.

Takes N seconds, a minute by default. A failure is printed with the seed and the number that repeat it.
It is not guided by coverage, which would need an instrumented interpreter; the Rust targets in `fuzz_targets` are.
"""

import argparse
import asyncio
import collections
import enum
import itertools
import json
import random
import struct
import sys
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

from genglossary_runs import RunManager

DEPTH = 128
"""How deep an event may be nested, as the stub says."""

PIECES = (
    *("\n", "\r", "\r\n", "\n\n", "\0", "\x1f", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffd", '"', "\\", "/"),
    *("\ud800", "\udbff", "\udc00", "\udfff", "\ud83d\ude00", "\U0001f4d6", "\U0010ffff", "用語", "e\u0301"),
    *("data: ", "id: 1", "event: complete", ": ", "\\u2028", "\\ud800", "null"),
)
INTEGERS = (0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**40)
FLOATS = (0.0, -0.0, 0.1, 1e16, 1e-7, 5e-324, 1.7976931348623157e308, float("nan"), float("inf"), float("-inf"))


class Text(str):
    """A text that says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "a lie"

    __repr__ = __str__


class Number(int):
    """An integer that says something else of itself."""

    def __repr__(self) -> str:
        return "0"


class Real(float):
    """A float that says something else of itself."""

    def __repr__(self) -> str:
        return "0.0"


class Colour(enum.IntEnum):
    """An integer with a name."""

    RED = 1


class Kind(enum.StrEnum):
    """A text with a name."""

    LOG = "log"


Point = collections.namedtuple("Point", "x y")
REFUSED: tuple[Callable[[], object], ...] = (object, bytes, bytearray, complex, lambda: 10**5000)


class Maker:
    """Makes values by chance."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)

    def event(self) -> Mapping[Any, Any]:
        """An event, which may be one that is refused."""
        event = self._mapping(self._chance.choice((1, 3, 5)))
        if self._chance.random() < 0.05:
            return _nested(event, DEPTH - 3 + self._chance.randrange(8))
        if self._chance.random() < 0.01 and isinstance(event, dict):
            event["itself"] = [event]
        return event

    def _value(self, depth: int) -> Any:
        pick = self._chance.random()
        if depth == 0 or pick < 0.5:
            return self._leaf()
        if pick < 0.75:
            return self._mapping(depth - 1)
        values = [self._value(depth - 1) for _ in range(self._chance.randrange(5))]
        return Point(values, None) if pick < 0.8 else tuple(values) if pick < 0.88 else values

    def _leaf(self) -> Any:
        pick = self._chance.random()
        if pick < 0.45:
            return self._text()
        if pick < 0.6:
            return self._integer()
        if pick < 0.75:
            return self._float()
        if pick < 0.997:
            return self._chance.choice((None, True, False, Colour.RED, Kind.LOG))
        return self._chance.choice(REFUSED)()

    def _text(self) -> str:
        pieces = self._chance.choices(PIECES, k=self._chance.randrange(6))
        text = "".join(pieces) + chr(self._chance.randrange(0x110000)) * self._chance.choice((0, 1, 1, 300))
        return Text(text) if self._chance.random() < 0.1 else text

    def _integer(self) -> int:
        number = self._chance.choice((*INTEGERS, self._chance.getrandbits(self._chance.randrange(1, 200))))
        return Number(number) if self._chance.random() < 0.1 else number

    def _float(self) -> float:
        any_double = struct.unpack("d", self._chance.randbytes(8))[0]
        number = self._chance.choice((*FLOATS, self._chance.uniform(-1e6, 1e6), any_double))
        return Real(number) if self._chance.random() < 0.1 else number

    def _key(self) -> Any:
        if self._chance.random() < 0.7:
            return self._text()
        key = self._chance.choice((self._integer, self._float, lambda: None, lambda: True, lambda: Kind.LOG))()
        return (1, 2) if self._chance.random() < 0.002 else key

    def _mapping(self, depth: int) -> Mapping[Any, Any]:
        items = {self._key(): self._value(depth) for _ in range(self._chance.randrange(5))}
        pick = self._chance.random()
        if pick < 0.8:
            return items
        kinds = (collections.OrderedDict, collections.UserDict, types.MappingProxyType, collections.ChainMap)
        return self._chance.choice(kinds)(items)


def _nested(value: Any, levels: int) -> dict[str, Any]:
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return {"in": value}


class TooDeepError(ValueError):
    """An event that is nested deeper than it may be, or refers to itself."""


def expected(event: Mapping[Any, Any]) -> Any:
    """What comes back. `TypeError` or `ValueError` where the event is refused."""
    if _depth(event, 0) > DEPTH:
        raise TooDeepError
    text = json.dumps(event, default=_as_dict)
    return _whole(json.loads(text, parse_constant=lambda _: None))


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _depth(value: Any, above: int) -> int:
    """The levels of nesting, up to one more than allowed."""
    if above > DEPTH or not isinstance(value, Mapping | list | tuple):
        return above
    inside = value.values() if isinstance(value, Mapping) else value
    return max((_depth(one, above + 1) for one in inside), default=above + 1)


def _whole(value: Any) -> Any:
    """The same with U+FFFD for lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return value


def _same(value: Any, other: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and True are three values, and so are 0.0 and -0.0."""
    return repr(value) == repr(other)


async def fuzz(seconds: float, seed: str) -> None:
    """Publish values for so long; stop at the first that comes back wrong."""
    manager = RunManager(history=10)
    manager.open_run(1)
    reader = manager.subscribe(1)
    frames = manager.subscribe(1).frames()
    passed = refused = 0
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            break
        event = Maker(f"{seed} {number}").event()
        what = f"seed {seed}, event {number}"
        try:
            wanted = expected(event)
        except (TypeError, ValueError) as error:
            # What is too deep may have another fault before that depth.
            too_deep = isinstance(error, TooDeepError)
            _must_be_refused(manager, event, (TypeError, ValueError) if too_deep else (type(error),), what)
            refused += 1
            continue
        event_id = manager.publish(1, event)
        got = reader.get_nowait()
        if not _same(got, wanted):
            sys.exit(f"FAILED: {what}: {wanted!r} came back as {got!r}")
        frame = await anext(frames)
        data = frame.removeprefix(f"id: {event_id}\ndata: ".encode()).removesuffix(b"\n\n")
        if b"\n" in data or b"\r" in data or not _same(json.loads(data.decode()), wanted):
            sys.exit(f"FAILED: {what}: {wanted!r} was sent as {frame!r}")
        passed += 1
    print(f"{passed:,} events came back as they should, {refused:,} were refused as they should")


def _must_be_refused(
    manager: RunManager, event: Mapping[Any, Any], kinds: tuple[type[Exception], ...], what: str
) -> None:
    before = manager.stats()["events_published"]
    try:
        event_id = manager.publish(1, event)
    except kinds:
        if manager.stats()["events_published"] == before:
            return
        sys.exit(f"FAILED: {what} was refused and published")
    except Exception as error:
        sys.exit(f"FAILED: {what} must be a {kinds[0].__name__} and was a {type(error).__name__}: {error}")
    sys.exit(f"FAILED: {what} must be a {kinds[0].__name__} and was published as {event_id}")


def main() -> None:
    """Fuzz, and say what came of it."""
    options = argparse.ArgumentParser(description="Publish odd Python values; compare what comes back with json's.")
    options.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long (default: %(default)s)")
    options.add_argument("--seed", default=str(time.time_ns()), metavar="TEXT", help="to repeat the values of a run")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    asyncio.run(fuzz(chosen.seconds, chosen.seed))


if __name__ == "__main__":
    main()
