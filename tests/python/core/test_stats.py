"""What a manager says that it holds."""

import json

from genglossary_runs import RunManager

from .support import drain

EMPTY = {
    "active_runs": 0,
    "subscribed_runs": 0,
    "subscribers": 0,
    "retained_runs": 0,
    "events_held": 0,
    "bytes_held": 0,
    "events_published": 0,
    "bytes_published": 0,
    "events_missed": 0,
}


def test_an_empty_manager() -> None:
    assert RunManager().stats() == EMPTY


def test_runs_and_subscribers() -> None:
    manager = RunManager()
    for run_id in (1, 2):
        manager.open_run(run_id)
    readers = [manager.subscribe(run_id) for run_id in (1, 1, 3)]
    manager.cancel_event(4, create=True)
    assert manager.stats() == EMPTY | {"active_runs": 2, "subscribed_runs": 2, "subscribers": 3}
    readers.pop(0).close()
    assert manager.stats()["subscribers"] == 2
    manager.finish_run(1, {})
    assert manager.stats() | {"bytes_held": 0, "bytes_published": 0} == EMPTY | {
        "active_runs": 1,
        "subscribed_runs": 2,
        "subscribers": 1,
        "retained_runs": 1,
        "events_held": 1,
        "events_published": 1,
    }
    readers.clear()
    assert manager.stats()["subscribed_runs"] == 1


def test_a_reader_of_a_finished_run_is_no_subscriber() -> None:
    manager = RunManager()
    manager.finish_run(1, {})
    reader = manager.subscribe(1)
    assert manager.stats()["subscribers"] == 0
    assert drain(reader) == [{}]


def test_events_and_bytes_are_those_of_every_log() -> None:
    manager = RunManager(history=2)
    events = [{"text": "用語集", "n": n} for n in range(4)]
    size = len(json.dumps(events[0], ensure_ascii=False, separators=(",", ":")).encode())
    manager.open_run(1)
    reader = manager.subscribe(2)
    for event in events:
        manager.publish(1, event)
    manager.publish(2, events[0])
    manager.finish_run(3, events[0])
    manager.publish(4, events[0])
    stats = manager.stats()
    assert (stats["events_held"], stats["bytes_held"]) == (4, 4 * size)
    assert (stats["events_published"], stats["bytes_published"]) == (6, 6 * size)
    reader.close()
    assert manager.stats()["events_held"] == 3


def test_one_encoding_whatever_the_number_of_readers() -> None:
    manager = RunManager()
    readers = [manager.subscribe(1) for _ in range(100)]
    manager.publish(1, {"text": "x" * 1000})
    assert manager.stats()["bytes_held"] < 1100
    assert all(reader.qsize() == 1 for reader in readers)


def test_missed_events_are_summed_over_readers_when_they_are_told() -> None:
    manager = RunManager(history=1)
    readers = [manager.subscribe(1) for _ in range(3)]
    for _ in range(5):
        manager.publish(1, {})
    assert manager.stats()["events_missed"] == 0
    for reader in readers[:2]:
        drain(reader)
    assert manager.stats()["events_missed"] == 8


def test_messages_put_to_one_reader_are_not_counted() -> None:
    manager = RunManager()
    reader = manager.subscribe(1)
    reader.put_nowait({})
    assert manager.stats() == EMPTY | {"subscribed_runs": 1, "subscribers": 1}


def test_it_is_a_dict_of_the_callers_own() -> None:
    manager = RunManager()
    manager.stats()["active_runs"] = 5
    assert manager.stats() == EMPTY
