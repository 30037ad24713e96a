"""A manager beside a model of it, a few lines long, through whatever order of calls hypothesis comes up with."""

import json
import queue
from dataclasses import dataclass, field
from typing import Any

import pytest
from genglossary_runs import RunActiveError, RunManager, Subscription, UnknownRunError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

HISTORY = 4
HISTORY_BYTES = 60
RETAINED_RUNS = 2
RETAINED_BYTES = 70

Event = dict[str, Any]


def size(event: Event) -> int:
    return len(json.dumps(event, separators=(",", ":")))


@dataclass(eq=False)
class Run:
    """One life of a run id."""

    run_id: int
    shed: int = 0
    """How many of its oldest events are gone."""
    events: list[Event] = field(default_factory=list)
    """All of its events, also those that are gone."""
    opened: bool = False
    reserved: bool = False
    cancelled: bool = False
    finished: bool = False
    fence: str | None = None
    """Known once an event has been published, or a reader asked where it stands."""

    @property
    def held(self) -> list[Event]:
        return self.events[self.shed :]

    @property
    def bytes(self) -> int:
        return sum(map(size, self.held))

    def append(self, event: Event) -> None:
        self.events.append(event)
        while len(self.held) > 1 and (len(self.held) > HISTORY or self.bytes > HISTORY_BYTES):
            self.shed += 1

    def saw(self, event_id: str) -> None:
        """An id of this run must be of its fence."""
        fence = event_id.partition("-")[0]
        assert self.fence in (None, fence)
        self.fence = fence


@dataclass(eq=False)
class Reader:
    """A reader of a run, beside the real one."""

    real: Subscription
    run: Run
    place: int
    """How many of the run's events it has behind it."""
    own: list[tuple[int, Event]] = field(default_factory=list)
    """What was put to it, each with the number of events it comes after."""
    closed: bool = False

    def waiting(self) -> list[tuple[int, Event]]:
        """What it would read, each with the place where it stands then."""
        if self.closed:
            return []
        waiting = []
        place, own = self.place, list(self.own)
        while True:
            if own and own[0][0] <= place:
                waiting.append((place, own.pop(0)[1]))
            elif place < self.run.shed:
                waiting.append((self.run.shed, {"gap": (place + 1, self.run.shed)}))
                place = self.run.shed
            elif place < len(self.run.events):
                waiting.append((place + 1, self.run.events[place]))
                place += 1
            else:
                return waiting


run_ids = st.integers(1, 3)
events = st.builds(lambda n, pad: {"n": n, "pad": "x" * pad}, st.integers(0, 9), st.sampled_from([0, 5, 20, 120]))


