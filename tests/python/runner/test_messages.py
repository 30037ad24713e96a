"""What the work says, whatever it is given to say."""

import contextlib
import logging
import math
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Run, RunContext, Runner

from .support import ended, events_of


def test_log_and_progress_reach_readers(manager: RunManager) -> None:
    runner = Runner(manager, progress_interval=0)

    def work(context: RunContext) -> None:
        context.log("始まり")
        context.log("odd", level="warning", page=7)
        context.progress(1, 2)
        context.progress(2, None, step="reading", current_term="run")
        context.progress(3, 3, message="all read", level="info")

    run = ended(runner.start(work))
    *events, _ = events_of(manager, run)
    times = [datetime.fromisoformat(event.pop("time")) for event in events]
    assert times == sorted(times)
    assert all(time.utcoffset() is not None for time in times)
    assert events == [
        {"run_id": run.run_id, "level": "info", "message": "始まり"},
        {"run_id": run.run_id, "level": "warning", "message": "odd", "page": 7},
        {"run_id": run.run_id, "progress_current": 1, "progress_total": 2},
        {
            "run_id": run.run_id,
            "progress_current": 2,
            "progress_total": None,
            "step": "reading",
            "current_term": "run",
        },
        {"run_id": run.run_id, "progress_current": 3, "progress_total": 3, "message": "all read", "level": "info"},
    ]


def test_what_is_said_after_the_end_goes_nowhere(runner: Runner, manager: RunManager) -> None:
    contexts: list[RunContext] = []
    run = ended(runner.start(contexts.append))
    contexts[0].log("too late")
    contexts[0].progress(1, 1)
    assert len(events_of(manager, run)) == 1
    assert manager.stats()["active_runs"] == 0


def outcome(manager: RunManager, work: Any) -> tuple[Run, list[dict[str, Any]]]:
    """The run of this work, which must not fail, and its messages without what each has."""
    runner = Runner(manager, progress_interval=0)
    run = ended(runner.start(work))
    assert run.error is None
    *events, _ = events_of(manager, run)
    for event in events:
        del event["run_id"], event["time"]
    return run, events


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "genglossary_runs.runner"]


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


class Hostile:
    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Opaque(), "<opaque>"),
        (Hostile(), None),
        (b"\xff" * 10_000_000, None),
        ([Opaque()], "[<opaque>]"),
        ({"deep": {(1, 2): 3}}, "{'deep': {(1, 2): 3}}"),
        (10**5000, None),
        (ValueError("x"), "ValueError('x')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_cannot_be_written_ends_no_run(
    manager: RunManager, caplog: pytest.LogCaptureFixture, value: Any, shown: str | None
) -> None:
    """An hours-long run failed for one field of a log line."""

    def work(context: RunContext) -> None:
        for _ in range(3):
            context.log("row read", good=1, odd=value)
        context.progress(1, 2, odd=value)

    run, events = outcome(manager, work)
    assert len(events) == 4
    for event in events:
        assert 0 < len(event["odd"]) <= 200
        assert shown in (None, event["odd"])
    assert events[0]["good"] == 1
    (complaint,) = complaints(caplog)
    assert f"Run {run.run_id}" in complaint
    assert "'odd'" in complaint


def test_a_value_that_refers_to_itself_ends_no_run(manager: RunManager) -> None:
    value: list[Any] = []
    value.append(value)
    _, (event,) = outcome(manager, lambda context: context.log("x", value=value))
    assert event["value"].startswith("[[")


def test_a_value_is_written_with_the_managers_default() -> None:
    manager = RunManager(default=lambda value: "by default")
    _, (event,) = outcome(manager, lambda context: context.log("x", value=Opaque()))
    assert event["value"] == "by default"


@pytest.mark.parametrize("name", ["run_id", "time", "complete", "gap", "cancel_requested", "message", "level", "self"])
def test_a_name_that_is_taken_ends_no_run(manager: RunManager, caplog: pytest.LogCaptureFixture, name: str) -> None:
    if name == "level":
        _, (event,) = outcome(manager, lambda context: context.log("x", **{name: "ground floor"}))
        assert (event["level"], event["level_"]) == ("info", "ground floor")
    elif name == "self":
        _, (event,) = outcome(manager, lambda context: context.log("x", **{name: 1}))
        assert event["self"] == 1
        assert complaints(caplog) == []
        return
    else:
        _, (event,) = outcome(manager, lambda context: context.log("x", **{name: True, name + "_": 2}))
        assert (event["message"], event[name + "_"], event[name + "__"]) == ("x", 2, True)
        assert "complete" not in event
    (complaint,) = complaints(caplog)
    assert repr(name) in complaint


def test_fields_of_progress_may_have_any_name(manager: RunManager) -> None:
    row = {"current": 1, "total": 2, "self": 3, "progress_current": 4, "time": 5}
    _, (event,) = outcome(manager, lambda context: context.progress(7, 8, **row))
    assert event == {
        "progress_current": 7,
        "progress_total": 8,
        "current": 1,
        "total": 2,
        "self": 3,
        "progress_current_": 4,
        "time_": 5,
    }


def test_progress_by_keyword(manager: RunManager) -> None:
    _, events = outcome(manager, lambda context: (context.progress(current=1, total=2), context.progress(3)))
    assert events == [
        {"progress_current": 1, "progress_total": 2},
        {"progress_current": 3, "progress_total": None},
    ]


@pytest.mark.parametrize(
    ("message", "shown"), [(7, "7"), (None, "None"), (ValueError("x"), "x"), ({"a": 1}, "{'a': 1}"), ("", "")]
)
def test_a_message_is_text(manager: RunManager, message: Any, shown: str) -> None:
    _, (event,) = outcome(manager, lambda context: context.log(message))
    assert event["message"] == shown


