"""Bad input has a clear exception, or does nothing, as the stub says; and nothing that was published is lost by it."""

import math
import pickle
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from genglossary_runs import (
    CancelEvent,
    InvalidRunIdError,
    RunActiveError,
    RunManager,
    RunsError,
    Subscription,
    SubscriptionEnded,
    UnknownRunError,
)

from .support import drain, numbers


@pytest.fixture
def witness(manager: RunManager) -> Iterator[Subscription]:
    """A reader of run 1 that must get what was published before and after the test, the end of the run, and no more."""
    witness = manager.subscribe(1)
    manager.publish(1, {"n": 1})
    yield witness
    manager.publish(1, {"n": 2})
    manager.finish_run(1, {"n": 3})
    assert numbers(drain(witness)) == [1, 2, 3]
    assert manager.stats()["active_runs"] == 0


pytestmark = pytest.mark.usefixtures("witness")

# Limits

COUNTS = ["history", "history_bytes", "retained_runs", "retained_bytes"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, -(2**63), -(2**64), 2**64, 10**30], ids="{:.0e}".format)
def test_a_limit_that_is_out_of_bounds(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} must "):
        RunManager(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("history", 0), ("history", 2**31), ("history_bytes", 0)])
def test_a_limit_that_no_log_can_keep(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be "):
        RunManager(**{name: value})


@pytest.mark.parametrize(
    "retention", [-1, -0.001, math.nan, math.inf, -math.inf, 1e10, pytest.param(10**400, id="huge")]
)
def test_a_retention_that_is_out_of_bounds(retention: float) -> None:
    with pytest.raises(ValueError, match="retention must be"):
        RunManager(retention=retention)


@pytest.mark.parametrize("name", [*COUNTS, "retention"])
@pytest.mark.parametrize("value", ["1", None, b"1", [1], 1j])
def test_a_limit_that_is_no_number(name: str, value: Any) -> None:
    with pytest.raises(TypeError):
        RunManager(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
def test_a_limit_that_is_no_integer(name: str) -> None:
    with pytest.raises(TypeError, match="float"):
        RunManager(**{name: 1.5})  # type: ignore[arg-type]


def test_the_largest_limits_work() -> None:
    huge = 2**63 - 1
    manager = RunManager(history=2**31 - 1, history_bytes=huge, retained_runs=huge, retained_bytes=huge, retention=1e9)
    reader = manager.subscribe(1)
    manager.publish(1, {"n": 1})
    manager.finish_run(1, {"n": 2})
    assert numbers(drain(reader)) == [1, 2]
    assert manager.retained_runs() == [1]


def test_the_smallest_limits_work() -> None:
    manager = RunManager(history=1, history_bytes=1, retained_runs=0, retained_bytes=0, retention=0)
    reader = manager.subscribe(1)
    manager.publish(1, {"n": 1})
    reader.put_nowait({"n": 2})
    with pytest.raises(queue.Full):
        reader.put_nowait({"n": 3})
    manager.finish_run(1, {"n": 4})
    assert drain(reader)[0]["gap"]["missed"] == 1


@pytest.mark.parametrize(("args", "kwargs"), [((1000,), {}), ((), {"size": 1}), ((None,), {"history": 1})])
def test_arguments_that_it_does_not_have(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="RunManager takes only the keywords history, history_bytes, retained_runs"):
        RunManager(*args, **kwargs)


# Run ids

MAKE: list[Callable[[RunManager, Any], object]] = [
    lambda manager, run_id: manager.open_run(run_id),
    lambda manager, run_id: manager.finish_run(run_id, {}),
    lambda manager, run_id: manager.cancel_event(run_id, create=True),
]
WRONG_TYPES = [None, True, 1.0, b"1", [1], object()]
WRONG_VALUES = [
    pytest.param("", id="empty"),
    pytest.param("a" * 201, id="too long"),
    pytest.param("語" * 201, id="too long in wide characters"),
    pytest.param("a\nb", id="line end"),
    pytest.param("a\x00", id="null"),
    pytest.param("\x85", id="next line"),
    pytest.param("a\ud800", id="lone surrogate"),
    2**63,
    -(2**63) - 1,
    10**30,
]


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("run_id", WRONG_TYPES)
def test_no_run_is_made_with_an_id_of_another_type(
    manager: RunManager, make: Callable[[RunManager, Any], object], run_id: Any
) -> None:
    with pytest.raises(TypeError, match=f"a run id must be an int, a str or a UUID, not {type(run_id).__name__}"):
        make(manager, run_id)


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("run_id", WRONG_VALUES)
def test_no_run_is_made_with_an_invalid_id(
    manager: RunManager, make: Callable[[RunManager, Any], object], run_id: Any
) -> None:
    with pytest.raises(InvalidRunIdError, match="a run id "):
        make(manager, run_id)


@pytest.mark.parametrize("run_id", [*WRONG_TYPES, *WRONG_VALUES, "", 2])
def test_what_no_run_can_be_named_is_unknown(manager: RunManager, run_id: Any) -> None:
    assert manager.publish(run_id, {}) is None
    assert manager.cancel_run(run_id) is False
    assert manager.cancel_event(run_id) is None
    assert manager.terminal_event(run_id) is None
    assert manager.is_active(run_id) is False
    assert manager.abandon_run(run_id) is False
    with pytest.raises(UnknownRunError, match="unknown"):
        manager.subscribe(run_id, must_exist=True)


@pytest.mark.parametrize("run_id", [*WRONG_TYPES, *WRONG_VALUES])
def test_nobody_waits_for_a_run_that_cannot_start(manager: RunManager, run_id: Any) -> None:
    with pytest.raises(UnknownRunError, match="unknown"):
        manager.subscribe(run_id)


def test_unknown_run_ids(manager: RunManager) -> None:
    assert manager.publish(2, {}) is None
    assert manager.cancel_run(2) is False
    assert manager.cancel_event(2) is None
    assert manager.terminal_event(2) is None
    assert manager.is_active(2) is False
    with pytest.raises(UnknownRunError, match="run 2 is unknown"):
        manager.subscribe(2, must_exist=True)
    assert manager.active_runs() == manager.subscribed_runs() == [1]


def test_a_run_opened_twice(manager: RunManager) -> None:
    event = manager.cancel_event(1)
    with pytest.raises(RunActiveError, match="run 1 is already open; finish it"):
        manager.open_run(1)
    assert manager.cancel_event(1) == event


def test_exceptions_are_the_usual_ones() -> None:
    assert issubclass(RunActiveError, RuntimeError)
    assert issubclass(UnknownRunError, LookupError)
    assert issubclass(SubscriptionEnded, queue.Empty)
    assert issubclass(InvalidRunIdError, ValueError)
    for error in (RunActiveError, UnknownRunError, SubscriptionEnded, InvalidRunIdError):
        assert issubclass(error, RunsError)
        again = pickle.loads(pickle.dumps(error("why")))
        assert type(again) is error
        assert str(again) == "why"


# After the end


def test_what_comes_after_the_end_goes_nowhere(manager: RunManager) -> None:
    manager.open_run(2)
    reader = manager.subscribe(2)
    assert manager.finish_run(2, {"n": 1}) is True
    assert manager.publish(2, {"n": 2}) is None
    assert manager.finish_run(2, {"n": 3}) is False
    assert manager.finish_run(2, {"n": 4}, unless_active=True) is False
    assert manager.cancel_run(2) is False
    assert numbers(drain(reader)) == [1]
    assert manager.terminal_event(2) == {"n": 1}
    assert (manager.active_runs(), manager.subscribed_runs()) == ([1], [1])


# Messages

NO_EVENTS = [None, "text", b"bytes", 1, [], [("n", 1)], ({"n": 1},), {"n"}, object(), dict, dict.items]
NO_JSON = [{"a": b""}, {"a": object()}, {(): 1}, {b"": 1}, {"a": [{"b": 1j}]}]


@pytest.mark.parametrize("event", NO_EVENTS)
def test_an_event_that_is_no_mapping(manager: RunManager, witness: Subscription, event: Any) -> None:
    message = f"^an event must be a dict or another mapping, not {type(event).__name__}$"
    with pytest.raises(TypeError, match=message):
        manager.publish(1, event)
    with pytest.raises(TypeError, match=message):
        manager.finish_run(1, event)
    with pytest.raises(TypeError, match=message):
        witness.put_nowait(event)
    assert manager.is_active(1)


@pytest.mark.parametrize("event", NO_JSON)
def test_an_event_that_json_has_no_form_for(manager: RunManager, witness: Subscription, event: Any) -> None:
    with pytest.raises(TypeError, match=r"^event\["):
        manager.publish(1, event)
    with pytest.raises(TypeError, match=r"^event\["):
        manager.finish_run(1, event)
    with pytest.raises(TypeError, match=r"^event\["):
        witness.put_nowait(event)
    assert manager.is_active(1)


def test_an_event_is_looked_at_before_the_run(manager: RunManager) -> None:
    """A mistake shows also where nobody reads."""
    with pytest.raises(TypeError):
        manager.publish(2, {"a": b""})
    with pytest.raises(TypeError):
        manager.finish_run(2, {"a": b""})
    assert manager.terminal_event(2) is None


# Readers


@pytest.mark.parametrize("timeout", [-1, -1e-9, -math.inf, math.nan])
def test_a_timeout_that_is_no_time(manager: RunManager, timeout: float) -> None:
    reader = manager.subscribe(1)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        reader.get(timeout=timeout)
    manager.publish(2, {})
    reader.put_nowait({"n": 1})
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        reader.get(timeout=timeout)
    assert numbers(drain(reader)) == [1]


@pytest.mark.parametrize("timeout", ["1", b"", [1], 1j])
def test_a_timeout_that_is_no_number(witness: Subscription, timeout: Any) -> None:
    with pytest.raises(TypeError):
        witness.get(timeout=timeout)
    with pytest.raises(TypeError):
        CancelEvent().wait(timeout)


@pytest.mark.parametrize("after", [0, 1.5, b"0", ["0"], True])
def test_a_place_that_is_no_text(manager: RunManager, after: Any) -> None:
    with pytest.raises(TypeError):
        manager.subscribe(1, after)
    assert manager.stats()["subscribers"] == 1


def test_a_closed_subscription(manager: RunManager) -> None:
    reader = manager.subscribe(1)
    reader.close()
    reader.close()
    reader.put_nowait({"n": 1})
    with pytest.raises(queue.Empty):
        reader.get()
    with pytest.raises(queue.Empty):
        reader.get_nowait()
    with pytest.raises(TypeError):
        reader.put_nowait(None)  # type: ignore[arg-type]
    with reader:
        assert list(reader) == []


def test_only_a_manager_makes_subscriptions() -> None:
    with pytest.raises(TypeError):
        Subscription()


@pytest.mark.parametrize("base", [Subscription, CancelEvent])
def test_what_is_final_cannot_be_subclassed(base: type[Any]) -> None:
    with pytest.raises(TypeError):
        type("Mine", (base,), {})


@pytest.mark.parametrize("name", ["run_id", "last_event_id", "closed", "ended"])
def test_what_is_read_only(witness: Subscription, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(witness, name, 1)


def test_cancel_events_compare_with_anything() -> None:
    event: Any = CancelEvent()
    assert event != None  # noqa: E711
    assert event != "event"
    with pytest.raises(TypeError):
        event < event  # noqa: B015
    with pytest.raises(TypeError):
        event.add_callback()
