"""The collector for Prometheus."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs import RunManager, SqliteStore
from genglossary_runs.metrics import RunsCollector
from genglossary_runs.readings import OUTCOMES, READINGS
from genglossary_runs.runner import RunContext, Runner
from prometheus_client import CollectorRegistry, generate_latest
from runner.support import Gate, ended, nothing, raising

PROJECT = Path(__file__).resolve().parents[3]
BOUNDS = ("0.1", "1.0", "+Inf")


class Registry:
    """What is exposed of a runner or a manager."""

    def __init__(self, source: Any) -> None:
        self._registry = CollectorRegistry()
        RunsCollector(source, buckets=(0.1, 1.0)).register(self._registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"genglossary_runs_{name}", labels)

    def text(self) -> str:
        return generate_latest(self._registry).decode()


def test_every_label_is_there_from_the_start(runner: Runner) -> None:
    registry = Registry(runner)
    for status in ("queued", "running"):
        assert registry.value("runs", status=status) == 0
    for status in OUTCOMES:
        assert registry.value("finished_total", status=status) == 0
        assert registry.value("duration_seconds_count", status=status) == 0
        for bound in BOUNDS:
            assert registry.value("duration_seconds_bucket", status=status, le=bound) == 0
    for kind in ("handed_over", "asgi"):
        assert registry.value("streams", kind=kind) is not None
    assert registry.value("published_events_total") == 0


def test_runs_are_counted_by_status_and_outcome(runner: Runner, gate: Gate) -> None:
    registry = Registry(runner)
    ended(runner.start(nothing))
    ended(runner.start(raising(ValueError("no"))))
    running, queued, cancelled = (runner.start(gate) for _ in range(3))
    cancelled.cancel()
    assert registry.value("runs", status="running") == 1
    assert registry.value("runs", status="queued") == 1
    assert [registry.value("finished_total", status=status) for status in OUTCOMES] == [1] * 3
    gate.opened.set()
    ended(running)
    ended(queued)
    assert registry.value("finished_total", status="completed") == 3
    assert registry.value("duration_seconds_count", status="completed") == 3
    seconds = sum((run.finished_at - run.started_at).total_seconds() for run in runner.runs() if run.finished_at)
    told = sum(registry.value("duration_seconds_sum", status=status) or 0 for status in OUTCOMES)
    assert told == pytest.approx(seconds)


def test_events_readers_and_gaps_are_measured(runner: Runner, gate: Gate) -> None:
    registry = Registry(runner)

    def work(context: RunContext) -> None:
        for number in range(9):
            context.log(f"line {number}")
        gate(context)

    run = runner.start(work)
    assert gate.entered.wait(60)
    with run.events() as reader:
        reader.get()
        assert registry.value("readers") == 1
    assert registry.value("published_events_total") == 9
    assert registry.value("published_bytes_total") == runner.manager.stats()["bytes_published"] > 9 * 50
    assert registry.value("held_events") == 3
    assert registry.value("held_bytes") == runner.manager.stats()["bytes_held"]
    assert registry.value("missed_events_total") == 6
    assert registry.value("store_up") is None
    gate.opened.set()


def test_a_store_is_measured(tmp_path: Path) -> None:
    runner = Runner(RunManager(store=SqliteStore(tmp_path / "runs.db")))
    registry = Registry(runner)
    assert registry.value("store_up") == 1
    assert registry.value("store_lag_events") == 0
    ended(runner.start(nothing))
    # A new reader waits until what came before has been stored.
    assert len(runner.history()) == 1
    assert registry.value("store_events_total") == registry.value("published_events_total") == 1
    assert (registry.value("store_lag_events"), registry.value("store_lost_events_total")) == (0, 0)


def test_a_manager_alone_is_measured() -> None:
    manager = RunManager()
    registry = Registry(manager)
    manager.open_run(1)
    assert registry.value("runs", status="running") == 1
    assert registry.value("finished_total", status="completed") is None


def test_the_text_has_a_help_and_a_type_for_each_metric(runner: Runner) -> None:
    text = Registry(runner).text()
    for reading in READINGS:
        if not reading.name.startswith("store"):
            name = f"genglossary_runs_{reading.name}" + ("_total" if reading.kind == "counter" else "")
            assert f"# HELP {name} {reading.text}" in text
            assert f"# TYPE {name} {reading.kind}" in text


def test_multiprocess_mode_is_told_what_it_cannot(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    Registry(runner)
    assert "have each process serve its own" in caplog.text


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("metrics", "prometheus_client", "metrics"), ("otel", "opentelemetry", "otel")],
)
def test_one_sentence_says_what_is_missing(module: str, missing: str, extra: str) -> None:
    script = f"""
import sys
sys.modules[{missing!r}] = None
try:
    import genglossary_runs.{module}
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"genglossary_runs.{module} needs {missing.replace('telemetry', 'telemetry-api')}")
    assert done.stdout.endswith(f'pip install "genglossary-runs[{extra}]"\n')


def test_the_dashboard_shows_metrics_that_there_are(tmp_path: Path) -> None:
    runner = Runner(RunManager(store=SqliteStore(tmp_path / "runs.db")))
    exposed = set(re.findall(r"^(genglossary_runs_\w+)", Registry(runner).text(), re.MULTILINE))
    dashboard = json.loads((PROJECT / "examples" / "grafana.json").read_text(encoding="utf-8"))
    queries = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    shown = set(re.findall(r"genglossary_runs_\w+", queries))
    assert shown - exposed == set()
    assert len(shown) > 12
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
