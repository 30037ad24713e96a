"""Fork for minutes while threads with and without the GIL meet at the locks of runs: every child can use its own.

python tests/soak/forks.py [--seconds 60]
"""

import argparse
import os
import signal
import sys
import threading
import time

from genglossary_runs import RunManager

FORKERS = 2
"""Threads that fork at the same time."""
PATIENCE = 60
"""Seconds that a child may take on a loaded machine before a signal ends it."""


def contend(manager: RunManager, run_id: int, readers: int, events: int) -> None:
    """Have readers that wake at the same moment meet at the run's lock, without the GIL."""
    threads = [threading.Thread(target=list, args=(manager.subscribe(run_id, "0"),)) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for number in range(events):
        manager.publish(run_id, {"n": number})
        time.sleep(0)
    manager.finish_run(run_id, {})
    for thread in threads:
        thread.join()


def contend_until(stop: threading.Event) -> None:
    """Keep runs with waiting readers coming and going."""
    manager, run_id = RunManager(), 0
    while not stop.is_set():
        run_id += 1
        manager.open_run(run_id)
        contend(manager, run_id, readers=8, events=50)


def in_child() -> None:
    """What a child does: a manager of its own, and threads that contend for its locks."""
    signal.alarm(PATIENCE)
    manager = RunManager()
    manager.open_run(1)
    contend(manager, 1, readers=4, events=20)


def fork_until(stop: threading.Event, statuses: list[int]) -> None:
    """Fork one child after another, and keep how each ended."""
    while not stop.is_set():
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                in_child()
                status = 0
            finally:
                os._exit(status)
        statuses.append(os.waitpid(pid, 0)[1])


def main() -> int:
    """Run, and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="how long to fork")
    seconds = options.parse_args().seconds
    stop, statuses = threading.Event(), list[int]()
    threads = [threading.Thread(target=contend_until, args=(stop,)) for _ in range(2)]
    threads += [threading.Thread(target=fork_until, args=(stop, statuses)) for _ in range(FORKERS)]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    bad = [status for status in statuses if status != 0]
    print(f"{len(statuses):,} children, {len(bad)} of them hung or failed")
    return 1 if bad or not statuses else 0


if __name__ == "__main__":
    sys.exit(main())
