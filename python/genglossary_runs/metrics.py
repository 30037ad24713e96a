"""Metrics for Prometheus.

    RunsCollector(runner).register()

The collector reads `RunManager.stats()` on demand, and counts the runs that end. Every label exists from the start with
the value 0. It needs prometheus_client, which the extra `metrics` installs.

**Several workers.** prometheus_client's multiprocess mode (`PROMETHEUS_MULTIPROC_DIR`) adds up values that are kept in
files: those of finished runs and their durations. It skips values that are read on demand (runs, readers, events,
streams, the store), and a log record says so. To get all metrics, let each worker serve its own on a separate port.
`store_runs` and `store_bytes` describe the store and are the same in every process, so take their maximum.
"""

import logging
import os
from collections.abc import Iterator, Sequence

from genglossary_runs.extras import missing

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError:
    raise missing("genglossary_runs.metrics", "prometheus_client", "metrics") from None

from genglossary_runs._core import RunManager
from genglossary_runs.runner import Run, Runner

from .readings import DURATION, DURATION_BUCKETS, DURATION_TEXT, OUTCOMES, READINGS, Reading, look

__all__ = ["RunsCollector"]

logger = logging.getLogger(__name__)

_PREFIX = "genglossary_runs"


class RunsCollector(Collector):
    """The metrics of a runner and its manager, or of a manager alone.

    Args:
        source: a runner; or a manager alone, whose finished runs are then not counted.
        buckets: upper bounds of the histogram of durations, in seconds, in ascending order.
    """

    def __init__(self, source: Runner | RunManager, *, buckets: Sequence[float] = DURATION_BUCKETS) -> None:
        self._source = source
        # Registered by this collector, and not by themselves.
        self._finished = Counter(f"{_PREFIX}_finished", "Runs that have ended, by outcome.", ["status"], registry=None)
        self._duration = Histogram(
            f"{_PREFIX}_{DURATION}", DURATION_TEXT, ["status"], buckets=tuple(buckets), registry=None
        )
        for status in OUTCOMES:
            self._finished.labels(status)
            self._duration.labels(status)
        if isinstance(source, Runner):
            source.observe(self)

    def register(self, registry: CollectorRegistry = REGISTRY) -> "RunsCollector":
        """Register it, and return it."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            logger.warning(
                "prometheus_client's multiprocess mode knows only of the runs that ended and their durations; to get "
                "the other metrics of runs have each process serve its own"
            )
        registry.register(self)
        return self

    def collect(self) -> Iterator[Metric]:
        """Read everything."""
        looked = look(self._source)
        for reading in READINGS:
            values = reading.values(looked)
            if values:
                family = _family(reading, list(values[0][0]))
                for labels, value in values:
                    family.add_metric(list(labels.values()), value)
                yield family
        if isinstance(self._source, Runner):
            yield from self._finished.collect()
            yield from self._duration.collect()

    def began(self, run: Run) -> None:
        """Do nothing: runs are counted as they end."""

    def ended(self, run: Run) -> None:
        """Count a run that has ended."""
        self._finished.labels(run.status).inc()
        if run.finished_at is not None:
            self._duration.labels(run.status).observe((run.finished_at - run.started_at).total_seconds())


def _family(reading: Reading, labels: list[str]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
    return kind(f"{_PREFIX}_{reading.name}", reading.text, labels=labels)
