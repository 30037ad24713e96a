"""What names a run: an int of 64 bits, a text, a UUID."""

import asyncio
import enum
import uuid
from typing import Any

import pytest
from genglossary_runs import RunActiveError, RunManager

from .support import numbers

INTS = [0, 1, -1, 2**63 - 1, -(2**63)]
TEXTS = ["a", "job 7", "用語集", "a" * 200, "語" * 200, "017", "+1", "-0", "1.0", " 1"]


@pytest.fixture
def manager() -> RunManager:
    return RunManager()


@pytest.mark.parametrize("run_id", [*INTS, *TEXTS], ids=ascii)
def test_a_run_is_found_by_its_id(manager: RunManager, run_id: Any) -> None:
    cancel = manager.open_run(run_id)
    reader = manager.subscribe(run_id, must_exist=True)
    assert reader.run_id == run_id
    assert manager.active_runs() == manager.subscribed_runs() == [run_id]
    assert manager.publish(run_id, {"n": 1}) is not None
    assert manager.is_active(run_id)
    assert manager.cancel_event(run_id) == cancel
    assert manager.cancel_run(run_id)
    assert cancel.is_set()
    with pytest.raises(RunActiveError):
        manager.open_run(run_id)
    assert manager.finish_run(run_id, {"n": 2})
    assert manager.terminal_event(run_id) == {"n": 2}
    assert manager.retained_runs() == [run_id]
    assert numbers(list(reader)) == [1, 2]


@pytest.mark.parametrize("number", [0, 17, -5, 2**63 - 1, -(2**63)])
def test_the_decimal_form_of_an_int_is_that_int(manager: RunManager, number: int) -> None:
    manager.open_run(str(number))
    assert manager.active_runs() == [number]
    assert manager.is_active(number)
    assert manager.is_active(str(number))
    manager.publish(number, {"n": 1})
    assert manager.subscribe(str(number), "0").get_nowait() == {"n": 1}
    with pytest.raises(RunActiveError):
        manager.open_run(number)


def test_digits_that_are_no_int_of_64_bits_are_a_text(manager: RunManager) -> None:
    manager.open_run(str(2**63))
    assert manager.active_runs() == [str(2**63)]


def test_a_uuid_is_its_text(manager: RunManager) -> None:
    run_id = uuid.uuid4()
    manager.open_run(run_id)
    assert manager.active_runs() == [str(run_id)]
    assert manager.is_active(str(run_id))
    assert manager.is_active(run_id)


def test_ids_of_subclasses(manager: RunManager) -> None:
    class Number(enum.IntEnum):
        ONE = 1

    class Text(enum.StrEnum):
        A = "a"

    class Index:
        def __index__(self) -> int:
            return 3

    for run_id in (Number.ONE, Text.A, Index()):
        manager.open_run(run_id)  # type: ignore[arg-type]  # as numpy.int64 is
    assert manager.active_runs() == [1, 3, "a"]


def test_runs_are_listed_ints_first(manager: RunManager) -> None:
    for run_id in ("b", 10, "a", -1, 9):
        manager.open_run(run_id)
    assert manager.active_runs() == [-1, 9, 10, "a", "b"]


@pytest.mark.parametrize("run_id", [7, 'say "hello" \\ \u2028'])
def test_a_gap_shows_the_id_as_it_is(run_id: Any) -> None:
    manager = RunManager(history=1)
    reader = manager.subscribe(run_id)
    manager.publish(run_id, {"n": 1})
    manager.publish(run_id, {"n": 2})
    gap = reader.get_nowait()
    assert gap["run_id"] == run_id
    assert gap["gap"] == {"from": 1, "to": 1, "missed": 1}


# Named events


def frames(manager: RunManager, run_id: Any) -> str:
    async def read() -> bytes:
        return b"".join([chunk async for chunk in manager.subscribe(run_id, "0").frames()])

    return asyncio.run(read()).decode()


def test_a_name_is_the_field_event(manager: RunManager) -> None:
    manager.open_run(1)
    ids = [manager.publish(1, {"n": 1}, name="progress"), manager.publish(1, {"n": 2})]
    manager.finish_run(1, {"n": 3})
    fence = str(ids[0]).partition("-")[0]
    assert frames(manager, 1) == (
        f'id: {ids[0]}\nevent: progress\ndata: {{"n":1}}\n\n'
        f'id: {ids[1]}\ndata: {{"n":2}}\n\n'
        f'id: {fence}-3\nevent: complete\ndata: {{"n":3}}\n\n'
    )


def test_a_subscription_tells_the_name_of_the_last_event(manager: RunManager) -> None:
    reader = manager.subscribe(1)
    assert reader.last_event_name is None
    for name in ("a", "b", None, "用語"):
        manager.publish(1, {}, name=name)
    seen = []
    for _ in range(4):
        reader.get_nowait()
        seen.append(reader.last_event_name)
    assert seen == ["a", "b", None, "用語"]


def test_a_subscription_tells_a_gap_and_the_end_from_events_that_look_like_them() -> None:
    manager = RunManager(history=3)
    manager.open_run(1)
    reader = manager.subscribe(1)
    for _ in range(4):
        manager.publish(1, {"gap": {"from": 1, "to": 1, "missed": 1}, "complete": True})
    manager.finish_run(1, {})
    names = []
    for _ in reader:
        names.append(reader.last_event_name)
    assert names == ["gap", None, None, "complete"]


@pytest.mark.parametrize(
    "name", ["", "gap", "complete", "a\nb", "a\r", "\x00", "\x85", "a" * 256, "語" * 86, "a\ud800"], ids=ascii
)
def test_a_name_that_cannot_be(manager: RunManager, name: str) -> None:
    reader = manager.subscribe(1)
    with pytest.raises(ValueError, match=r"name|surrogates"):
        manager.publish(1, {}, name=name)
    assert reader.empty()


@pytest.mark.parametrize("name", [1, b"a", ["a"]])
def test_a_name_of_another_type(manager: RunManager, name: Any) -> None:
    with pytest.raises(TypeError):
        manager.publish(1, {}, name=name)


@pytest.mark.parametrize("name", ["a" * 255, "語" * 85, "message", "error", "a b", "Complete"], ids=ascii)
def test_the_longest_names_and_odd_ones(manager: RunManager, name: str) -> None:
    manager.open_run(1)
    manager.publish(1, {}, name=name)
    assert f"\nevent: {name}\n" in frames_of_one(manager)


def frames_of_one(manager: RunManager) -> str:
    manager.finish_run(1, {})
    return frames(manager, 1)
