"""The Rust core of genglossary_runs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict, final, type_check_only

from typing_extensions import disjoint_base

from .runner import ManagedRun
from .types import RunId

__version__: str
"""The version of the package."""

__all__ = [
    "CancelEvent",
    "OwnerLock",
    "RedisStore",
    "RunManager",
    "SqliteStore",
    "StreamGroup",
    "Subscription",
    "__version__",
    "result_kind",
    "stream_stats",
]

@type_check_only
class Stats(TypedDict):
    """What a manager holds at one moment, and what it has done since it was made."""

    active_runs: int
    """Runs that are open."""
    subscribed_runs: int
    """Entries of runs that have not started: somebody subscribed, or put a cancel event there."""
    subscribers: int
    """Subscriptions to all of these."""
    retained_runs: int
    """Finished runs kept for late readers."""
    events_held: int
    """Events in the logs of all of these."""
    bytes_held: int
    """Bytes of JSON in these events."""
    events_published: int
    """Events published since the manager was made, terminal events among them."""
    bytes_published: int
    """Bytes of JSON in these events."""
    events_missed: int
    """Events that readers were told they had missed, summed over all readers."""
    store: NotRequired[StoreStats]
    """How the manager's store is, if it has one."""

@type_check_only
class StoreStats(TypedDict):
    """How a store is, as this process last saw it."""

    path: NotRequired[Path]
    """The file of a `SqliteStore`."""
    address: NotRequired[str]
    """Host, port and database of a `RedisStore`."""
    project: NotRequired[str]
    """The project of a `RedisStore`."""
    error: str | None
    """What is wrong with it; None if nothing is."""
    runs: int
    """Runs that it holds."""
    bytes: int
    """Bytes of it that are in use."""
    events_stored: int
    """Events that this process has stored."""
    events_lost: int
    """Events of this process that were evicted before they could be stored."""
    owned_runs: int
    """Runs that are open in this process."""
    mirrors: int
    """Runs that are read in this process and executed in another."""

