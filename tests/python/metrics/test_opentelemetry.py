"""Metrics and spans for OpenTelemetry, with its SDK."""

import asyncio
import json
from typing import Any

import pytest
from genglossary_runs.otel import instrument
from genglossary_runs.runner import RunContext, Runner
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from runner.support import Gate, ended, nothing, raising


class Telemetry:
    """What the SDK was given of a runner."""

    def __init__(self, runner: Runner) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider(metric_readers=[self._reader])
        instrument(runner, meter_provider=meters, tracer_provider=self.tracers)

    def span(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self._spans.get_finished_spans() if span.name == name)
        return span

    def metrics(self) -> dict[str, list[Any]]:
        """The points of each metric."""
        data = self._reader.get_metrics_data()
        assert data is not None
        metrics = json.loads(data.to_json())["resource_metrics"][0]["scope_metrics"][0]["metrics"]
        return {metric["name"]: metric["data"]["data_points"] for metric in metrics}


@pytest.fixture
def telemetry(runner: Runner) -> Telemetry:
    return Telemetry(runner)


def test_a_run_is_a_span_linked_to_that_of_its_starter(runner: Runner, telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("test")

    def work(context: RunContext) -> None:
        with tracer.start_as_current_span("inner"):
            pass

    with tracer.start_as_current_span("request") as request:
        run = runner.start(work, key="book", name="Read")
    ended(run)
    span, inner = telemetry.span("run Read"), telemetry.span("inner")
    assert span.parent is None
    assert [link.context for link in span.links] == [request.get_span_context()]
    assert span.attributes is not None
    assert dict(span.attributes) == {
        "run.id": run.run_id,
        "run.key": "book",
        "run.name": "Read",
        "run.status": "completed",
    }
    # What the work does is in the run's span, and in its trace.
    assert inner.parent == span.get_span_context()
    assert span.start_time is not None
    assert abs(span.start_time / 1e9 - run.started_at.timestamp()) < 1e-3
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_async_work_is_in_the_span_too(runner: Runner, telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("test")

    async def work(context: RunContext) -> None:
        await asyncio.sleep(0)
        with tracer.start_as_current_span("inner"):
            pass

    ended(runner.start(work, name="Read"))
    assert telemetry.span("inner").parent == telemetry.span("run Read").get_span_context()
    assert telemetry.span("run Read").links == ()


def test_a_failure_is_the_status_of_its_span(runner: Runner, telemetry: Telemetry) -> None:
    ended(runner.start(raising(ValueError("no such page")), name="Read"))
    status = telemetry.span("run Read").status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "ValueError: no such page")


def test_runs_are_measured(runner: Runner, telemetry: Telemetry, gate: Gate) -> None:
    points = telemetry.metrics()
    assert {point["attributes"]["status"]: point["value"] for point in points["genglossary_runs.finished"]} == {
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
    }
    ended(runner.start(nothing))
    runner.start(gate)
    queued = runner.start(nothing, name="Queued")
    queued.cancel()
    points = telemetry.metrics()
    counted = {point["attributes"]["status"]: point["value"] for point in points["genglossary_runs.finished"]}
    assert counted == {"completed": 1, "failed": 0, "cancelled": 1}
    active = {point["attributes"]["status"]: point["value"] for point in points["genglossary_runs.runs"]}
    assert active == {"queued": 0, "running": 1}
    assert sum(point["count"] for point in points["genglossary_runs.duration"]) == 2
    assert points["genglossary_runs.published_events"][0]["value"] == runner.manager.stats()["events_published"]
    assert telemetry.span("run Queued").end_time is not None
    gate.opened.set()
