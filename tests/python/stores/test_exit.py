"""The end of a process whose engine ends at the same moment."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import atexit, logging, sys
registered = []
atexit.register = registered.append
from genglossary_runs import RunManager, SqliteStore
logging.basicConfig()
for run_id in range(30):
    manager = RunManager(store=SqliteStore(sys.argv[1]))
    manager.open_run(run_id)
    manager.finish_run(run_id, {})
    del manager
    for at_exit in registered:
        at_exit()
"""


def test_an_exit_waited_two_seconds_for_an_engine_that_ended_meanwhile(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "runs.db")]
    ended = subprocess.run(command, timeout=60, capture_output=True, text=True, check=True)
    assert "could not be written" not in ended.stderr
