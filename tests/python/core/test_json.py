"""An event comes back as `json` would bring it back, but for what JSON has no form for."""

import enum
import json
import math
import random
import re
import sys
import sysconfig
import types
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from genglossary_runs import RunManager, Subscription
from hypothesis import given
from hypothesis import strategies as st

from .support import Background, drain


def as_json_has_it(value: Any) -> Any:
    """The value after `json.dumps` and `json.loads`, with null for NaN and infinities, U+FFFD for lone surrogates."""
    decoded = json.loads(json.dumps(value), parse_constant=lambda _: None)
    return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", json.dumps(decoded, ensure_ascii=False)))


def there_and_back(event: Mapping[Any, Any]) -> Any:
    """The event as a reader gets it."""
    manager = RunManager()
    reader = manager.subscribe(1)
    manager.publish(1, event)
    return reader.get_nowait()


# Any value

Point = namedtuple("Point", "x y")


class Text(str):
    def __str__(self) -> str:
        raise AssertionError("not asked")


class Number(int):
    def __repr__(self) -> str:
        return "not a number"


class Real(float):
    def __repr__(self) -> str:
        return "not a number"


class Colour(enum.IntEnum):
    RED = 1


class Size(enum.StrEnum):
    SMALL = "small"


class Pairs(dict[Any, Any]):
    """A dict that is not exactly one."""


class Items(list[Any]):
    """A list that is not exactly one."""


