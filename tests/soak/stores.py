"""Soak a store: runs that one manager executes and another reads, in a process whose memory and file stay as they are.

    python tests/soak/stores.py [--seconds 60]

In each round some runs publish more than their logs hold. Readers in another manager, which has a mirror of each run,
read all of it, read slowly, leave in the middle, come late, or resume. If one of these does not hold, the exit code is
1 and one line names it:

- each reader gets every seq once and in order, as an event or in one gap, and the terminal event last;
- after each round no mirror, run or reader is left in the engine and in either manager; in the end no thread and no
  descriptor;
- the file stays within its bounds, and memory is flat, as `soak.py` says.
"""

import argparse
import gc
import random
import sys
import tempfile
import threading
import time

from genglossary_runs import RunManager, SqliteStore, Subscription
from soaking.account import WrongError
from soaking.readings import MEMORY, Bound, Growth, Reading, wait_until

RUNS = 8
"""In a round."""
READERS = 6
"""Of each run."""
EVENTS = 300
HISTORY = 100
KEPT = 3 * RUNS
"""Runs that the store keeps: so few that the file, and with it the cache of its pages, is soon as large as it gets."""
LARGEST_FILE = 64 << 20
WARM_UP = 8
"""Rounds until that cache, which has 2 MB at most, and the heap have settled."""
LEAST_ROUNDS = 2 * WARM_UP
GROWTH = Bound(each=4 << 10, slack=1 << 20)
"""Bytes of memory that a round may cost, beyond doubt: a run that is kept has 100 KiB."""


def read(subscription: Subscription, *, pause: float = 0.0, most: int | None = None) -> tuple[int, int]:
    """Read to the end, or this many events, and check the order. Returns how many came and how many were missed."""
    received = missed = 0
    for event in subscription:
        gap = event.get("gap")
        place = int(subscription.last_event_id.split("-")[1])
        if gap is not None:
            if gap["from"] != received + missed + 1:
                raise WrongError(f"a gap from {gap['from']} after {received} events and {missed} missed ones")
            missed += gap["missed"]
        else:
            received += 1
            if place != received + missed:
                raise WrongError(f"event {place} after {received - 1} events and {missed} missed ones")
        if most is not None and received >= most:
            return received, missed
        if pause:
            time.sleep(pause)
    if received + missed != EVENTS + 1:
        raise WrongError(f"{received} events and {missed} missed ones, of {EVENTS + 1}")
    return received, missed


class Soak:
    """The two managers, the rounds they have had, and what was seen."""

    def __init__(self, path: str, seed: str) -> None:
        self._chance = random.Random(seed)
        self._start = Reading.take()
        store = SqliteStore(path, max_runs=KEPT, max_bytes=LARGEST_FILE // 2)
        # The shortest retention: the runs of a round are to be gone after it.
        limits = {"history": HISTORY, "retained_runs": 4, "retention": 0.2}
        self._owner = RunManager(store=store, **limits)
        self._other = RunManager(store=store, **limits)
        self._next_run = 1
        self._samples: list[Reading] = []
        self._failed: list[Exception] = []
        self._seen = {"runs": 0, "events": 0, "missed": 0}

    def round(self) -> None:
        """Have some runs, with their readers."""
        runs = range(self._next_run, self._next_run + RUNS)
        self._next_run += RUNS
        threads = []
        for run_id in runs:
            self._owner.open_run(run_id)
            for kind in range(READERS):
                threads.append(threading.Thread(target=self._read, args=(run_id, kind), daemon=True))
        threads += [threading.Thread(target=self._publish, args=(run_id,), daemon=True) for run_id in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failed:
            raise self._failed[0]
        # One that comes when all is over finds all that is stored.
        self._note(read(self._other.subscribe(runs[0], "0", must_exist=True)))
        self._seen["runs"] += RUNS
        wait_until(self._is_idle, "the end of every run, reader and mirror")
        self._samples.append(Reading.take())

    def _is_idle(self) -> bool:
        gc.collect()
        stats = [self._owner.stats(), self._other.stats()]
        held = sum(s["active_runs"] + s["subscribed_runs"] + s["subscribers"] + s["retained_runs"] for s in stats)
        store = stats[0]["store"]
        if store["bytes"] > LARGEST_FILE:
            raise WrongError(f"the file has {store['bytes']:,} bytes in use, of {LARGEST_FILE:,} at most")
        return held == 0 and store["owned_runs"] == 0 and store["mirrors"] == 0

    def _publish(self, run_id: int) -> None:
        for number in range(EVENTS):
            self._owner.publish(run_id, {"n": number, "text": "x" * self._chance.randrange(200)})
            if number % 50 == 0:
                time.sleep(0.005)
        self._owner.finish_run(run_id, {"complete": True, "status": "completed"})

    def _read(self, run_id: int, kind: int) -> None:
        try:
            reader = (self._owner if kind == 0 else self._other).subscribe(run_id, "0", must_exist=True)
            match kind:
                case 2:
                    self._note(read(reader, pause=0.001))
                case 3:
                    read(reader, most=self._chance.randrange(1, EVENTS))
                case 4:
                    read(reader, most=self._chance.randrange(1, EVENTS))
                    after = reader.last_event_id
                    reader.close()
                    for _ in self._other.subscribe(run_id, after):
                        pass
                case 5:
                    self._other.subscribe(run_id).close()
                case _:
                    self._note(read(reader))
        except Exception as error:
            self._failed.append(error)

    def _note(self, found: tuple[int, int]) -> None:
        self._seen["events"] += found[0]
        self._seen["missed"] += found[1]

    def finish(self) -> None:
        """Drop everything, look at what is left, and judge whether memory is flat."""
        del self._owner, self._other
        wait_until(lambda: Reading.take().threads <= self._start.threads, "the end of the engine's thread")
        wait_until(lambda: Reading.take().descriptors <= self._start.descriptors, "the end of every descriptor")
        samples = self._samples[WARM_UP:]
        growth = Growth.of(range(len(samples)), [sample.memory for sample in samples])
        seen = ", ".join(f"{number:,} {what}" for what, number in self._seen.items())
        print(f"{len(self._samples)} rounds: {seen}; {growth.slope:+,.0f} ± {growth.error:,.0f} {MEMORY} a round")
        allowed = max(GROWTH.each, GROWTH.slack / len(samples))
        if growth.exceeds(allowed):
            raise WrongError(f"memory grows by more than {allowed:,.0f} bytes a round")


def main() -> None:
    """Soak, and say what came of it."""
    options = argparse.ArgumentParser(description="Load a store for a while; see what it loses and what it keeps.")
    options.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long (default: %(default)s)")
    options.add_argument("--seed", default=str(time.time_ns()), metavar="TEXT", help="to repeat the choices of a run")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(f"{folder}/runs.db", chosen.seed)
        end = time.monotonic() + chosen.seconds
        try:
            rounds = 0
            while time.monotonic() < end or rounds < LEAST_ROUNDS:
                soak.round()
                rounds += 1
            soak.finish()
        except WrongError as error:
            sys.exit(f"FAILED: {error}")
    print("nothing was lost, nothing was left")


if __name__ == "__main__":
    main()
