"""A subscription as the queue that the application takes it for."""

import json
import queue
import threading
import time
from typing import Any

import pytest
from genglossary.runs.manager import RunManager

from .support import DEADLINE, drain, in_thread, join, log, terminal, texts, wait_for


@pytest.fixture
def subscription(manager: RunManager) -> Any:
    """A subscriber of run 1."""
    return manager.register_subscriber(1)


# Reading


def test_get_returns_what_is_there(manager: RunManager, subscription: Any) -> None:
    for number in range(6):
        manager._broadcast_log(1, log(1, f"line {number}"))
    read = [
        subscription.get(),
        subscription.get(True),
        subscription.get(False),
        subscription.get(True, 1),
        subscription.get(block=True, timeout=0.5),
        subscription.get_nowait(),
    ]
    assert read == [log(1, f"line {number}") for number in range(6)]


def test_get_waits_for_a_message(manager: RunManager, subscription: Any) -> None:
    about_to_wait = threading.Event()
    read = []

    def reader() -> None:
        about_to_wait.set()
        read.append(subscription.get())

    thread = in_thread(reader)
    assert about_to_wait.wait(DEADLINE)
    assert read == []
    manager._broadcast_log(1, log(1, "at last"))
    join(thread)
    assert read == [log(1, "at last")]