any_text = st.text(st.characters(exclude_categories=()), max_size=8)
numbers = st.integers() | st.integers(-(10**40), 10**40) | st.floats()
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | any_text
    | st.builds(Text, any_text)
    | st.builds(Number, st.integers())
    | st.builds(Real, st.floats())
    | st.sampled_from([Colour.RED, Size.SMALL])
)
keys = any_text | st.none() | st.booleans() | numbers | st.builds(Text, any_text) | st.builds(Number, st.integers())
no_json = st.sampled_from([b"bytes", bytearray(2), memoryview(b""), object(), 1j, Ellipsis, iter([]), UserDict])
no_keys = st.tuples(st.integers()) | st.binary(max_size=2) | st.frozensets(st.integers(), max_size=1)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Objects of these leaves, with these keys."""

    def grow(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        lists = st.lists(children, max_size=4)
        objects = st.dictionaries(keys, children, max_size=4)
        return (
            lists
            | lists.map(tuple)
            | lists.map(Items)
            | st.builds(Point, children, children)
            | objects
            | objects.map(OrderedDict)
            | objects.map(Pairs)
            | objects.map(lambda pairs: defaultdict(list, pairs))
        )

    return st.dictionaries(keys, st.recursive(leaves, grow, max_leaves=12), max_size=5)


@given(nested(scalars, keys))
def test_any_event_comes_back_as_json_has_it(event: dict[Any, Any]) -> None:
    # `repr` tells 1, 1.0 and True apart, and 0.0 from -0.0, and shows the order of keys.
    assert repr(there_and_back(event)) == repr(as_json_has_it(event))


@given(nested(scalars | no_json, keys | no_keys))
def test_an_event_is_refused_where_json_refuses_it(event: dict[Any, Any]) -> None:
    try:
        expected = as_json_has_it(event)
    except TypeError:
        manager = RunManager()
        reader = manager.subscribe(1)
        with pytest.raises(TypeError, match=r"^event\[.*(which JSON has no form for|is a key of type)"):
            manager.publish(1, event)
        assert reader.empty()
    else:
        assert repr(there_and_back(event)) == repr(expected)


@given(st.dictionaries(any_text, st.none() | st.booleans() | numbers | any_text, max_size=8))
def test_flat_events_come_back_by_every_way(event: dict[str, Any]) -> None:
    """Log messages are flat, and take a way of their own."""
    expected = repr(as_json_has_it(event))
    manager = RunManager()
    reader = manager.subscribe(1)
    manager.publish(1, event)
    reader.put_nowait(event)
    manager.finish_run(1, event)
    assert [repr(read) for read in drain(reader)] == [expected] * 3
    assert repr(manager.terminal_event(1)) == expected


def test_doubles_keep_every_bit() -> None:
    dice = random.Random(4)
    doubles = [math.ldexp(dice.random() - 0.5, dice.randint(-1080, 1024)) for _ in range(5000)]
    edges = [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1e16, 1e22, 1e23, -0.0, 123456789012345680.0]
    event = {"values": doubles + edges}
    assert repr(there_and_back(event)) == repr(event)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**4299, -(10**4299)])
def test_integers_of_any_size(number: int) -> None:
    event = {"value": number, "in a list": [number]}
    assert there_and_back(event) == event


def test_every_character() -> None:
    text = "".join(map(chr, range(0x11000))) + "\U0001f600\U0010ffff"
    assert there_and_back({"text": text}) == as_json_has_it({"text": text})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ],
)
def test_lone_surrogates(text: str, read: str) -> None:
    assert there_and_back({text: [text]}) == {read: [read]}


def test_nan_and_infinities_are_null() -> None:
    assert there_and_back({"a": math.nan, "b": [math.inf, -math.inf, Real("nan")]}) == {"a": None, "b": [None] * 3}


def test_keys() -> None:
    event = dict.fromkeys([1, 2.5, True + 1, None, math.nan, math.inf, False, Number(8), 1e16, Real(0.5)], "value")
    assert list(there_and_back(event)) == list(as_json_has_it(event))


def test_keys_that_become_the_same() -> None:
    event = {1: "number", "x": 0, "1": "text", "\udead": "lone", chr(0xFFFD): "replacement"}
    assert list(there_and_back(event).items()) == [("1", "text"), ("x", 0), ("\ufffd", "replacement")]


def test_any_mapping_is_an_object() -> None:
    inner = types.MappingProxyType({"a": 1})
    assert there_and_back(UserDict(value=inner)) == {"value": {"a": 1}}
    assert there_and_back(inner) == {"a": 1}


# What is refused


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"a": b""}, "event['a'] is of type bytes, which JSON has no form for; convert it first"),
        ({"a": [0, {"b": (1, 1j)}]}, "event['a'][1]['b'][1] is of type complex, which"),
        ({"a": {(1, 2): 3}}, "event['a'][(1, 2)] is a key of type tuple; keys must be str, int, float, bool or None"),
        ({"a": {"x" * 100: b""}}, "event['a']['" + "x" * 59 + "…] is of type bytes"),
    ],
)
def test_what_is_refused_is_named(event: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        there_and_back(event)
    assert str(caught.value).startswith(message)


def deep(levels: int, bracket: type = dict) -> dict[str, Any]:
    """An event of so many levels."""
    value: Any = 0
    for _ in range(levels - 1):
        value = {"a": value} if bracket is dict else [value]
    return {"a": value}


@pytest.mark.parametrize("bracket", [dict, list])
def test_depth(bracket: type) -> None:
    assert there_and_back(deep(128, bracket)) == deep(128, bracket)
    for levels in (129, 130, 100_000):
        with pytest.raises(ValueError, match="nested deeper than 128 levels, or refers to itself"):
            there_and_back(deep(levels, bracket))


def test_an_event_that_refers_to_itself() -> None:
    event: dict[str, Any] = {}
    event["list"] = [event]
    with pytest.raises(ValueError, match="nested deeper than 128 levels, or refers to itself"):
        there_and_back(event)
    pair = Pairs()
    pair["me"] = pair
    with pytest.raises(ValueError, match="refers to itself"):
        there_and_back(pair)


@pytest.mark.parametrize("event", [{"a": 10**4300}, {10**4300: "a"}, {"a": [-(10**5000)]}])
def test_more_digits_than_python_prints(event: dict[Any, Any]) -> None:
    with pytest.raises(ValueError, match="Exceeds the limit"):
        there_and_back(event)


def test_what_is_published_can_be_read_whatever_python_prints(manager: RunManager, reader: Subscription) -> None:
    """A number that no reader could decode is refused to its publisher, or else read."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        manager.publish(1, {"value": 10**5000})
    except ValueError:
        assert reader.empty()
    else:
        assert reader.get_nowait() == {"value": 10**5000}
    finally:
        sys.set_int_max_str_digits(before)