class NoTruth(list[int]):
    """As arrays and tables have none."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]


def test_a_value_without_a_truth_ended_its_run(manager: RunManager) -> None:
    value = NoTruth([1])

    def work(context: RunContext) -> None:
        context.log(value, level=value, message=value)  # type: ignore[arg-type]
        context.progress(1, 2, step=value, message=value)  # type: ignore[arg-type]
        with context.group(value):
            context.log("", message=value)

    _, (logged, progress, group, inner, _) = outcome(manager, work)
    assert (logged["message"], logged["level"], logged["level_"], logged["message_"]) == ("[1]", "info", [1], [1])
    assert (progress["step"], progress["message"]) == ("[1]", [1])
    assert (group["message"], inner["message"]) == ("[1]", "[1]")


@pytest.mark.parametrize(
    ("level", "mapped"),
    [
        ("debug", "debug"),
        ("WARN", "warning"),
        ("Warning", "warning"),
        ("critical", "error"),
        ("FATAL", "error"),
        ("notset", "debug"),
        (logging.DEBUG, "debug"),
        (25, "info"),
        (30, "warning"),
        (1000, "error"),
        (0, "debug"),
    ],
)
def test_levels_of_logging_are_mapped_to_the_four(manager: RunManager, level: Any, mapped: str) -> None:
    _, (event,) = outcome(manager, lambda context: context.log("x", level=level))
    assert event == {"level": mapped, "message": "x"}


@pytest.mark.parametrize("level", ["loud", "", None, True, 1.5, object()])
def test_a_level_that_is_none_is_told(manager: RunManager, caplog: pytest.LogCaptureFixture, level: Any) -> None:
    _, (event,) = outcome(manager, lambda context: context.log("x", level=level))
    assert event["level"] == "info"
    assert "level_" in event
    assert any("'level'" in complaint for complaint in complaints(caplog))


class Index:
    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize("number", [3, 3.0, Decimal(3), Index(), Fraction(3)])
def test_whatever_stands_for_a_number_is_progress(manager: RunManager, number: Any) -> None:
    _, (event,) = outcome(manager, lambda context: context.progress(number, number))
    assert (event["progress_current"], event["progress_total"]) == (3, 3)


@pytest.mark.parametrize("number", ["3", b"3", None, [3], True, object(), 1j, math.nan, math.inf, Decimal("NaN")])
def test_what_is_no_number_is_refused(runner: Runner, manager: RunManager, number: Any) -> None:
    def work(context: RunContext) -> None:
        with pytest.raises((TypeError, ValueError), match="current must be"):
            context.progress(number, 5)
        if number is not None:
            with pytest.raises((TypeError, ValueError), match="total must be"):
                context.progress(1, number)

    run = ended(runner.start(work))
    assert run.error is None
    assert len(events_of(manager, run)) == 1


@pytest.mark.parametrize(
    ("current", "total", "sent"), [(7, 5, (5, 5)), (-1, 5, (0, 5)), (-1, None, (0, None)), (3, -2, (0, 0))]
)
def test_progress_outside_its_bounds_is_told(
    manager: RunManager, caplog: pytest.LogCaptureFixture, current: int, total: Any, sent: tuple[int, Any]
) -> None:
    _, (event,) = outcome(manager, lambda context: context.progress(current, total))
    assert (event["progress_current"], event["progress_total"]) == sent
    (complaint,) = complaints(caplog)
    assert f"was {current} of {total}" in complaint


# track


def test_track_tells_how_far_it_is(manager: RunManager) -> None:
    _, events = outcome(manager, lambda context: list(context.track("ab", step="reading", book=7)))
    assert [(event["progress_current"], event["progress_total"]) for event in events] == [(0, 2), (1, 2), (2, 2)]
    assert {(event["step"], event["book"]) for event in events} == {("reading", 7)}


def test_track_of_what_has_no_length(manager: RunManager) -> None:
    _, events = outcome(manager, lambda context: list(context.track(iter("ab"))))
    assert [(event["progress_current"], event["progress_total"]) for event in events] == [
        (0, None),
        (1, None),
        (2, None),
    ]


def test_track_of_what_grows(manager: RunManager, caplog: pytest.LogCaptureFixture) -> None:
    items = [1]

    def work(context: RunContext) -> None:
        for item in context.track(items):
            if item < 3:
                items.append(item + 1)

    _, events = outcome(manager, work)
    assert [(event["progress_current"], event["progress_total"]) for event in events][-1] == (3, None)
    assert complaints(caplog) == []


def test_track_looks_for_the_cancel(runner: Runner) -> None:
    done: list[int] = []

    def work(context: RunContext) -> None:
        for number in context.track(range(10)):
            done.append(number)
            if number == 3:
                context.cancel_event.set()

    assert ended(runner.start(work)).status == "cancelled"
    assert done == [0, 1, 2, 3]


# Groups


def test_a_group_is_a_message_and_an_end(manager: RunManager) -> None:
    def work(context: RunContext) -> None:
        with context.group("outer"), contextlib.suppress(ValueError), context.group("inner"):
            context.log("inside")
            raise ValueError
        context.log("after")

    run = ended(Runner(manager).start(work))
    *events, _ = events_of(manager, run)
    assert [(event.get("message"), event.get("group")) for event in events] == [
        ("outer", "begin"),
        ("inner", "begin"),
        ("inside", None),
        (None, "end"),
        (None, "end"),
        ("after", None),
    ]
