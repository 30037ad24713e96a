"""Runs of other processes, of whose progress only their events tell."""

import asyncio
import contextlib
import queue
from dataclasses import dataclass
from typing import Any

from genglossary_runs import Subscription
from genglossary_runs.errors import RunsError
from genglossary_runs.runner import Runner, StoredRun

_MOST_WATCHED = 100
# Seconds after which a run that nobody asks for is followed no longer.
_IDLE_SECONDS = 15.0
# Events that tell of a run which has ended: its last ones.
_TAIL = 200
_EVENTS_AT_A_TIME = 100


@dataclass(slots=True)
class Seen:
    """What the events of a run told."""

    progress: dict[str, Any] | None = None
    message: str | None = None
    traceback: str | None = None
    queued: bool = False
    cancel_requested: bool = False

    def take(self, event: dict[str, Any], name: str | None) -> None:
        """Note what an event of this name tells."""
        if name == "gap":
            return
        if "progress_current" in event:
            self.progress = event
        if "message" in event:
            self.message = str(event["message"])
        if "traceback" in event:
            self.traceback = str(event["traceback"])
        if event.get("status") in ("queued", "running"):
            self.queued = event["status"] == "queued"
        if event.get("cancel_requested"):
            self.cancel_requested = True


class Watch:
    """Follows those that are shown as running, for as long as somebody looks."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._followed: dict[tuple[int | str, int], _Followed] = {}

    def seen(self, run: StoredRun) -> Seen:
        """What is known of a run that has not ended; at first nothing."""
        return self._follow(run).seen

    async def caught_up(self, run: StoredRun, timeout: float = 1.0) -> Seen:
        """What the events of a run have told so far.

        Args:
            run: the run; it may have ended.
            timeout: seconds to wait at most for its events.
        """
        if run.finished_at is not None:
            return await self._last_seen(run, timeout)
        followed = self._follow(run)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(followed.caught_up.wait(), timeout)
        return followed.seen

    def _follow(self, run: StoredRun) -> "_Followed":
        loop = asyncio.get_running_loop()
        # Those of a loop that has closed will never end.
        stale = [life for life, each in self._followed.items() if each.task.done() or each.task.get_loop() is not loop]
        for life in stale:
            del self._followed[life]
        life = (run.run_id, run.fence)
        followed = self._followed.get(life)
        if followed is None:
            followed = _Followed(self._runner, run)
            if len(self._followed) < _MOST_WATCHED:
                self._followed[life] = followed
            else:
                followed.task.cancel()
                followed.caught_up.set()
        followed.asked_at = loop.time()
        return followed

    async def _last_seen(self, run: StoredRun, timeout: float) -> Seen:
        seen = Seen()
        with contextlib.suppress(RunsError, TimeoutError):
            async with asyncio.timeout(timeout):
                end = await self._runner.asubscribe(run.run_id, None)
                after = f"{run.fence}-{max(0, seq_of(end) - _TAIL)}"
                events = await self._runner.asubscribe(run.run_id, after)
                async for event in events:
                    seen.take(event, events.last_event_name)
        return seen


class _Followed:
    """A run that is followed."""

    def __init__(self, runner: Runner, run: StoredRun) -> None:
        self.seen = Seen()
        self.caught_up = asyncio.Event()
        self.asked_at = asyncio.get_running_loop().time()
        self.task = asyncio.create_task(self._follow(runner, run))

    async def _follow(self, runner: Runner, run: StoredRun) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(RunsError):
            end = seq_of(await runner.asubscribe(run.run_id, None))
            subscription = await runner.asubscribe(run.run_id, f"{run.fence}-{max(0, end - _TAIL)}")
            taken = 0
            while not subscription.ended and loop.time() - self.asked_at < _IDLE_SECONDS:
                if seq_of(subscription) >= end:
                    self.caught_up.set()
                try:
                    self.seen.take(await subscription.aget(timeout=_IDLE_SECONDS), subscription.last_event_name)
                except queue.Empty:
                    continue
                taken += 1
                if taken % _EVENTS_AT_A_TIME == 0:
                    # Events that are there are read without a wait, and others are to have their turn.
                    await asyncio.sleep(0)
        self.caught_up.set()


def seq_of(subscription: Subscription) -> int:
    """The number of the last event that a reader has passed."""
    return int(subscription.last_event_id.rpartition("-")[2])