# Objects that do things while they are written


class Acting(Mapping[str, Any]):
    """A mapping that does something when its items are asked for."""

    def __init__(self, act: Any) -> None:
        self._act = act

    def __getitem__(self, key: str) -> Any:
        return self._act()

    def __iter__(self) -> Iterator[str]:
        return iter(["acted"])

    def __len__(self) -> int:
        return 1


def test_a_dict_that_changes_while_it_is_written() -> None:
    event: dict[str, Any] = {"a": 1}
    event["b"] = Acting(lambda: event.clear())
    event["c"] = 3
    assert there_and_back(event) == {"a": 1, "b": {"acted": None}, "c": 3}
    assert event == {}


def test_a_list_that_shrinks_while_it_is_written() -> None:
    values: list[Any] = [1]
    values += [Acting(lambda: values.clear()), 2, 3]
    # A free-threaded CPython writes a copy.
    rest = [2, 3] if sysconfig.get_config_var("Py_GIL_DISABLED") else []
    assert there_and_back({"values": values}) == {"values": [1, {"acted": None}, *rest]}


def test_an_event_that_publishes_itself(manager: RunManager, reader: Subscription) -> None:
    manager.publish(1, {"n": 2, "inner": Acting(lambda: manager.publish(1, {"n": 1}) and None)})
    assert drain(reader) == [{"n": 1}, {"n": 2, "inner": {"acted": None}}]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, KeyboardInterrupt])
def test_what_an_object_raises_reaches_the_publisher(
    manager: RunManager, reader: Subscription, error: type[BaseException]
) -> None:
    def broken() -> None:
        raise error("mine")

    with pytest.raises(error, match="mine"):
        manager.publish(1, {"a": Acting(broken)})
    assert reader.empty()


def test_a_value_error_of_an_object_is_named(manager: RunManager) -> None:
    def broken() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^event\['a'\]: mine$") as caught:
        manager.publish(1, {"a": Acting(broken)})
    assert str(caught.value.__cause__) == "mine"


def test_a_key_that_cannot_be_shown(manager: RunManager) -> None:
    class Key:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(TypeError, match=r"^event\['a'\]\[\?\] is a key of type Key"):
        manager.publish(1, {"a": {Key(): 1}})


def test_a_dict_that_another_thread_changes(manager: RunManager) -> None:
    """Every event is one that the dict was at some time."""
    manager = RunManager(history=20_000)
    reader = manager.subscribe(1)
    event: dict[str, Any] = {"first": 1, "list": []}

    def change() -> None:
        for n in range(20_000):
            event[f"key {n % 7}"] = n
            event.pop(f"key {(n + 3) % 7}", None)

    thread = Background(change)
    published = 0
    while thread.is_alive() and published < 20_000:
        manager.publish(1, event)
        published += 1
    thread.result()
    events = drain(reader)
    assert len(events) == published
    assert all(read["first"] == 1 and read["list"] == [] for read in events)


@pytest.mark.parametrize(
    "character", ['"', "\\", "\x00", "\x1f", "\x7f", "\x85", "\u2028", "\u2029", "·", "…", "é", "語", "😀"], ids=ascii
)
def test_a_character_is_found_wherever_it_stands(manager: RunManager, character: str) -> None:
    """Texts are looked through in blocks of several sizes."""
    reader = manager.subscribe(1)
    texts = ["a" * before + character + "b" * after for before in range(70) for after in (0, 1, 7, 8, 31, 33)]
    for text in texts:
        manager.publish(1, {text: text})
        frame = reader.get_nowait()
        assert frame == {text: text}
