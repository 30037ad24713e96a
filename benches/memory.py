"""Memory of subscribers and finished runs, side by side with the design this project replaces.

Each value is the growth of a fresh process's resident set, so that no case affects another.
"""

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from baseline import BaselineManager
from genglossary_runs import RunManager
from measure import RUN_ID, Figure, Rounds, log_message, parser, report, table

IDLE_SUBSCRIBERS = 50_000
BEHIND_SUBSCRIBERS = 200
UNREAD = 1000
FEW_RUNS = 1_000
MANY_RUNS = 100_000
EVENTS_A_RUN = 2
SLACK = 256 << 10
"""Bytes that do not count as growth, 2.6 a run: the heap settles within the first 5,000 runs."""


def resident_bytes() -> int:
    """The resident set, after a collection."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def subscribe_all(manager: RunManager | BaselineManager, places: list[Any]) -> None:
    """Fill the list, which is there already and counts for nobody, with subscriptions."""
    for index in range(len(places)):
        places[index] = manager.subscribe(RUN_ID)


def idle(manager: RunManager | BaselineManager) -> float:
    """Bytes an idle subscriber."""
    manager.open_run(RUN_ID)
    warm_up: list[Any] = [None] * 100
    subscribe_all(manager, warm_up)
    places: list[Any] = [None] * IDLE_SUBSCRIBERS
    before = resident_bytes()
    subscribe_all(manager, places)
    return (resident_bytes() - before) / IDLE_SUBSCRIBERS


def pending(manager: RunManager | BaselineManager) -> float:
    """Bytes held by subscribers that read nothing. Each message is a new dict, as in the pipeline."""
    manager.open_run(RUN_ID)
    places: list[Any] = [None] * BEHIND_SUBSCRIBERS
    before = resident_bytes()
    subscribe_all(manager, places)
    for number in range(UNREAD):
        manager.publish(RUN_ID, log_message(number))
    return resident_bytes() - before


def finished(manager: RunManager | BaselineManager) -> float:
    """Bytes that stay after runs 1,000 to 100,000, each with a subscriber that simply vanishes.

    Retention is the default, 256 runs: it is full long before the first of them.
    """

    def run(first: int, last: int) -> None:
        for run_id in range(first, last):
            manager.open_run(run_id)
            manager.subscribe(run_id)
            for number in range(EVENTS_A_RUN):
                manager.publish(run_id, log_message(number))
            manager.finish_run(run_id, {"run_id": run_id, "complete": True, "db_status": "completed"})

    run(0, FEW_RUNS)
    before = resident_bytes()
    run(FEW_RUNS, MANY_RUNS)
    return resident_bytes() - before


CASES: dict[str, Callable[[RunManager | BaselineManager], float]] = {
    "idle": idle,
    "pending": pending,
    "finished": finished,
}


def in_fresh_process(case: str, side: str) -> float:
    """Measure a case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, side]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return float(done.stdout)


def main() -> None:
    """Measure, print, and write the figures; as a child, measure one case and print it."""
    options = parser("Memory, beside the design this project replaces.", rounds=5)
    options.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.case:
        case, side = chosen.case
        print(CASES[case](RunManager() if side == "ours" else BaselineManager()))
        return

    pairs = [(case, side) for case in CASES for side in ("ours", "baseline")]
    rounds = Rounds(
        {f"{case} {side}": partial(in_fresh_process, case, side) for case, side in pairs},
        chosen.rounds,
    )
    labels = {
        "idle": "an idle subscriber",
        "pending": f"{BEHIND_SUBSCRIBERS} subscribers with {UNREAD:,} unread each",
        "finished": f"runs {FEW_RUNS:,} to {MANY_RUNS:,}, finished (retention: 256 runs)",
    }
    rows = [
        [labels[case], *(f"{rounds.median(f'{case} {side}'):,.0f}" for side in ("ours", "baseline"))] for case in CASES
    ]
    table(["median growth of the resident set, bytes", "ours", "baseline"], rows)
    report(
        [
            Figure("idle_subscriber_bytes", rounds.median("idle ours"), "<= 256"),
            Figure("pending_ours_over_baseline", rounds.ratio("pending ours", "pending baseline"), "<= 0.2"),
            Figure("finished_runs_growth_bytes", rounds.median("finished ours"), f"<= {SLACK}"),
        ],
        chosen.json,
    )


if __name__ == "__main__":
    main()