def test_get_gives_up_after_the_timeout(subscription: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(queue.Empty):
        subscription.get(timeout=0.1)
    assert time.monotonic() - begun >= 0.09


@pytest.mark.parametrize("arguments", [{"block": False}, {"block": False, "timeout": 60}, {"timeout": 0}])
def test_get_without_waiting(subscription: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(queue.Empty):
        subscription.get(**arguments)


def test_get_nowait_of_nothing(subscription: Any) -> None:
    with pytest.raises(queue.Empty):
        subscription.get_nowait()


def test_a_negative_timeout_is_refused(subscription: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        subscription.get(timeout=-1)


def test_waiting_lets_other_threads_run(manager: RunManager, subscription: Any) -> None:
    turns = 0
    ended = threading.Event()

    def count() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1

    thread = in_thread(count)
    with pytest.raises(queue.Empty):
        subscription.get(timeout=0.2)
    ended.set()
    join(thread)
    assert turns > 100


# Sizes


def test_empty_and_qsize(manager: RunManager, subscription: Any) -> None:
    assert subscription.empty() is True
    assert subscription.qsize() == 0
    for size in (1, 2, 3):
        manager._broadcast_log(1, log(1, "line"))
        assert subscription.empty() is False
        assert subscription.qsize() == size
    for size in (2, 1, 0):
        subscription.get_nowait()
        assert subscription.qsize() == size
    assert subscription.empty() is True


def test_full_means_that_qsize_has_reached_the_limit(manager: RunManager, subscription: Any) -> None:
    limit = RunManager.MAX_LOG_QUEUE_SIZE
    assert subscription.full() is False
    for _ in range(limit - 1):
        manager._broadcast_log(1, log(1, "line"))
    assert (subscription.qsize(), subscription.full()) == (limit - 1, False)
    manager._broadcast_log(1, log(1, "line"))
    assert (subscription.qsize(), subscription.full()) == (limit, True)
    subscription.get_nowait()
    assert subscription.full() is False


def test_full_counts_both_kinds(manager: RunManager, subscription: Any) -> None:
    limit = RunManager.MAX_LOG_QUEUE_SIZE
    for _ in range(limit // 2):
        manager._broadcast_log(1, log(1, "published"))
        subscription.put_nowait(log(1, "put"))
    assert subscription.qsize() == limit
    assert subscription.full() is True


def test_qsize_never_exceeds_the_limit_for_what_is_published(manager: RunManager, subscription: Any) -> None:
    """The notice of what was dropped comes before, and is not counted."""
    for _ in range(2345):
        manager._broadcast_log(1, log(1, "line"))
    assert subscription.full() is True
    assert subscription.qsize() == RunManager.MAX_LOG_QUEUE_SIZE
    notice, *messages = drain(subscription)
    assert "gap" in notice
    assert messages == [log(1, "line")] * RunManager.MAX_LOG_QUEUE_SIZE


def test_when_it_is_not_empty_get_nowait_succeeds(manager: RunManager, subscription: Any) -> None:
    """While another thread publishes, falls behind, and finishes."""

    def publish() -> None:
        for number in range(5000):
            manager._broadcast_log(1, log(1, f"line {number}"))
        manager._cleanup_run_resources(1)

    thread = in_thread(publish)
    last: dict[str, Any] = {}
    while not last.get("complete"):
        wait_for(lambda: not subscription.empty(), "a message")
        assert subscription.qsize() > 0
        last = subscription.get_nowait()
    join(thread)
    assert subscription.empty()


def test_what_the_terminal_event_counts(manager: RunManager, subscription: Any) -> None:
    manager._cleanup_run_resources(1)
    assert (subscription.empty(), subscription.qsize()) == (False, 1)
    assert subscription.get_nowait() == terminal(1)
    assert (subscription.empty(), subscription.qsize()) == (True, 0)


# put_nowait


def test_put_is_to_this_subscriber_alone(manager: RunManager, subscription: Any) -> None:
    other = manager.register_subscriber(1)
    subscription.put_nowait(log(1, "private"))
    assert drain(subscription) == [log(1, "private")]
    assert other.empty()
    assert manager.register_subscriber(1, after="0").empty()


def test_its_messages_are_read_where_they_were_put(manager: RunManager, subscription: Any) -> None:
    subscription.put_nowait(log(1, "put 1"))
    manager._broadcast_log(1, log(1, "published 1"))
    subscription.put_nowait(log(1, "put 2"))
    subscription.put_nowait(log(1, "put 3"))
    manager._broadcast_log(1, log(1, "published 2"))
    manager._broadcast_log(1, log(1, "published 3"))
    subscription.put_nowait(log(1, "put 4"))
    assert texts(drain(subscription)) == [
        "put 1",
        "published 1",
        "put 2",
        "put 3",
        "published 2",
        "published 3",
        "put 4",
    ]


def test_the_limit_is_of_its_own_unread_messages(manager: RunManager, subscription: Any) -> None:
    limit = RunManager.MAX_LOG_QUEUE_SIZE
    for _ in range(limit):
        subscription.put_nowait(log(1, "put"))
    for _ in range(2):
        with pytest.raises(queue.Full):
            subscription.put_nowait(log(1, "one too many"))
    assert subscription.qsize() == limit
    assert subscription.full()
    subscription.get_nowait()
    subscription.put_nowait(log(1, "room again"))
    with pytest.raises(queue.Full):
        subscription.put_nowait(log(1, "one too many"))
    assert texts(drain(subscription)) == ["put"] * (limit - 1) + ["room again"]


def test_what_is_published_does_not_count_against_it(manager: RunManager, subscription: Any) -> None:
    limit = RunManager.MAX_LOG_QUEUE_SIZE
    for _ in range(limit):
        manager._broadcast_log(1, log(1, "published"))
    for _ in range(limit):
        subscription.put_nowait(log(1, "put"))
    with pytest.raises(queue.Full):
        subscription.put_nowait(log(1, "one too many"))
    assert texts(drain(subscription)) == ["published"] * limit + ["put"] * limit


def test_what_is_put_does_not_push_out_what_is_published(manager: RunManager, subscription: Any) -> None:
    manager._broadcast_log(1, log(1, "published"))
    for _ in range(RunManager.MAX_LOG_QUEUE_SIZE):
        subscription.put_nowait(log(1, "put"))
    manager._broadcast_log(1, log(1, "published later"))
    assert texts(drain(subscription)) == [
        "published",
        *["put"] * RunManager.MAX_LOG_QUEUE_SIZE,
        "published later",
    ]


def test_a_waiting_get_receives_what_is_put(subscription: Any) -> None:
    read = []
    thread = in_thread(lambda: read.append(subscription.get(timeout=DEADLINE)))
    subscription.put_nowait(log(1, "put"))
    join(thread)
    assert read == [log(1, "put")]


# Messages

MESSAGES: list[dict[Any, Any]] = [
    {"run_id": 1, "level": "info", "message": "用語を抽出しています", "progress_current": 3, "progress_total": 10},
    {"message": 'quotes " and \\ and \n and \t and \x00 and \u2028 and 🎉'},
    {"empty": "", "none": None, "true": True, "false": False, "list": [], "dict": {}},
    {"int": -(2**63), "big": 10**30, "float": 0.1, "tiny": 5e-324, "negative zero": -0.0},
    {"nested": {"list": [1, [2, {"deep": (3, 4)}]]}, "tuple": ("a", "b")},
    {2: "int key", 2.5: "float key", True: "bool key", None: "none key"},
    {},
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: next(iter(map(str, message)), "empty"))
def test_a_message_comes_back_as_json_makes_it(manager: RunManager, subscription: Any, message: Any) -> None:
    manager._broadcast_log(1, message)
    subscription.put_nowait(message)
    expected = json.loads(json.dumps(message))
    published, put = drain(subscription)
    assert published == put == expected
    assert type(published) is dict
    assert list(published) == list(expected)


def test_not_a_number_is_null(manager: RunManager, subscription: Any) -> None:
    manager._broadcast_log(1, {"nan": float("nan"), "infinity": float("inf")})
    assert subscription.get_nowait() == {"nan": None, "infinity": None}


@pytest.mark.parametrize("surrogate", ["\ud800", "end\udfff", "a\ud83db", "\ude00\ud83d"])
def test_lone_surrogates_are_replaced(manager: RunManager, subscription: Any, surrogate: str) -> None:
    replaced = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in surrogate)
    manager._broadcast_log(1, {"message": surrogate, surrogate: "key"})
    subscription.put_nowait({"message": surrogate})
    assert drain(subscription) == [{"message": replaced, replaced: "key"}, {"message": replaced}]


def test_a_pair_of_surrogates_is_the_character_it_means(manager: RunManager, subscription: Any) -> None:
    """JSON makes it so; neither of the two is lone."""
    manager._broadcast_log(1, {"message": "\ud83c\udf89"})
    assert subscription.get_nowait() == json.loads(json.dumps({"message": "\ud83c\udf89"})) == {"message": "🎉"}


def test_a_message_is_what_it_was_when_it_was_published(manager: RunManager, subscription: Any) -> None:
    message: dict[str, Any] = {"message": "before", "list": [1]}
    manager._broadcast_log(1, message)
    message["message"] = "after"
    message["list"].append(2)
    assert subscription.get_nowait() == {"message": "before", "list": [1]}


def test_subscribers_do_not_share_the_dict(manager: RunManager, subscription: Any) -> None:
    other = manager.register_subscriber(1)
    manager._broadcast_log(1, {"list": [1]})
    subscription.get_nowait()["list"].append(2)
    assert other.get_nowait() == {"list": [1]}


@pytest.mark.parametrize("message", [{"message": object()}, {"message": b"bytes"}, {"message": {1j}}, {(1, 2): "key"}])
def test_what_json_has_no_form_for_is_refused_and_nothing_is_lost(
    manager: RunManager, subscription: Any, message: Any
) -> None:
    manager._broadcast_log(1, log(1, "before"))
    with pytest.raises(TypeError):
        manager._broadcast_log(1, message)
    with pytest.raises(TypeError):
        subscription.put_nowait(message)
    manager._broadcast_log(1, log(1, "after"))
    assert texts(drain(subscription)) == ["before", "after"]
