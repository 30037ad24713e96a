"""Objects that other threads change while they are published: with the GIL, and more so without it."""

import itertools
import threading
import time
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from genglossary_runs import RunManager, Subscription

from .support import Background

SECONDS = 0.5
PUBLISHERS = 2
"""More than one: of two that read a text at the same time, one waits for the other, and others may change the dict."""


@contextmanager
def changed_by(*changes: Callable[[int], object]) -> Iterator[None]:
    """Threads that each call one of these again and again, with a number that rises."""
    done = threading.Event()

    def go_on(change: Callable[[int], object]) -> None:
        for n in itertools.count():
            if done.is_set():
                return
            change(n)

    threads = [Background(go_on, change) for change in changes]
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.result()


def text(n: object) -> str:
    """A text whose UTF-8 nobody has asked for yet."""
    return f"用語 {n}"


def publish_often(event: Any, check: Callable[[Any], object]) -> None:
    """Publish it from several threads, and check each event that is read, but for the notices of gaps they make."""
    manager = RunManager(history=10)
    manager.open_run(1)

    def publish(reader: Subscription) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            manager.publish(1, event)
            got = reader.get()
            if "gap" not in got:
                check(got)

    publishers = [Background(publish, manager.subscribe(1)) for _ in range(PUBLISHERS)]
    for publisher in publishers:
        publisher.result()


def fill(values: Any) -> Callable[[int], object]:
    """Change a dict: each key has a text that ends in it."""
    return lambda n: values.__setitem__(str(n % 50), text(n % 50))


def empty(values: Any) -> Callable[[int], object]:
    """Change a dict: it loses keys, one at a time or all."""
    return lambda n: values.pop(str(n % 50), None) if n % 100 else values.clear()


def check_values(values: dict[str, str]) -> None:
    """Each key has the text that it was given."""
    assert all(value == text(key) for key, value in values.items())


def test_a_dict_that_gains_and_loses_keys() -> None:
    event: dict[str, str] = {}
    with changed_by(fill(event), empty(event)):
        publish_often(event, check_values)


def test_a_dict_is_published_as_it_was_at_one_moment() -> None:
    old, new = ({str(key): number for key in range(20)} for number in (1, 2))
    event = dict(old)

    def check(got: Any) -> None:
        assert len({got[key] for key in old}) == 1

    with changed_by(lambda n: event.update(old if n % 2 else new)):
        publish_often(event, check)


def test_a_list_is_published_as_it_was_at_one_moment() -> None:
    """It moves on: what is read has neither holes nor repetitions."""
    values: list[int] = []

    def move_on(n: int) -> None:
        values.append(n)
        if len(values) > 20:
            del values[:10]

    def check(got: Any) -> None:
        if got["values"]:
            first = got["values"][0]
            assert got["values"] == list(range(first, first + len(got["values"])))

    with changed_by(move_on):
        publish_often({"values": values}, check)


def test_a_list_that_grows_meanwhile() -> None:
    values: list[str] = []

    def grow(n: int) -> None:
        values.append(text(n))
        if n % 1000 == 0:
            values.clear()

    def check(got: Any) -> None:
        assert all(value.startswith("用語 ") for value in got["values"])

    with changed_by(grow):
        publish_often({"values": values}, check)


def test_nested_dicts_and_lists() -> None:
    inner: dict[str, str] = {}
    rows: list[Any] = []
    event: dict[str, Any] = {"inner": inner, "rows": rows}

    def change_rows(n: int) -> None:
        rows.append([inner, {text(n): inner}, (inner, text(n))])
        if len(rows) > 5:
            rows.clear()

    def change_event(n: int) -> None:
        event[text(n)] = {"inner": inner, "rows": [inner]}
        event.pop(text(n - 5), None)

    def check(got: Any) -> None:
        check_values(got["inner"])
        for first, second, third in got["rows"]:
            check_values(first)
            check_values(third[0])
            assert list(second) == [third[1]]

    with changed_by(fill(inner), empty(inner), change_rows, change_event):
        publish_often(event, check)


@pytest.mark.parametrize("kind", [UserDict, type("Dict", (dict,), {})])
def test_another_mapping_that_is_changed_is_published_or_refused(kind: Any) -> None:
    """It is read through its own `items`, which may notice that it changes, and says so as it would to anybody.

    No `OrderedDict`: without the GIL, CPython 3.13's own code for it crashes when two threads use one.
    """
    values = kind()

    def publish(n: int) -> None:
        # That it changed size, or that a key has gone.
        with suppress(RuntimeError, KeyError):
            manager.publish(1, {"n": n, "values": values})

    manager = RunManager(history=10)
    manager.open_run(1)
    # Not `empty`: `UserDict.clear` itself cannot bear that somebody adds keys.
    with changed_by(fill(values), lambda n: values.pop(str(n % 50), None), publish, publish):
        time.sleep(SECONDS)
    values.clear()
    reader = manager.subscribe(1)
    manager.publish(1, {"values": values})
    assert reader.get() == {"values": {}}
