"""Soak: nothing leaks, nothing is lost silently, nothing hangs, however long it goes on.

    python tests/soak/soak.py [--seconds N] [--seed TEXT]

In each round, one manager has runs that publish in bursts, are cancelled, and are finished by two threads at once,
with readers of every kind: threads that get, iterate, lag, leave, resume and are closed; tasks of asyncio's and
uvloop's loops that iterate, lag, are cancelled once or again and again, read frames and wait for the cancel;
subscriptions that nobody reads. Beside that uvicorn streams a run to clients that read, resume, leave, reset and stall.

If one of these does not hold, the exit code is 1 and one line names it:

- each reader of a run gets every seq once and in order, as an event or in one gap, and the terminal event last;
- exactly one call ends a run; an event published after that goes nowhere;
- after each round no entry, subscription object, connection or task of the server is left; in the end there are no more
  threads and descriptors than at the start, and after retention no finished run and no byte of an event;
- memory is flat: the slopes of the resident set (without the GIL, of Rust's heap; `Reading.memory` says why) and of
  Python's memory blocks, over all rounds after the first third, do not exceed `BYTES` and `BLOCKS` by more than two
  standard errors. The least thing that could leak for a reader, a subscription without its Python object, has 75 bytes.

Takes N seconds, three minutes by default, plus the time of one round. In a short run of 20 seconds or so the heap has
hardly settled, and only larger leaks show. A hang ends it after two minutes with the stacks of all threads. Needs
Linux, for `/proc`, and the packages of requirements.lock. All traffic is on the loopback interface.
"""

import argparse
import faulthandler
import itertools
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable

from soaking import readers, streams
from soaking.account import DEADLINE, Account, WrongError
from soaking.readings import MEMORY, Bound, CountedManager, Growth, Reading, wait_until

RETENTION = 2.0
BYTES = Bound(each=32.0, slack=2 << 20)
BLOCKS = Bound(each=0.05, slack=1000)
WAVES_A_ROUND = 4
LEAST_ROUNDS = 9
"""Of which the first three are no samples."""


class Soak:
    """The manager and the server, the rounds they have had, and what was seen."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        for make_loop in readers.LOOPS:
            # libuv opens a pipe at its first loop, for as long as the process lives.
            make_loop().close()
        self._start = Reading.take()
        self._manager = CountedManager(history=64, retained_runs=32, retention=RETENTION)
        self._run_ids = itertools.count(1)
        self._seen: Counter[str] = Counter()
        # After each round, and how many readers there had been by then.
        self._samples: list[tuple[int, Reading]] = []

    def run(self, seconds: float) -> None:
        """Run rounds for this long, then drop everything and count what is left."""
        end = time.monotonic() + seconds
        with streams.Server(self._manager) as server:
            while time.monotonic() < end or len(self._samples) < LEAST_ROUNDS:
                faulthandler.dump_traceback_later(2 * DEADLINE, exit=True)
                self._round(server)
        # The watch is a thread of its own.
        faulthandler.cancel_dump_traceback_later()
        self._look_at_what_is_left()

    def _round(self, server: streams.Server) -> None:
        seed = f"{self._seed} {len(self._samples)}"
        visitors = Background(lambda: streams.wave(self._manager, server, self._run_ids, seed))
        for number in range(WAVES_A_ROUND):
            self._note(readers.wave(self._manager, self._run_ids, f"{seed} {number}"), "readers")
            self._seen["runs"] += readers.RUNS
            self._seen["readers"] += readers.FORGOTTEN
        self._note(visitors.result(), "clients")
        self._seen["runs"] += 1
        stats = self._manager.stats()
        left = {name: stats[name] for name in ("active_runs", "subscribed_runs", "subscribers")}
        if any(left.values()):
            raise WrongError(f"when all had gone, {left} were left")
        wait_until(lambda: self._manager.readers == 0, "the end of every subscription object")
        self._samples.append((self._seen["readers"] + self._seen["clients"], Reading.take()))

    def _note(self, accounts: list[Account], kind: str) -> None:
        self._seen[kind] += len(accounts)
        self._seen["events delivered"] += sum(account.delivered for account in accounts)
        self._seen["events in gaps"] += sum(account.missed for account in accounts)
        self._seen["terminal events"] += sum(account.ended for account in accounts)

    def _look_at_what_is_left(self) -> None:
        wait_until(lambda: self._manager.stats()["retained_runs"] == 0, "the end of retention")
        stats = self._manager.stats()
        if stats["events_held"] or stats["bytes_held"]:
            raise WrongError(f"when retention was over, {stats} was left")
        # A thread that has been joined may still be on its way out of the system's list.
        wait_until(lambda: Reading.take().threads <= self._start.threads, "the end of every thread")
        descriptors = Reading.take().descriptors
        if descriptors > self._start.descriptors:
            raise WrongError(f"{descriptors} descriptors are open, at the start it was {self._start.descriptors}")

    def report(self) -> None:
        """Print what was seen, and judge whether memory is flat."""
        print(f"{len(self._samples)} rounds: " + ", ".join(f"{number:,} {what}" for what, number in self._seen.items()))
        self._judge(MEMORY, lambda reading: reading.memory, BYTES)
        self._judge("Python memory blocks", lambda reading: reading.blocks, BLOCKS)

    def _judge(self, what: str, of: Callable[[Reading], int], bound: Bound) -> None:
        samples = self._samples[len(self._samples) // 3 :]
        readers = [place for place, _ in samples]
        growth = Growth.of(readers, [of(reading) for _, reading in samples])
        allowed = max(bound.each, bound.slack / (readers[-1] - readers[0]))
        first, last = of(samples[0][1]), of(samples[-1][1])
        found = f"{growth.slope:+.3f} ± {growth.error:.3f} {what} a reader (bound {allowed:.3g}), {first:,} -> {last:,}"
        if growth.exceeds(allowed):
            raise WrongError(f"memory grows: {found}")
        print(found)


class Background(threading.Thread):
    """A thread that keeps what a function returned or raised."""

    def __init__(self, function: Callable[[], list[Account]]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._returned: list[Account] = []
        self._raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Call the function."""
        try:
            self._returned = self._function()
        except BaseException as error:
            self._raised = error

    def result(self) -> list[Account]:
        """Wait for the end."""
        self.join()
        if self._raised is not None:
            raise self._raised
        return self._returned


def main() -> None:
    """Soak, and say what came of it."""
    options = argparse.ArgumentParser(description="Load a manager for a while; see what it loses and what it keeps.")
    options.add_argument("--seconds", type=float, default=180.0, metavar="N", help="how long (default: %(default)s)")
    options.add_argument("--seed", default=str(time.time_ns()), metavar="TEXT", help="to repeat the choices of a run")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    soak = Soak(chosen.seed)
    try:
        soak.run(chosen.seconds)
        soak.report()
    except WrongError as error:
        sys.exit(f"FAILED: {error}")
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"FAILED: {type(error).__name__}: {error}")
    print("nothing was lost, nothing was left")


if __name__ == "__main__":
    main()
