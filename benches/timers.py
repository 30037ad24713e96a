"""What an event loop pays for one heartbeat, alone and beside readers that wait with deadlines of their own."""

import asyncio
import time
from collections.abc import Callable

from genglossary_runs import RunManager
from measure import RUN_ID, Figure, Rounds, parser, report, table

OTHERS = [0, 16_000, 64_000]
HEARTBEATS = 300
HEARTBEAT = 0.001
"""Seconds until the heartbeat that is measured is due."""
NEVER = 3600.0
"""Seconds until the others' are."""


class Loop:
    """A loop with readers that wait on it for a run that says nothing."""

    def __init__(self, others: int) -> None:
        self._manager = RunManager()
        self._manager.open_run(RUN_ID)
        self._loop = asyncio.new_event_loop()
        self._tasks = self._loop.run_until_complete(self._wait(others))

    async def _wait(self, others: int) -> list[asyncio.Task[bytes]]:
        tasks = [asyncio.create_task(anext(self._manager.subscribe(RUN_ID).frames(NEVER))) for _ in range(others)]
        await asyncio.sleep(0)
        return tasks

    def seconds(self) -> float:
        """The processor time of one heartbeat."""
        return self._loop.run_until_complete(self._beat())

    def close(self) -> None:
        """End the waits."""
        self._loop.run_until_complete(self._cancel())
        self._loop.close()

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _beat(self) -> float:
        frames = self._manager.subscribe(RUN_ID).frames(HEARTBEAT)
        begin = time.thread_time()
        for _ in range(HEARTBEATS):
            await anext(frames)
        return (time.thread_time() - begin) / HEARTBEATS


def main() -> None:
    """Measure, and print the figures."""
    options = parser(__doc__ or "").parse_args()
    loops = {others: Loop(others) for others in OTHERS}
    cases: dict[str, Callable[[], float]] = {f"beside {others}": loop.seconds for others, loop in loops.items()}
    rounds = Rounds(cases, options.rounds)
    for loop in loops.values():
        loop.close()
    rows = [[f"{others:,}", f"{rounds.median(f'beside {others}') * 1e6:,.1f}"] for others in OTHERS]
    table(["other readers", "µs a heartbeat"], rows)
    ratio = rounds.ratio(f"beside {OTHERS[-1]}", "beside 0")
    report([Figure(f"one heartbeat beside {OTHERS[-1]:,} readers, over one alone", ratio, "<= 1.5")], options.json)


if __name__ == "__main__":
    main()
