"""What memory has evicted and the store still holds is read from the store."""

from .support import Place, check_complete, read_to_end


def test_a_reader_slower_than_the_log_misses_nothing_in_any_process(place: Place) -> None:
    here = place.manager(history=20)
    other = place.worker(history=20)
    here.open_run(7)
    local = here.subscribe(7, "0")
    for number in range(3000):
        here.publish(7, {"n": number})
        if number % 10 == 0:
            _stored(here, number + 1)
    other.send("read", 7, "0")
    here.finish_run(7, {"complete": True})
    assert check_complete(read_to_end(local)) == (3001, 0)
    assert check_complete(other.receive()) == (3001, 0)


def test_what_could_not_be_stored_in_time_is_a_named_gap_in_every_process(place: Place) -> None:
    here, other = place.manager(history=5), place.worker(history=5)
    here.open_run(7)
    local = here.subscribe(7, "0")
    for number in range(50_000):
        here.publish(7, {"n": number})
    other.send("read", 7, "0")
    here.finish_run(7, {"complete": True})
    for events in (read_to_end(local), other.receive()):
        received, missed = check_complete(events)
        assert received + missed == 50_001
    assert here.stats()["store"]["events_lost"] > 0


def _stored(manager, events: int) -> None:
    while manager.stats()["store"]["events_stored"] < events:
        pass
