"""Without an extra, what needs it says so in one sentence, and the rest works."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("genglossary_runs.sse", "starlette", "web"),
        ("genglossary_runs.console", "fastapi", "console"),
        ("genglossary_runs.client", "httpx", "client"),
        ("genglossary_runs.metrics", "prometheus_client", "metrics"),
        ("genglossary_runs.otel", "opentelemetry", "otel"),
    ],
)
def test_a_missing_extra_is_one_sentence(module: str, package: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import genglossary_runs, genglossary_runs.runner, genglossary_runs.logs\n"
        f"try:\n    import {module}\nexcept ImportError as error:\n    print(type(error).__name__, error)"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.startswith(f"ImportError {module} needs ")
    assert output.strip().endswith(f': pip install "genglossary-runs[{extra}]"')
