"""Under gevent, where it is installed."""

import pytest
from core.support import run_python

pytest.importorskip("gevent")


def test_runs_go_on_and_a_runner_warns() -> None:
    run_python("""
from gevent import monkey; monkey.patch_all()
import warnings
import gevent
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    runner = Runner(RunManager())
(warning,) = caught
assert "poll with get_nowait" in str(warning.message) and warning.filename == "<string>"

ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.001)
ticker = gevent.spawn(tick)
run = runner.start(lambda context: gevent.sleep(0.05) or "done")
assert run.value(30) == "done" and len(ticks) > 1
ticker.kill()

async def work(context):
    return "awaited"
assert runner.start(work).value(30) == "awaited"
""")
