"""The slowest publish while a store stands still, beside one without a store in the same moments."""

import gc
import resource
import statistics
import time
from collections.abc import Callable

from genglossary_runs import RunManager
from measure import RUN_ID, Figure, log_message, table

SECONDS = 6.0
"""For which the store stands still."""
RATE = 2_000
"""Events a second."""


class Publishes:
    """What publishes to one manager took: milliseconds in time and in CPU, and how often their thread waited."""

    def __init__(self, manager: RunManager) -> None:
        """Open the run that is published to."""
        self._manager = manager
        self._event = log_message()
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self.waits = 0
        manager.open_run(RUN_ID)

    def publish(self) -> None:
        """Publish one event."""
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        wall, cpu = time.perf_counter(), time.thread_time()
        self._manager.publish(RUN_ID, self._event)
        self.cpus.append(1000 * (time.thread_time() - cpu))
        self.walls.append(1000 * (time.perf_counter() - wall))
        self.waits += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

    def finish(self) -> None:
        """Finish the run."""
        self._manager.finish_run(RUN_ID, {})

    def row(self, name: str) -> list[str]:
        """Its row of the table."""
        slow = sum(wall > 1 for wall in self.walls)
        return [
            name,
            f"{1000 * statistics.median(self.walls):.1f}",
            f"{max(self.walls):.2f}",
            f"{slow} of {len(self.walls):,}",
            f"{max(self.cpus):.2f}",
            str(self.waits),
        ]


def stalled(manager: RunManager, what: str, stop: Callable[[], None], go_on: Callable[[], None]) -> list[Figure]:
    """Publish to `manager` while its store, called `what`, stands still from `stop` until `go_on`."""
    names = (f"with {what}", "without")
    with_store = Publishes(manager)
    both = (with_store, Publishes(RunManager()))
    # A collection of garbage is no part of a publish.
    gc.disable()
    stop()
    try:
        begin, number = time.monotonic(), 0
        while (at := begin + number / RATE) < begin + SECONDS:
            number += 1
            time.sleep(max(0, at - time.monotonic()))
            for one in both:
                one.publish()
    finally:
        go_on()
        gc.enable()
    for one in both:
        one.finish()
    title = f"publish, {what} still for {SECONDS:.0f} s"
    header = [title, "median µs", "slowest ms", "over 1 ms", "most CPU ms", "waits"]
    table(header, [one.row(name) for name, one in zip(names, both, strict=True)])
    return [
        Figure(f"ms of the slowest publish while {what} stands still, CPU", max(with_store.cpus), "<= 1"),
        Figure("the same, wall", max(with_store.walls), "<= 1"),
        # Now and then it meets the engine's thread at a lock that is held for less than a microsecond.
        Figure("how many of 1,000 publishes waited meanwhile", 1000 * with_store.waits / number, "<= 1"),
    ]
