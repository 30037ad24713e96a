"""Find one run, or list a page of runs, newest first: those of this process and, with a store, of all others."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from genglossary_runs.errors import StoreError
from genglossary_runs.runner import Run, Runner, StoredRun

from .models import Page, Record
from .records import Row, key_of, queue_positions, record_of
from .refusals import STORE_FAILS, note_failure
from .watch import Watch

Readable = Callable[[Sequence[str]], Awaitable[list[bool]]]

_ROWS_AT_A_TIME = 1000
# Rows of a store that are searched for one page.
_MOST_SEARCHED = 10_000
# Runs that a page may pass over because they may not be read: each costs the application a call, and perhaps a query.
_MOST_HIDDEN = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs a list shows.

    Attributes:
        key: of the runs; None for any.
        statuses: of the runs; none of them for any.
        q: a text that their id, key, name, error or newest message has, ASCII letters in either case; "" for any. A
            store does not know the message of a run of another process.
    """

    key: str | None
    statuses: frozenset[str]
    q: str

    def takes(self, row: Row) -> bool:
        """Whether it shows the run. It looks for `q` as a store does."""
        if self.key is not None and key_of(row) != self.key:
            return False
        if self.statuses and row.status not in self.statuses and not self._takes_as_queued(row):
            return False
        if not self.q:
            return True
        texts = [str(row.run_id), key_of(row) or "", row.name or "", row.error or ""]
        if isinstance(row, Run):
            texts.append(row.message or "")
        return _folded(self.q) in _folded("\0".join(texts))

    def _takes_as_queued(self, row: Row) -> bool:
        # To a store a queued run is a running one.
        return "queued" in self.statuses and isinstance(row, StoredRun) and row.status == "running"


def _folded(text: str) -> bytes:
    # Of bytes only ASCII letters have a lower case.
    return text.encode("utf-8", "surrogatepass").lower()


class Listing:
    """The runs of a runner and of its manager's store."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._watch = Watch(runner)

    async def find(self, run_id: str, *, with_result: bool = False) -> Row | None:
        """Return the handle of a run if this process has it, else what the store knows, and its result if wanted.

        Raises:
            StoreError: the store cannot be used.
        """
        run = self._runner.get(run_id)
        if self._runner.manager.store is None or (run is not None and run.finished_at is None):
            return run
        try:
            stored = await self._runner.afind(run_id, with_result=with_result)
        except StoreError:
            if run is None:
                raise
            return run
        return run if stored is None else _newer(stored, self._runner.get(run_id))

    async def show(self, row: Row) -> Record:
        """Show a run with all that is known of it."""
        if isinstance(row, Run):
            return record_of(row, position=queue_positions(self._runner).get(row.run_id))
        return record_of(row, seen=await self._watch.caught_up(row))

    async def page(self, which: Filter, after: int | None, limit: int, readable: Readable | None) -> Page:
        """Show some runs.

        Args:
            which: the runs that are listed.
            after: only runs that began before the one with this fence.
            limit: how many at most, 1 or more.
            readable: says of ids which of the runs may be shown; None for all of them. It is asked about
                2 * `limit` + 501 runs at most. A page that stops there is shorter, or empty, and has a `next`.
        """
        if self._runner.manager.store is None:
            return await self._page_here(which, after, limit, readable)
        try:
            return await self._page_of_store(which, after, limit, readable)
        except StoreError as error:
            page = await self._page_here(which, after, limit, readable)
            note_failure(error)
            return page.model_copy(update={"store_error": STORE_FAILS})

    async def _page_here(self, which: Filter, after: int | None, limit: int, readable: Readable | None) -> Page:
        rows = [run for run in self._runner.runs() if which.takes(run)]
        # Not as they were started: an id that was subscribed to before has an older fence, by which pages go on.
        rows.sort(key=lambda run: run.fence, reverse=True)
        taken = _Taken(limit, readable)
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            part = rows[start : start + _ROWS_AT_A_TIME]
            if await taken.add(row for row in part if after is None or row.fence < after):
                break
        return self._shown(taken, len(rows) if readable is None else taken.total(after))

    async def _page_of_store(self, which: Filter, after: int | None, limit: int, readable: Readable | None) -> Page:
        # The status of a run of this process is its handle's, and to a store a queued run is a running one.
        statuses = sorted({"running" if status == "queued" else status for status in which.statuses})
        at_a_time = min(_ROWS_AT_A_TIME, limit + 1)
        here = {run.run_id: run for run in self._runner.runs()}
        # Their messages are unknown to the store.
        also = [run.fence for run in here.values() if which.takes(run)] if which.q else None
        taken, before, searched = _Taken(limit, readable), after, 0
        while True:
            rows = await self._runner.ahistory(
                key=which.key,
                status=statuses or None,
                text=which.q or None,
                also=also,
                before=before,
                limit=at_a_time,
                with_results=False,
            )
            found = [_newer(row, here.get(row.run_id)) for row in rows]
            if await taken.add(row for row in found if which.takes(row)) or len(rows) < at_a_time:
                break
            before, searched = rows[-1].fence, searched + len(rows)
            if searched >= _MOST_SEARCHED:
                taken.go_on_after(before)
                break
        total = taken.total(after)
        if total is None and readable is None and which == Filter(None, frozenset(), ""):
            store = self._runner.manager.stats().get("store")
            total = None if store is None else store["runs"]
        return self._shown(taken, total)

    def _shown(self, taken: "_Taken", total: int | None) -> Page:
        positions = queue_positions(self._runner)
        runs = []
        for row in taken.rows:
            seen = self._watch.seen(row) if isinstance(row, StoredRun) and row.finished_at is None else None
            runs.append(record_of(row, position=positions.get(row.run_id), seen=seen))
        return Page(runs=runs, next=taken.next, total=total, store_error=None)


def _newer(stored: StoredRun, run: Run | None) -> Row:
    """The handle, if it is of this life of the run."""
    return run if run is not None and run.fence == stored.fence else stored


class _Taken:
    """The rows of a page, and whether there are more."""

    def __init__(self, limit: int, readable: Readable | None) -> None:
        self.rows: list[Row] = []
        self.next: str | None = None
        self._limit = limit
        self._readable = readable
        self._hidden = 0

    async def add(self, rows: Iterable[Row]) -> bool:
        """Take those that may be shown. Returns whether the page is full, and `next` said."""
        waiting = list(rows)
        while waiting:
            # No more than are wanted: each may cost the application a query.
            size = min(self._limit + 1, _MOST_HIDDEN - self._hidden)
            part, waiting = waiting[:size], waiting[size:]
            answers = [True] * len(part)
            if self._readable is not None:
                answers = await self._readable([str(row.run_id) for row in part])
            for row, may_be_shown in zip(part, answers, strict=True):
                if not may_be_shown:
                    self._hidden += 1
                    continue
                if len(self.rows) == self._limit:
                    self.go_on_after(self.rows[-1].fence)
                    return True
                self.rows.append(row)
            if self._hidden == _MOST_HIDDEN:
                self.go_on_after(part[-1].fence)
                return True
        return False

    def total(self, after: int | None) -> int | None:
        """Return how many runs there are on all pages if they are all on this one, else None.

        Runs that may not be shown are never counted, or a search would tell what is in them.
        """
        return len(self.rows) if after is None and self.next is None else None

    def go_on_after(self, fence: int) -> None:
        """Say where the next page begins."""
        self.next = str(fence)