class Manager(RuleBasedStateMachine):
    """The rules: what anybody may do at any time."""

    readers: Bundle[Reader] = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.manager = RunManager(
            history=HISTORY,
            history_bytes=HISTORY_BYTES,
            retained_runs=RETAINED_RUNS,
            retained_bytes=RETAINED_BYTES,
            retention=1e6,
        )
        self.live: dict[int, Run] = {}
        self.retained: dict[int, Run] = {}
        self.all_readers: list[Reader] = []
        self.published = self.published_bytes = 0
        self.missed = 0

    def entry(self, run_id: int) -> Run:
        return self.live.setdefault(run_id, Run(run_id))

    def registered(self, run: Run) -> int:
        return sum(reader.run is run and not reader.closed for reader in self.all_readers)

    # Publishers

    @rule(run_id=run_ids)
    def open(self, run_id: int) -> None:
        if run_id in self.live and self.live[run_id].opened:
            with pytest.raises(RunActiveError):
                self.manager.open_run(run_id)
            return
        run = self.entry(run_id)
        run.opened = True
        self.retained.pop(run_id, None)
        assert self.manager.open_run(run_id).is_set() is run.cancelled

    @rule(run_id=run_ids)
    def reserve(self, run_id: int) -> None:
        run = self.entry(run_id)
        run.reserved = True
        event = self.manager.cancel_event(run_id, create=True)
        assert event is not None
        assert event.is_set() is run.cancelled

    @rule(run_id=run_ids, events=st.lists(events, min_size=1, max_size=5))
    def publish(self, run_id: int, events: list[Event]) -> None:
        for event in events:
            event_id = self.manager.publish(run_id, event)
            if run_id not in self.live:
                assert event_id is None
                return
            run = self.live[run_id]
            run.append(event)
            self.published += 1
            self.published_bytes += size(event)
            assert event_id is not None
            run.saw(event_id)
            assert event_id == f"{run.fence}-{len(run.events)}"

    @rule(run_id=run_ids)
    def cancel(self, run_id: int) -> None:
        run = self.live.get(run_id)
        claimed = run is not None and (run.opened or run.reserved)
        if run is not None and claimed:
            run.cancelled = True
        assert self.manager.cancel_run(run_id) is claimed

    @rule(run_id=run_ids, event=events, unless_active=st.booleans())
    def finish(self, run_id: int, event: Event, unless_active: bool) -> None:
        refused = run_id in self.retained
        if run_id in self.live:
            refused = unless_active and self.live[run_id].opened
        assert self.manager.finish_run(run_id, event, unless_active=unless_active) is not refused
        if refused:
            return
        run = self.entry(run_id)
        run.append(event)
        run.finished = True
        self.published += 1
        self.published_bytes += size(event)
        del self.live[run_id]
        self.retained.pop(run_id, None)
        self.retained[run_id] = run
        while len(self.retained) > RETAINED_RUNS or sum(run.bytes for run in self.retained.values()) > RETAINED_BYTES:
            del self.retained[next(iter(self.retained))]

    # Readers

    def subscribe(self, run_id: int, after: str | None, place: int | None) -> Reader:
        run = self.live.get(run_id) or self.retained.get(run_id) or self.entry(run_id)
        if place is None:
            place = len(run.events) - run.finished
        reader = Reader(self.manager.subscribe(run_id, after), run, place)
        run.saw(reader.real.last_event_id)
        self.all_readers.append(reader)
        return reader

    @rule(target=readers, run_id=run_ids)
    def subscribe_to_what_is_new(self, run_id: int) -> Reader:
        return self.subscribe(run_id, None, None)

    @rule(target=readers, run_id=run_ids, after=st.sampled_from(["0", "", "1-1", "nonsense"]))
    def subscribe_from_the_start(self, run_id: int, after: str) -> Reader:
        return self.subscribe(run_id, after, 0)

    @rule(target=readers, reader=readers)
    def resume(self, reader: Reader) -> Any:
        run_id = reader.run.run_id
        current = self.live.get(run_id) or self.retained.get(run_id)
        last = reader.real.last_event_id
        expected = run_id in self.retained or (
            current is not None and (current.opened or current.reserved or current is reader.run)
        )
        if not expected and not last.endswith("-0"):
            # The run has been, and nothing is kept of it.
            forgotten = self.manager.subscribe(run_id, last)
            assert forgotten.get_nowait() == {"run_id": run_id, "complete": True, "status": "unknown"}
            assert forgotten.ended
            return multiple()
        return self.subscribe(run_id, last, reader.place if current is reader.run else 0)

    @rule(run_id=run_ids)
    def subscribe_to_what_must_exist(self, run_id: int) -> None:
        if run_id in self.live or run_id in self.retained:
            assert self.manager.subscribe(run_id, must_exist=True).run_id == run_id
        else:
            with pytest.raises(UnknownRunError):
                self.manager.subscribe(run_id, must_exist=True)

    @rule(reader=readers, event=events)
    def put(self, reader: Reader, event: Event) -> None:
        if len(reader.own) == HISTORY and not reader.closed:
            with pytest.raises(queue.Full):
                reader.real.put_nowait(event)
            return
        reader.real.put_nowait(event)
        if not reader.closed:
            reader.own.append((len(reader.run.events), event))

    @rule(reader=readers, most=st.integers(1, 6))
    def read(self, reader: Reader, most: int) -> None:
        for _ in range(most):
            waiting = reader.waiting()
            if not waiting:
                with pytest.raises(queue.Empty):
                    reader.real.get_nowait()
                return
            place, expected = waiting[0]
            event = reader.real.get_nowait()
            if "gap" in expected:
                first, last = expected["gap"]
                assert event["gap"] == {"from": first, "to": last, "missed": last - first + 1}
                self.missed += last - first + 1
            else:
                assert event == expected
                if place == reader.place:
                    del reader.own[0]
            reader.place = place

    @rule(reader=readers)
    def close(self, reader: Reader) -> None:
        reader.real.close()
        self.forget(reader)

    @rule(reader=consumes(readers))
    def drop(self, reader: Reader) -> None:
        self.forget(reader)
        self.all_readers.remove(reader)
        del reader.real

    def forget(self, reader: Reader) -> None:
        reader.closed = True
        reader.own.clear()
        run = reader.run
        if self.live.get(run.run_id) is run and not (run.opened or run.reserved or self.registered(run)):
            del self.live[run.run_id]

    # What must hold after each

    @invariant()
    def the_lists_agree(self) -> None:
        assert self.manager.active_runs() == sorted(i for i, run in self.live.items() if run.opened or run.reserved)
        assert self.manager.subscribed_runs() == sorted(i for i, run in self.live.items() if self.registered(run))
        assert self.manager.retained_runs() == list(self.retained)
        for run_id in range(1, 4):
            assert self.manager.is_active(run_id) is (run_id in self.live and self.live[run_id].opened)
            terminal = self.retained[run_id].events[-1] if run_id in self.retained else None
            assert self.manager.terminal_event(run_id) == terminal

    @invariant()
    def the_readers_agree(self) -> None:
        for reader in self.all_readers:
            waiting = sum("gap" not in event for _, event in reader.waiting())
            assert reader.real.qsize() == waiting
            assert reader.real.empty() is (waiting == 0)
            assert reader.real.full() is (waiting >= HISTORY)
            assert reader.real.closed is reader.closed
            assert reader.real.ended is (reader.closed or (reader.run.finished and waiting == 0))
            assert reader.real.last_event_id == f"{reader.run.fence}-{reader.place}"

    @invariant()
    def the_numbers_agree(self) -> None:
        runs = [*self.live.values(), *self.retained.values()]
        opened = sum(run.opened for run in self.live.values())
        assert self.manager.stats() == {
            "active_runs": opened,
            "subscribed_runs": len(self.live) - opened,
            "subscribers": sum(map(self.registered, self.live.values())),
            "retained_runs": len(self.retained),
            "events_held": sum(len(run.held) for run in runs),
            "bytes_held": sum(run.bytes for run in runs),
            "events_published": self.published,
            "bytes_published": self.published_bytes,
            "events_missed": self.missed,
        }


TestManager = pytest.mark.timeout(600)(Manager.TestCase)  # It computes all the time, for minutes on a busy machine.
TestManager.settings = settings(max_examples=100, stateful_step_count=40)
