"""Metrics and traces for OpenTelemetry.

    instrument(runner)

The metrics are those of `genglossary_runs.metrics`, with dots in their names. Each run has a span, `run <name>`, which
is the current span of its work. It links to the span in which the run was started, which usually ends long before the
run does. Only opentelemetry-api is needed, which the extra `otel` installs; without an SDK the cost is negligible.
"""

from collections.abc import Callable, Iterable
from contextvars import Token
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from genglossary_runs.extras import missing

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Link, Span, Status, StatusCode, TracerProvider
except ModuleNotFoundError:
    raise missing("genglossary_runs.otel", "opentelemetry-api", "otel") from None

from genglossary_runs.runner import Run, Runner

from .readings import DURATION_BUCKETS, DURATION_TEXT, OUTCOMES, READINGS, Looked, Reading, look

__all__ = ["instrument"]

_PREFIX = "genglossary_runs"


def instrument(
    runner: Runner, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
) -> None:
    """Measure and trace the runs of a runner from now on. Call it once for each runner.

    Args:
        runner: the runner.
        meter_provider: for the metrics; by default the global one.
        tracer_provider: for the spans; by default the global one.
    """
    meter = metrics.get_meter(_PREFIX, meter_provider=meter_provider)
    for reading in READINGS:
        create = meter.create_observable_counter if reading.kind == "counter" else meter.create_observable_gauge
        unit = "By" if reading.unit == "bytes" else "1"
        create(f"{_PREFIX}.{reading.name}", [_observing(reading, runner)], unit=unit, description=reading.text)
    finished = meter.create_counter(f"{_PREFIX}.finished", unit="1", description="Runs that have ended, by outcome.")
    for status in OUTCOMES:
        finished.add(0, {"status": status})
    duration = meter.create_histogram(
        f"{_PREFIX}.duration",
        unit="s",
        description=DURATION_TEXT,
        explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
    )
    tracer = trace.get_tracer(_PREFIX, tracer_provider=tracer_provider)
    runner.observe(_Tracing(tracer, finished, duration))


def _observing(reading: Reading, runner: Runner) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        looked: Looked = look(runner)
        return [Observation(value, labels) for labels, value in reading.values(looked)]

    return observe


@dataclass(frozen=True, slots=True)
class _Open:
    span: Span
    token: Token[Context]


class _Tracing:
    """Makes a span of each run, and counts it at its end."""

    def __init__(self, tracer: trace.Tracer, finished: metrics.Counter, duration: metrics.Histogram) -> None:
        self._tracer, self._finished, self._duration = tracer, finished, duration
        # Without a lock, which a forked child could find locked: each run has an entry of its own.
        self._open: dict[Run, _Open] = {}

    def began(self, run: Run) -> None:
        # The run has the variables of whoever started it, so this is the starter's.
        starter = trace.get_current_span().get_span_context()
        span = self._span_of(run, [Link(starter)] if starter.is_valid else [])
        token = otel_context.attach(trace.set_span_in_context(span))
        self._open[run] = _Open(span, token)

    def ended(self, run: Run) -> None:
        opened = self._open.pop(run, None)
        # One that was cancelled in the queue has not begun.
        span = self._span_of(run, []) if opened is None else opened.span
        span.set_attribute("run.status", run.status)
        if run.status == "failed":
            span.set_status(Status(StatusCode.ERROR, run.error))
        span.end()
        if opened is not None:
            otel_context.detach(opened.token)
        self._finished.add(1, {"status": run.status})
        if run.finished_at is not None:
            self._duration.record((run.finished_at - run.started_at).total_seconds(), {"status": run.status})

    def _span_of(self, run: Run, links: list[Link]) -> Span:
        attributes: dict[str, Any] = {"run.id": str(run.run_id), "run.name": run.name}
        if run.key is not None:
            attributes["run.key"] = str(run.key)
        # A root: the starter's span would be told the child's end hours after its own.
        return self._tracer.start_span(
            f"run {run.name}", Context(), links=links, attributes=attributes, start_time=_nanoseconds(run.started_at)
        )


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
