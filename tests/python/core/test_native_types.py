"""Values of types that JSON has no form for are written as users of pydantic, FastAPI and orjson expect."""

import array
import dataclasses
import enum
import uuid
import weakref
from collections import UserList, UserString, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import pydantic
import pydantic.v1
import pytest
from genglossary_runs import RunManager

from .support import wait_until_collected


def written(value: Any, **options: Any) -> Any:
    """What a reader gets for the value."""
    manager = RunManager(**options)
    reader = manager.subscribe(1)
    manager.publish(1, {"value": value})
    return reader.get_nowait()["value"]


class Colour(enum.Enum):
    RED = "red"
    WHEN = date(2026, 1, 2)
    NESTED = (1, Decimal("0.5"))


class Odd(int, enum.Enum):
    """A member is one int, and its value another thing."""

    def __new__(cls, number: int, label: str) -> "Odd":
        member = int.__new__(cls, number)
        member._value_ = label
        return member

    ONE = 1, "one"


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str] = dataclasses.field(default_factory=lambda: {"a"})
    later: int = dataclasses.field(init=False)
    shared: ClassVar[int] = 1


@dataclasses.dataclass(slots=True)
class Slotted:
    inner: Point


class Model(pydantic.BaseModel):
    when: datetime
    path: PurePosixPath


class Texts(pydantic.RootModel[list[str]]):
    pass


class OldModel(pydantic.v1.BaseModel):
    when: date


class Scalar:
    """What NumPy's scalars offer."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def tolist(self) -> Any:
        return self._value

    item = tolist


class Array(Scalar):
    """What its arrays offer: two forms that an array of several items refuses."""

    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def __float__(self) -> float:
        raise TypeError("only length-1 arrays can be converted")


class LongDouble:
    """Its `tolist` and `item` are of the same type again."""

    def tolist(self) -> "LongDouble":
        return LongDouble()

    item = tolist

    def __float__(self) -> float:
        return 0.25


class Index:
    def __index__(self) -> int:
        return 7


class ItemOnly:
    def item(self) -> bool:
        return True


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (datetime(2026, 1, 2, 3, 4, 5, 600, timezone(timedelta(hours=9))), "2026-01-02T03:04:05.000600+09:00"),
        (datetime(2026, 1, 2), "2026-01-02T00:00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (UUID, str(UUID)),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("a/b"), "a/b"),
        (PureWindowsPath("a/b"), "a\\b"),
        (UserString("text"), "text"),
        (Colour.RED, "red"),
        (Colour.WHEN, "2026-01-02"),
        (Colour.NESTED, [1, "0.5"]),
        (Odd.ONE, "one"),
        ({1}, [1]),
        (frozenset({UUID}), [str(UUID)]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.items(), [["a", 1]]),
        ({"a": 1}.values(), [1]),
        (deque([1, deque([2])]), [1, [2]]),
        (range(3), [0, 1, 2]),
        (UserList([date(2026, 1, 2)]), ["2026-01-02"]),
        (array.array("d", [0.5]), [0.5]),
        (Point(1), {"x": 1, "tags": ["a"]}),
        (Slotted(Point(2)), {"inner": {"x": 2, "tags": ["a"]}}),
        (Model(when=datetime(2026, 1, 2), path=PurePosixPath("a")), {"when": "2026-01-02T00:00:00", "path": "a"}),
        (Texts(["a"]), ["a"]),
        (OldModel(when=date(2026, 1, 2)), {"when": "2026-01-02"}),
        (Scalar(7), 7),
        (Scalar(datetime(2026, 1, 2)), "2026-01-02T00:00:00"),
        (Scalar(True), True),
        (Array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (LongDouble(), 0.25),
        (Index(), 7),
        (ItemOnly(), True),
        (Fraction(1, 4), 0.25),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_is_written(value: Any, expected: Any) -> None:
    assert written(value) == expected
    assert written([{"deep": (value,)}]) == [{"deep": [expected]}]


def test_keys_of_these_types() -> None:
    keys = {Colour.RED: 1, UUID: 2, date(2026, 1, 2): 3, Index(): 4, PurePosixPath("a"): 5}
    assert written(keys) == {"red": 1, str(UUID): 2, "2026-01-02": 3, "7": 4, "a": 5}


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), memoryview(b"x"), object(), 1j, int, Point, iter([1])])
def test_it_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^event\['value'\]\[1\] is of type \w+, which JSON has no form for"):
        written([0, value])


class Broken(pydantic.BaseModel):
    def model_dump(self, **options: Any) -> Any:
        raise LookupError("no such field")


def test_a_conversion_that_raises_is_named_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"^event\['value'\] is of type Broken and could not be converted: .*field"):
        written(Broken())


def test_a_conversion_that_never_ends_is_refused() -> None:
    with pytest.raises(TypeError, match="keeps converting to itself"):
        written(object(), default=lambda value: value)


# default


def test_default_is_asked_for_the_rest_alone() -> None:
    asked: list[Any] = []

    def default(value: Any) -> Any:
        asked.append(value)
        return {"real": value.real, "at": UUID}

    assert written([1j, UUID], default=default) == [{"real": 0.0, "at": str(UUID)}, str(UUID)]
    assert asked == [1j]


def test_default_serves_the_terminal_event_too() -> None:
    manager = RunManager(default=repr)
    manager.finish_run(1, {"complete": True, "raw": b"x"})
    assert manager.terminal_event(1) == {"complete": True, "raw": "b'x'"}


def test_a_default_that_refuses_is_named_with_its_place() -> None:
    def default(value: Any) -> Any:
        raise ValueError("not this one")

    with pytest.raises(TypeError, match=r"^event\['value'\]\['a'\] is of type bytes and could not .*not this one"):
        written({"a": b""}, default=default)


def test_what_interrupts_a_conversion_goes_through() -> None:
    def default(value: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(b"", default=default)


def test_a_default_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="default must be a callable"):
        RunManager(default=3)  # type: ignore[arg-type]


def test_a_manager_whose_default_refers_to_it_is_collected() -> None:
    class Application:
        def __init__(self) -> None:
            self.manager = RunManager(default=self.show)

        def show(self, value: Any) -> Any:
            return repr(value)

    dead = weakref.ref(Application())
    wait_until_collected(lambda: dead() is None)


# Line ends


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "\u2029\u2029", 'quote " and \u2028', "…—“\u2028”", "é\x85é\n"])
def test_a_text_with_line_ends_comes_back(text: str) -> None:
    assert written({text: text}) == {text: text}


async def test_frames_have_no_line_ends_but_their_own() -> None:
    """Clients that split a stream with `str.splitlines`, as httpx does, would break an event at others."""
    manager = RunManager()
    manager.open_run(1)
    texts = ["\x85", "a\u2028b", "\u2029", "…—“\u2028”", "ほげ\u2028", "é\x85é\n", "\x1c\x1d\x1e\x0b\x0c"]
    for text in texts:
        manager.publish(1, {text: text})
    manager.finish_run(1, {"complete": True})
    frames = b"".join([chunk async for chunk in manager.subscribe(1, "0").frames(None)]).decode()
    assert frames.splitlines() == frames.split("\n")[:-1]
