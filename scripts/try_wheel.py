"""Try the installed package as somebody would who has just installed it, in an environment that may have no extras.

    python scripts/try_wheel.py [--web]

Needs nothing but the package; with `--web` also the extra of that name. It must not find the package in a source tree:
run it with the Python of an environment in which a wheel is installed.
"""

import argparse
import importlib
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

import genglossary_runs
from genglossary_runs import RunManager, SqliteStore
from genglossary_runs.runner import RunContext, Runner

TIMEOUT = 30.0


def work(context: RunContext) -> int:
    """Send progress and a line, as any work does."""
    for _ in context.track(range(3), step="counting"):
        pass
    context.log("counted", total=3)
    return 3


def run(manager: RunManager) -> list[str]:
    """Run the work under a manager. Returns the messages that a reader gets from the start."""
    runner = Runner(manager)
    handle = runner.start(work, run_id="run 1")
    assert handle.value(timeout=TIMEOUT) == 3
    events = list(manager.subscribe("run 1", after="0"))
    assert events[-1]["complete"] is True
    assert events[-1]["status"] == "completed"
    return [event["message"] for event in events if "message" in event]


def main() -> None:
    """Run the work in memory and with a store, and import what the extras are for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--web", action="store_true", help="the extra `web` is installed")
    web = parser.parse_args().web

    assert genglossary_runs.__version__ == version("genglossary-runs")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled(), "importing the package has turned the GIL on"
    assert run(RunManager()) == ["counted"]
    with tempfile.TemporaryDirectory() as folder:
        assert run(RunManager(store=SqliteStore(Path(folder) / "runs.db"))) == ["counted"]
    if web:
        importlib.import_module("genglossary_runs.sse")
    else:
        try:
            importlib.import_module("genglossary_runs.sse")
        except ImportError as error:
            said = str(error)
        else:
            sys.exit("Starlette is installed here: the package is to be tried without it")
        assert 'pip install "genglossary-runs[web]"' in said
    where = Path(genglossary_runs.__file__).parent
    print(f"genglossary-runs {genglossary_runs.__version__} works on Python {sys.version.split()[0]}, in {where}")


if __name__ == "__main__":
    main()
