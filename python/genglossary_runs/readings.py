"""The measurements of runs that both Prometheus and OpenTelemetry export."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from genglossary_runs._core import RunManager
from genglossary_runs.runner import Runner, Status

Labels: TypeAlias = dict[str, str]

ACTIVE: tuple[Status, ...] = ("queued", "running")
OUTCOMES: tuple[Status, ...] = ("completed", "failed", "cancelled")

DURATION = "duration_seconds"
DURATION_TEXT = "Seconds from the start of a run to its end, the time in the queue included."
DURATION_BUCKETS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
"""From a tenth of a second to a day."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that is measured.

    Attributes:
        name: without the prefix of the package, in words with underscores.
        text: what it is.
        kind: a `gauge` goes up and down, a `counter` rises only.
        unit: `bytes` where it is not a mere number.
        values: from what was looked up, each value with its labels.
    """

    name: str
    text: str
    kind: Literal["gauge", "counter"]
    unit: Literal["", "bytes"]
    values: Callable[["Looked"], list[tuple[Labels, float]]]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked up at one moment, for all readings.

    Attributes:
        manager: what `RunManager.stats` says.
        active: the runner's active runs by status; None without a runner.
        streams: what `genglossary_runs.sse.stats` says; None where Starlette is not installed.
    """

    manager: dict[str, Any]
    active: dict[str, int] | None
    streams: dict[str, Any] | None

    @property
    def store(self) -> dict[str, Any] | None:
        """How the store is; None without one."""
        found: dict[str, Any] | None = self.manager.get("store")
        return found


def look(source: Runner | RunManager) -> Looked:
    """Look everything up; it waits for nothing."""
    runner = source if isinstance(source, Runner) else None
    manager = source.manager if isinstance(source, Runner) else source
    active: dict[str, int] | None = None
    if runner is not None:
        counts = Counter(run.status for run in runner.runs())
        active = {str(status): counts[status] for status in ACTIVE}
    return Looked(dict(manager.stats()), active, _stream_stats())


def _stream_stats() -> dict[str, Any] | None:
    try:
        from genglossary_runs.sse import stats
    except ImportError:
        return None
    return dict(stats())


def _of_manager(name: str) -> Callable[[Looked], list[tuple[Labels, float]]]:
    return lambda looked: [({}, looked.manager[name])]


def _of_store(name: str) -> Callable[[Looked], list[tuple[Labels, float]]]:
    return lambda looked: [] if looked.store is None else [({}, looked.store[name])]


def _of_streams(*names: str) -> Callable[[Looked], list[tuple[Labels, float]]]:
    def values(looked: Looked) -> list[tuple[Labels, float]]:
        if looked.streams is None:
            return []
        return [({"kind": name} if len(names) > 1 else {}, looked.streams[name]) for name in names]

    return values


def _active(looked: Looked) -> list[tuple[Labels, float]]:
    if looked.active is None:
        return [({"status": "running"}, looked.manager["active_runs"])]
    return [({"status": status}, number) for status, number in looked.active.items()]


def _lag(looked: Looked) -> list[tuple[Labels, float]]:
    if looked.store is None:
        return []
    published: int = looked.manager["events_published"]
    return [({}, max(0, published - looked.store["events_stored"] - looked.store["events_lost"]))]


def _is_well(looked: Looked) -> list[tuple[Labels, float]]:
    return [] if looked.store is None else [({}, float(looked.store["error"] is None))]


READINGS = (
    Reading("runs", "Runs that have not ended, by status.", "gauge", "", _active),
    Reading("retained_runs", "Finished runs kept in memory.", "gauge", "", _of_manager("retained_runs")),
    Reading("readers", "Subscriptions to runs.", "gauge", "", _of_manager("subscribers")),
    Reading("held_events", "Events held in memory.", "gauge", "", _of_manager("events_held")),
    Reading("held_bytes", "Bytes of JSON in the events held.", "gauge", "bytes", _of_manager("bytes_held")),
    Reading("published_events", "Events published.", "counter", "", _of_manager("events_published")),
    Reading("published_bytes", "Bytes of JSON in these events.", "counter", "bytes", _of_manager("bytes_published")),
    Reading("missed_events", "Events that readers were told they missed.", "counter", "", _of_manager("events_missed")),
    Reading("streams", "Open streams, by what sends them.", "gauge", "", _of_streams("handed_over", "asgi")),
    Reading("stalled_streams", "Streams whose client takes nothing.", "gauge", "", _of_streams("stalled")),
    Reading("dropped_streams", "Streams dropped because of that.", "counter", "", _of_streams("dropped")),
    Reading("store_up", "1 if the store works, 0 if it fails.", "gauge", "", _is_well),
    Reading("store_lag_events", "Events published and yet to be stored.", "gauge", "", _lag),
    Reading("store_events", "Events that were stored.", "counter", "", _of_store("events_stored")),
    Reading("store_lost_events", "Events evicted before they were stored.", "counter", "", _of_store("events_lost")),
    Reading("store_runs", "Runs that the store holds.", "gauge", "", _of_store("runs")),
    Reading("store_bytes", "Bytes that the store uses.", "gauge", "bytes", _of_store("bytes")),
    Reading("store_owned_runs", "Runs of the store that are open here.", "gauge", "", _of_store("owned_runs")),
    Reading("store_mirrors", "Runs of other processes that are read here.", "gauge", "", _of_store("mirrors")),
)