@disjoint_base
class RunManager:
    """Owns runs, their subscribers and their cancel events. Every method may be called from any thread.

    A run is named by an int of 64 bits or by a str of 1 to 200 characters without control characters; a `uuid.UUID`
    is its text, and a str that is the decimal form of such an int is that int. Methods that make a run refuse any
    other id: with `TypeError` one of another type (a bool or a float, too), else with `InvalidRunIdError`. To all
    others, which find runs, it is the id of an unknown one.

    A run is one bounded, numbered log; a subscription is only a cursor on it. Publishing costs the same for one
    reader and for ten thousand, and nothing is queued for a reader that could be left behind when it vanishes.
    After a fork the child's manager is empty.

    Args:
        history: events a run's log holds at most, 1 to 2**31 - 1; the oldest are evicted first. Also how many messages
            `Subscription.put_nowait` takes before `queue.Full`.
        history_bytes: bytes of JSON a run's log holds at most, at least 1. The newest event is kept even if it
            alone is larger.
        retained_runs: finished runs kept for late readers, 0 or more.
        retained_bytes: bytes of JSON these may hold together, 0 or more.
        retention: seconds a finished run is kept, 0 to 1e9. No thread sees to it: what is too old is evicted by the
            next call of any method but `publish` and `cancel_run`.
        store: keeps the runs outside the process: a `SqliteStore` or `RedisStore`. They outlive it then, and every
            process that uses the store reads, cancels, finishes and publishes to all of them, under the ids of their
            owner, the process that opened them. None keeps them in memory alone. With a store `open_run`, and whatever
            concerns a run that is not open in this process, waits for the store, for some milliseconds; in a coroutine
            await the forms that begin with an `a`.
        default: called with a value that has no JSON form; returns one to be written instead. None refuses it.
        tells_interrupted: tell readers of a run whose process ended how it ended, by the store's word. False has them
            wait until `finish_run` with `unless_active` is called here, by an application that knows more.
        args, kwargs: ignored, so that a subclass may have a constructor of its own; `RunManager` itself refuses
            them with `TypeError`.

    Raises:
        ValueError: a limit is out of its bounds.
    """

    def __new__(
        cls,
        *args: Any,
        history: int = 1000,
        history_bytes: int = 8388608,
        retained_runs: int = 256,
        retained_bytes: int = 67108864,
        retention: float = 300.0,
        default: Callable[[Any], Any] | None = None,
        store: SqliteStore | RedisStore | None = None,
        tells_interrupted: bool = True,
        **kwargs: Any,
    ) -> Self: ...
    def open_run(self, run_id: RunId, *, key: str | None = None) -> CancelEvent:
        """Open a run and return its cancel event.

        Takes over an entry that subscribers, or `cancel_event(run_id, create=True)`, have made. An earlier life of the
        id is not retained any longer.

        Args:
            run_id: the run.

        Raises:
            RunActiveError: the run is open.
            InvalidRunIdError, TypeError: the id cannot name a run.
        """

    def run(self, run_id: RunId | None = None) -> ManagedRun:
        """Open a run for the time of a `with` block, which finishes it however it is left.

            with manager.run("import 7") as context:
                context.log("begun")

        The block is given a `genglossary_runs.runner.RunContext`. What it raises is recorded, and goes on.

        Args:
            run_id: the run; None for a random UUID as text.
        """

    def publish(self, run_id: RunId, event: Mapping[str, Any], /, *, name: str | None = None) -> str | None:
        """Append an event to the run's log and wake its readers.

        Args:
            run_id: a run that is open, subscribed to, or has a cancel event.
            event: a dict or another mapping. NaN and infinities become null, lone surrogates U+FFFD, keys as in
                `json.dumps`. Besides what has a JSON form, values may be dates and times (ISO 8601), UUID, Decimal and
                Path (text), Enum (its value), dataclasses, pydantic models, mappings, sequences and sets of any kind,
                and NumPy scalars and arrays. Anything else goes through the manager's `default`.
            name: the field `event:` of the server-sent event, by which a page tells kinds of events apart: 1 to 255
                bytes of UTF-8 without line ends and control characters, other than `gap` and `complete`. None for none.

        Returns:
            The event's id, `<fence>-<seq>`; None if no reader could ever get the event, because the run is unknown or
            finished.

        Raises:
            TypeError: the event is not a mapping, or has a value or key that cannot be written, such as bytes (the
                message says where). Nothing is published.
            ValueError: the name is not within its bounds; or the event is nested deeper than 128 levels, refers to
                itself, or has an integer of more than 4,300 digits, or more than Python prints. Nothing is published.
        """

    def cancel_run(self, run_id: RunId) -> bool:
        """Set the run's cancel event.

        Returns:
            Whether there was a run to cancel: False for unknown and finished runs.
        """

    def finish_run(
        self, run_id: RunId, event: Mapping[str, Any], /, *, unless_active: bool = False, result: str | None = None
    ) -> bool:
        """Finish the run with this terminal event and clear every entry of it, as one step for everyone else.

        A run that was never opened is recorded as finished, so that a later reader learns its outcome.

        Args:
            run_id: the run.
            event: as for `publish`.
            unless_active: leave a run that is open alone.
            result: what the run returned, as JSON, for its record in the store; what is no JSON is left out.

        Returns:
            Whether this call finished the run. False if it had finished before: its first terminal event stays.

        Raises:
            TypeError, ValueError: as for `publish`; the run has not finished.
            InvalidRunIdError, TypeError: the id cannot name a run.
        """

    def subscribe(self, run_id: RunId, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """Make a reader of the run.

        An unknown run is waited for, unless `must_exist`. On a finished run that is retained, a reader without `after`
        gets the terminal event at once. A run that has ended is never waited for: if `after` is the id of an event of
        this manager, and nothing is kept of the run, the reader gets a terminal event with the status `unknown`.

        Args:
            run_id: the run.
            after: None for new events only; the id of an event of this life of the run for those after it; anything
                else (`"0"`, an id of another life, text that is not an id) for all from the oldest, with a gap first if
                the oldest have been evicted.
            must_exist: refuse a run that is not open, subscribed to or retained.

        Raises:
            UnknownRunError: with `must_exist`; and for an id that no run can have.
        """

    def unsubscribe(self, subscription: Subscription, /) -> bool:
        """Close a subscription that this manager has made. Returns whether it has made it."""

    # With a store

    def open_new_run(self, *, key: str | None = None) -> tuple[int, CancelEvent]:
        """Open a run with an int id that the store gives, larger than all before it below 2**52. Waits for the store.

        Args:
            key: at most one run with this key is active in all processes that use the store; None for no limit.

        Returns:
            The id and the cancel event.

        Raises:
            RunActiveError: the key has an active run, which its `run_id` names.
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    @property
    def store(self) -> SqliteStore | RedisStore | None:
        """The store that was given to the manager, or None."""

    def run_record(self, run_id: RunId, *, with_result: bool = True) -> dict[str, Any] | None:
        """What the store knows of a run, wherever it was executed. Waits for the store.

        Args:
            run_id: the run.
            with_result: read its result, too, which may be large. Without it `result` is None.

        Returns:
            A dict with `run_id`, `fence` (which life of the id), `key`, `status` (`running`, or how it finished),
            `owner`, `started_at` and `finished_at` (seconds since 1970), `error`, `result`, and `result_kind` (`text`,
            `link`, `json`, or None where there is no result); None if unknown.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    def run_records(
        self,
        *,
        key: str | None = None,
        status: str | Sequence[str] | None = None,
        text: str | None = None,
        also: Sequence[int] | None = None,
        before: int | None = None,
        limit: int = 100,
        with_results: bool = True,
    ) -> list[dict[str, Any]]:
        """What the store knows of runs, the newest first, as a list of what `run_record` returns. Waits for the store.

        Args:
            key: only runs with this key.
            status: only runs with this status, or one of these.
            text: only runs that have this text in their id, key or error. ASCII letters match in either case, others
                only as they are.
            also: the `fence` of runs that are listed whether they have the text or not.
            before: only runs that began before the one with this `fence`, the last of the page before.
            limit: how many at most.
            with_results: read their results, too, which may be large. Without them each `result` is None.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    def aopen_run(self, run_id: RunId, *, key: str | None = None) -> Awaitable[CancelEvent]:
        """Await what `open_run` returns. For event loops: only the caller waits for the store."""

    def aopen_new_run(self, *, key: str | None = None) -> Awaitable[tuple[int, CancelEvent]]:
        """Await what `open_new_run` returns."""

    def apublish(self, run_id: RunId, event: Mapping[str, Any], /, *, name: str | None = None) -> Awaitable[str | None]:
        """Await what `publish` returns."""

    def acancel_run(self, run_id: RunId) -> Awaitable[bool]:
        """Await what `cancel_run` returns."""

    def afinish_run(
        self,
        run_id: RunId,
        event: Mapping[str, Any],
        /,
        *,
        unless_active: bool = False,
        result: str | None = None,
    ) -> Awaitable[bool]:
        """Await what `finish_run` returns."""

    def asubscribe(
        self, run_id: RunId, after: str | None = None, *, must_exist: bool = False
    ) -> Awaitable[Subscription]:
        """Await what `subscribe` returns."""

    def owns_run(self, run_id: RunId) -> bool:
        """Whether the run is open in this process, and no other has taken this one for dead. Waits for the store.

        With a `RedisStore` this holds for its `lease` from now on. Ask before writing what must not be written twice.

        Args:
            run_id: the run.

        Raises:
            StoreError: the store cannot be used.
        """

    def aowns_run(self, run_id: RunId) -> Awaitable[bool]:
        """Await what `owns_run` returns."""

    def arun_record(self, run_id: RunId, *, with_result: bool = True) -> Awaitable[dict[str, Any] | None]:
        """Await what `run_record` returns."""

    def arun_records(
        self,
        *,
        key: str | None = None,
        status: str | Sequence[str] | None = None,
        text: str | None = None,
        also: Sequence[int] | None = None,
        before: int | None = None,
        limit: int = 100,
        with_results: bool = True,
    ) -> Awaitable[list[dict[str, Any]]]:
        """Await what `run_records` returns."""

    def without_store(self) -> RunManager:
        """A manager of the same runs that never asks the store: it opens, reads, publishes to and finishes what this
        process has in memory. For one use; another process, such as a forked child, needs its own.
        """

    def keep_run(self, run_id: RunId) -> bool:
        """Have the store keep a run that `without_store` has opened and nobody has published to. Waits for the store.

        Returns:
            Whether it keeps the run: False if another process executes a run of this id.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    def abandon_run(self, run_id: RunId) -> bool:
        """Take back `open_run`, as if the run had never been opened; its subscribers keep waiting.

        Returns:
            Whether the run was open.
        """

    def cancel_event(self, run_id: RunId, *, create: bool = False) -> CancelEvent | None:
        """The cancel event of a run that is open, or for which it was made before by `create`; else None.

        Args:
            run_id: the run.
            create: make the event, and the run's entry, if there is none; `open_run` takes it over.

        Raises:
            InvalidRunIdError, TypeError: with `create`, if the id cannot name a run.
        """

    def terminal_event(self, run_id: RunId) -> dict[str, Any] | None:
        """The terminal event of a finished run, while it is retained."""

    def is_active(self, run_id: RunId) -> bool:
        """Whether the run is open."""

    def active_runs(self) -> list[int | str]:
        """The ids of the runs that are open, or have a cancel event before they open: rising ints, then strs."""

    def subscribed_runs(self) -> list[int | str]:
        """The ids of the runs, open or yet to start, that have a subscription: rising ints, then strs."""

    def retained_runs(self) -> list[int | str]:
        """The ids of the finished runs that are retained, oldest first."""

    def stats(self) -> Stats:
        """What the manager holds now, and what it has done."""

@final
class RedisStore:
    """A server of Redis or Valkey, 7.0 or later, that keeps runs: they outlive the process, and every process on any
    host that uses the same project of the server reads, cancels and finishes all of them. Pass it to
    `RunManager(store=...)`.

    The server is connected to when it is first needed, with two connections a process, whatever the number of readers.
    While it is away, runs go on in their process, and what needs the store raises `StoreError`.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, `unix://path`, or
            `redis+sentinel://[user:password@]host[:port],.../master[/database]`, where the hosts are Sentinels
            and user and password those of the master. The certificates that TLS trusts are the system's; SSL_CERT_FILE
            names others.
        project: processes with the same name see each other's runs; 1 to 100 bytes, without braces and spaces.
        retention: seconds a finished run is kept, 0 to 1e9.
        max_runs: how many runs are kept at most, 1 or more; runs that have not finished count, but are never removed.
        max_bytes: bytes of events that are kept at most, about, 1 MiB or more. The oldest finished runs are removed
            first, then the oldest events of runs that have not finished.
        lease: seconds after which a process that says nothing is suspected to be dead, 1 to 3600. It says something
            each third of them. One that is suspected for half of them more has died: its runs end as interrupted, and
            what it writes of them later is refused.

    Raises:
        ValueError: the URL names no server, a value is out of its bounds, or this process uses the project with others.
    """

    def __new__(
        cls,
        url: str,
        *,
        project: str = "default",
        retention: float = 604800.0,
        max_runs: int = 10000,
        max_bytes: int = 1073741824,
        lease: float = 15.0,
    ) -> Self: ...
    @property
    def address(self) -> str:
        """Host, port and database."""

    @property
    def project(self) -> str:
        """The name that the processes share."""

@final
class SqliteStore:
    """A file that keeps runs: they outlive the process, and every process of the host that uses the file reads, cancels
    and finishes all of them. Pass it to `RunManager(store=...)`.

    The file is the store's own: nothing else in the process may open it, least of all Python's `sqlite3`, which
    would damage it. Another process may look into it, such as the `sqlite3` shell. Beside it lie `-wal`, `-shm` and a
    small lock file for each process that has runs. It has to be on a local disk.

    Args:
        path: the file, which is made if it is not there, in a folder that is.
        retention: seconds a finished run is kept, 0 to 1e9.
        max_runs: how many runs are kept at most, 1 or more; runs that have not finished count, but are never removed.
        max_bytes: bytes of the file that may be in use, 1 MiB or more. The oldest finished runs are removed first, then
            the oldest events of runs that have not finished.

    Raises:
        StoreError: the file is not a store, or one of a newer version, or cannot be opened and written.
        ValueError: a limit is out of its bounds, or this process uses the file with other limits.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        retention: float = 604800.0,
        max_runs: int = 10000,
        max_bytes: int = 1073741824,
    ) -> Self: ...
    @property
    def path(self) -> Path:
        """The file."""

@final
class Subscription:
    """A reader of one run: a cursor on its log, with the reading side of `queue.Queue`.

    Made by `RunManager.subscribe`. Dropping it closes it; nothing else is needed. A reader that fell too far behind
    gets one dict that names the gap, then continues with the oldest event still held. After the terminal event
    nothing more comes, and reading raises `SubscriptionEnded`, which is a `queue.Empty`, at once.
    """

    @property
    def run_id(self) -> int | str:
        """The run it reads."""

    @property
    def last_event_id(self) -> str:
        """The id that, passed as `after`, lets another subscription continue from the position of this one."""

    @property
    def last_event_name(self) -> str | None:
        """The name, as given to `RunManager.publish`, of the last event that was returned as a dict; None for none."""

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes: it has been closed, or the terminal event has been read."""

    def get(self, block: bool = True, timeout: float | None = None) -> dict[str, Any]:
        """Return the next event as a dict.

        Releases the GIL while it waits, notices Ctrl-C within 100 ms, and ends when the subscription is closed.

        Args:
            block: wait for an event if there is none.
            timeout: seconds to wait at most, 0 or more; None waits without end.

        Raises:
            queue.Empty: no event came in time.
            SubscriptionEnded: there will be none; it is closed, or the terminal event has been read.
            ValueError: a negative timeout.
        """

    def get_nowait(self) -> dict[str, Any]:
        """Return the next event as a dict, or raise `queue.Empty`; `SubscriptionEnded` if there will be none."""

    def empty(self) -> bool:
        """Whether `get_nowait` would raise `queue.Empty`."""

    def full(self) -> bool:
        """Whether `qsize()` has reached the manager's `history`."""

    def qsize(self) -> int:
        """How many messages are ready to be read; a gap, which comes before them, does not count."""

    def put_nowait(self, message: Mapping[str, Any], /) -> None:
        """Give this reader alone a private message, read after what has been published so far.

        A closed subscription ignores it.

        Raises:
            queue.Full: the manager's `history` of such messages is unread.
            TypeError, ValueError: as for `RunManager.publish`.
        """

    def close(self) -> None:
        """Close: nothing more is received, and a blocked `get` ends with `SubscriptionEnded`. May be repeated."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __next__(self) -> dict[str, Any]:
        """Wait for the next event; iteration ends after the terminal event, or when closed."""

    def aget(self, timeout: float | None = None) -> Coroutine[Any, None, dict[str, Any]]:
        """Await the next event as a dict; to be called where an event loop runs. Returns a coroutine-like
        object, which `asyncio.create_task` takes.

        A subscription belongs to the event loop that first awaits it. A cancelled await loses no event.

        Args:
            timeout: seconds to wait at most, 0 or more; None waits without end.

        Raises:
            queue.Empty: no event came in time.
            SubscriptionEnded: there will be none; it is closed, or the terminal event has been read.
            RuntimeError: another event loop has awaited it before.
            ValueError: a negative timeout.
        """

    def frames(self, heartbeat: float | None = 15.0) -> Frames:
        """Iterate over ready server-sent events, as chunks of at most 64 KiB.

        Each event has its id and name, a gap `event: gap` without an id, the terminal event `event: complete`; the
        iteration ends after that, or when closed. A single event of more than 64 KiB is a chunk of its own.
        While the store cannot be reached, a run of another process has one `event: stalled` without an id.

        Args:
            heartbeat: seconds without an event after which a comment line is given, more than 0; None for never.

        Raises:
            RuntimeError: another event loop has awaited the subscription before.
            ValueError: heartbeat is not positive.
        """

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, None, dict[str, Any]]:
        """Await the next event; iteration ends after the terminal event, or when closed."""

    def aclose(self) -> Coroutine[Any, None, None]:
        """Close, for `contextlib.aclosing`. To be awaited."""

    def __aenter__(self) -> Coroutine[Any, None, Self]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Coroutine[Any, None, None]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@type_check_only
class Frames(AsyncIterator[bytes]):
    """What `Subscription.frames` returns: an asynchronous iterator over chunks of frames and heartbeats."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, None, bytes]: ...
    def aclose(self) -> Coroutine[Any, None, None]:
        """Close the subscription, which ends the iteration. To be awaited."""

@type_check_only
class HandedOver(TypedDict):
    """What `stream_stats` returns."""

    open: int
    stalled: int
    total: int
    dropped: int

@final
class StreamGroup:
    """Streams that a server began and that a thread without Python continues.

    The thread starts with the first stream of the process and ends with the last. In a forked child there are none.
    """

    def __new__(cls) -> Self: ...
    def add(
        self, fd: int, subscription: Subscription, *, heartbeat: float | None, send_timeout: float, retry: int
    ) -> None:
        """Go on with a response that has begun, on a duplicate of its socket.

        What the subscription gives is sent in HTTP/1.1's chunked transfer coding, up to the end of the body; then the
        connection is closed. The caller is to close its own descriptor without shutting the connection down, and to
        leave the subscription alone.

        Args:
            fd: an open, connected stream socket; nothing may be left to be written to it.
            subscription: what is sent. It is closed when the stream ends.
            heartbeat: seconds without an event after which a comment line is sent, more than 0; None for never.
            send_timeout: seconds a client may take nothing of what waits for it before it is dropped, more than 0.
            retry: milliseconds a client is told to wait before it comes back if the stream is drained.

        Raises:
            OSError: `fd` is no socket, or the process has no descriptor left. Nothing has been sent.
            ValueError: `heartbeat` or `send_timeout` is not positive.
        """

    def drain(self, grace: float) -> None:
        """End the streams with a `retry:` hint. May be called in any thread, and does not wait.

        Args:
            grace: seconds a client may take for what waits for it; then it is dropped.
        """

    @property
    def open(self) -> int:
        """How many of the streams have not ended."""

def result_kind(result: object, /) -> Literal["text", "link", "json"] | None:
    """What a result is to whoever shows it: a `text`, a text that is a `link`, or `json`. None for no result."""

def stream_stats() -> HandedOver:
    """Count the streams that have been handed over in this process.

    Returns:
        `open`: those that have not ended; `stalled`: those of them whose client has yet to take something; `total`: all
        there have been; `dropped`: those whose client took nothing in time.
    """

@final
class OwnerLock:
    """A lock on a file that the operating system releases when the process ends, however it ends.

    In a forked child it is not held. Dropping it releases it.
    """

    @staticmethod
    def acquire(path: str | PathLike[str]) -> OwnerLock | None:
        """Become the owner of a file, which is made if it is not there.

        Returns:
            The lock; None if the file has an owner, or for a moment while another process clears up after a dead one.

        Raises:
            OSError: the file cannot be made, or its file system has no locks.
        """

    @staticmethod
    def look(path: str | PathLike[str]) -> OwnerLock | None:
        """Keep owners out while clearing up after a dead one; None if there is an owner, or no file.

        Raises:
            OSError: the file cannot be opened, or its file system has no locks.
        """

    @property
    def found(self) -> str:
        """The text of the file when it was locked: what a dead owner wrote, or nothing."""

    def describe(self, words: str, /) -> None:
        """Write a description of the owner into the file. OSError if that fails, or in a forked child."""

    def release(self) -> None:
        """Unlock and leave the file, with its text. May be repeated."""

    def remove(self) -> None:
        """Remove the file and unlock it; only for an owner. OSError if the file cannot be removed."""

@final
class CancelEvent:
    """A flag that is set once, as `threading.Event` without `clear`, with callbacks.

    One that is made by itself is not set and belongs to no run; a run's event comes from `RunManager.open_run`.
    """

    def __new__(cls) -> Self: ...
    def set(self) -> None:
        """Set it, wake the waiters, and call the callbacks in this thread. Later calls do nothing."""

    def is_set(self) -> bool:
        """Whether it is set."""

    @property
    def reason(self) -> str | None:
        """Why it is set, where nobody asked for it, as when the store took this process for dead; else None."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set.

        Releases the GIL while it waits and notices Ctrl-C within 100 ms.

        Args:
            timeout: seconds to wait at most; None is no limit, 0 and less do not wait.

        Returns:
            Whether it is set.
        """

    def __await__(self) -> Generator[Any, None, bool]:
        """Wait on an event loop until it is set; True."""

    def add_callback(self, callback: Callable[[], object], /) -> None:
        """Call `callback()` once when the event is set; at once, in this thread, if it already is.

        What a callback raises is logged, and the others are called all the same; Ctrl-C is passed on to the main
        thread. A run that is never finished keeps its callbacks and what they refer to as long as its manager lives.
        """
