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
    """A snapshot of what a manager holds, and of what it has done since it was created."""

    active_runs: int
    """Open runs."""
    subscribed_runs: int
    """Runs that are not open yet but have subscribers or a cancel event."""
    subscribers: int
    """Subscriptions to all runs that have not finished."""
    retained_runs: int
    """Finished runs kept for late readers."""
    events_held: int
    """Events in the logs of all these runs, retained ones included."""
    bytes_held: int
    """Bytes of JSON in these events."""
    events_published: int
    """Events published since the manager was created, including terminal events."""
    bytes_published: int
    """Bytes of JSON in these events."""
    events_missed: int
    """Events that gaps have reported as missed, summed over all readers."""
    store: NotRequired[StoreStats]
    """The state of the manager's store, if it has one."""

@type_check_only
class StoreStats(TypedDict):
    """The state of a store as this process last saw it."""

    path: NotRequired[Path]
    """The file of a `SqliteStore`."""
    address: NotRequired[str]
    """Host, port and database of a `RedisStore`."""
    project: NotRequired[str]
    """The project of a `RedisStore`."""
    error: str | None
    """What is wrong with the store; None if nothing is."""
    runs: int
    """Runs in the store."""
    bytes: int
    """Bytes in use."""
    events_stored: int
    """Events stored by this process."""
    events_lost: int
    """Events of this process that were evicted before they could be stored."""
    owned_runs: int
    """Open runs of this process."""
    mirrors: int
    """Runs that are read in this process but executed in another."""

@disjoint_base
class RunManager:
    """Manages runs, their subscribers and their cancel events. All methods are thread-safe.

    A run id is an int of 64 bits or a str of 1 to 200 characters without control characters. A `uuid.UUID` is converted
    to its text, and a str that is the decimal form of a 64-bit int to that int. Methods that create a run refuse other
    ids: with `TypeError` if the type is wrong (bool and float included), else with `InvalidRunIdError`. Methods that
    look a run up treat them as ids of unknown runs.

    A run is one bounded, numbered log; a subscription is only a cursor on it. Publishing costs the same for one reader
    and for ten thousand, and nothing is queued per reader. In a forked child the manager is empty.

    Args:
        history: maximum number of events in a run's log, 1 to 2**31 - 1; the oldest are evicted first. Also the maximum
            number of unread private messages per subscription, see `Subscription.put_nowait`.
        history_bytes: maximum bytes of JSON in a run's log, 1 or more. The newest event is kept even if it is larger.
        retained_runs: maximum number of finished runs kept for late readers, 0 or more.
        retained_bytes: maximum bytes of JSON in all retained runs together, 0 or more.
        retention: seconds a finished run is retained, 0 to 1e9. There is no timer: opening, finishing and subscribing
            to runs, `terminal_event`, `retained_runs` and `stats` evict expired runs.
        default: called with a value that has no JSON form; returns a value to write instead. None refuses such values.
        store: a `SqliteStore` or `RedisStore` that keeps runs outside the process; None keeps them in memory only.
            Stored runs outlive the process, and every process that uses the store can read, cancel, finish and publish
            to them. With a store, `open_run` and all calls about a run that is not open in this process block until the
            store answers, usually for milliseconds; in a coroutine, await the methods that start with `a` instead.
        tells_interrupted: whether readers of a run whose process died get the outcome that the store recorded. If
            False, they wait until `without_store().finish_run(...)` is called in this process, for an application that
            knows the real outcome.
        args, kwargs: ignored, so that a subclass can have its own constructor; `RunManager` itself raises `TypeError`
            if there are any.

    Raises:
        ValueError: a limit is out of bounds.
        TypeError: `default` is not callable, or `store` is not a store.
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
    def open_run(self, run_id: RunId, *, key: str | None = None, name: str | None = None) -> CancelEvent:
        """Open a run and return its cancel event.

        Takes over an entry created by subscribers or by `cancel_event(run_id, create=True)`. A retained earlier life of
        the id is dropped.

        Args:
            run_id: the run.
            key: at most one run with this key is active in all processes that use the store; None for no limit.
                Requires a store.
            name: what people call the run; kept in its record, so without a store it is ignored. Lone surrogates become
                U+FFFD.

        Raises:
            RunActiveError: the run is open, or the key has an active run; with a store, `run_id` of the error names it.
            InvalidRunIdError, TypeError: the id is invalid.
            StoreError: the store cannot be used.
            ValueError: there is a key but no store.
        """

    def run(self, run_id: RunId | None = None) -> ManagedRun:
        """Open a run for a `with` block, and finish it when the block exits, however it exits.

            with manager.run("import 7") as context:
                context.log("started")

        The block gets a `genglossary_runs.runner.RunContext`. An exception is recorded and propagates.

        Args:
            run_id: the run; None for a random UUID.
        """

    def publish(self, run_id: RunId, event: Mapping[str, Any], /, *, name: str | None = None) -> str | None:
        """Append an event to the run's log and wake its readers.

        Args:
            run_id: a run that is open or has subscribers or a cancel event.
            event: a dict or another mapping. NaN and infinities become null, lone surrogates U+FFFD, keys as in
                `json.dumps`. Besides JSON's types, values may be dates and times (ISO 8601), UUID, Decimal and Path
                (text), Enum (its value), dataclasses, pydantic models, mappings, sequences and sets of any kind, and
                NumPy scalars and arrays. Other values are passed to the manager's `default`.
            name: the `event:` field of the server-sent event, by which a page distinguishes kinds of events: 1 to 255
                bytes of UTF-8 without line ends and control characters, other than `gap` and `complete`. None for no
                name.

        Returns:
            The event's id, `<fence>-<seq>`; None if no reader could ever get the event, because the run is unknown or
            finished.

        Raises:
            TypeError: the event is not a mapping, or contains a value or key that cannot be written, such as bytes; the
                message says where. Nothing is published.
            ValueError: the name is out of bounds; or the event is nested deeper than 128 levels, refers to itself, or
                contains an integer of more than 4,300 digits or more than Python prints. Nothing is published.
            StoreError: the run is not open in this process, and the store cannot be used.
        """

    def cancel_run(self, run_id: RunId) -> bool:
        """Set the run's cancel event.

        Returns:
            True if there was a run to cancel; False if it is unknown or finished.

        Raises:
            StoreError: the run is not open in this process, and the store cannot be used.
        """

    def finish_run(
        self, run_id: RunId, event: Mapping[str, Any], /, *, unless_active: bool = False, result: str | None = None
    ) -> bool:
        """Finish the run with a terminal event and remove its entry, in one atomic step.

        Without a store, a run that was never opened is recorded as finished, so that later readers learn its outcome.

        Args:
            run_id: the run.
            event: as for `publish`.
            unless_active: do nothing if the run is open. Only for managers without a store.
            result: what the run returned, as JSON, for its record in the store; invalid JSON is ignored.

        Returns:
            True if this call finished the run; False if not, since a finished run keeps its first terminal event.

        Raises:
            TypeError, ValueError: as for `publish`; the run is not finished.
            InvalidRunIdError, TypeError: the id is invalid.
            StoreError: the run is not open in this process, and the store cannot be used.
        """

    def subscribe(self, run_id: RunId, after: str | None = None, *, must_exist: bool = False) -> Subscription:
        """Create a reader of the run.

        A reader of an unknown run waits for it to be opened, even if an earlier run of that id has been evicted. A
        reader of a retained run without `after` gets the terminal event at once. If `after` is the id of an event of
        this manager and nothing is kept of its run, the reader gets a terminal event with the status `unknown`.

        Args:
            run_id: the run.
            after: None for new events only; the id of an event of this life of the run for the events after it;
                anything else (`"0"`, an id of another life, text that is not an id) for all events. A gap comes first
                if some of these have been evicted.
            must_exist: refuse a run that is not open, subscribed to, retained or stored.

        Raises:
            UnknownRunError: the run does not exist and `must_exist` is set, or the id is invalid.
            StoreError: the run is not open in this process, and the store cannot be used.
        """

    def unsubscribe(self, subscription: Subscription, /) -> bool:
        """Close a subscription of this manager. Returns False, and does nothing, if it is another manager's."""

    # With a store

    def open_new_run(self, *, key: str | None = None, name: str | None = None) -> tuple[int, CancelEvent]:
        """Open a run under a new int id from the store, larger than all before it below 2**52. Waits for the store.

        Args:
            key: at most one run with this key is active in all processes that use the store; None for no limit.
            name: as for `open_run`.

        Returns:
            The id and the cancel event.

        Raises:
            RunActiveError: the key has an active run; `run_id` of the error names it.
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    @property
    def store(self) -> SqliteStore | RedisStore | None:
        """The store that was passed to the manager, or None."""

    @property
    def owner(self) -> str | None:
        """The name of this process as an owner of runs, as it stands in their records; None without a store.

        Raises:
            StoreError: the store cannot be used.
        """

    def run_record(self, run_id: RunId, *, with_result: bool = True) -> dict[str, Any] | None:
        """Return the store's record of a run, wherever it was executed. Waits for the store.

        Args:
            run_id: the run.
            with_result: read its result, too, which may be large. Otherwise `result` is None.

        Returns:
            A dict with `run_id`, `fence` (identifies this life of the id), `key`, `name`, `status` (`running`, or the
            outcome), `owner`, `started_at` and `finished_at` (seconds since 1970), `error`, `result`, and `result_kind`
            (`text`, `link`, `json`, or None without a result); None if the run is unknown.

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
        """Return the store's records of runs, newest first, each as `run_record` returns it. Waits for the store.

        Args:
            key: only runs with this key.
            status: only runs with this status, or with one of these.
            text: only runs with this text in their id, key, name or error. Case is ignored for ASCII letters only.
            also: the `fence` of runs to list even if they do not contain the text.
            before: only runs that began before the run with this `fence`, the last of the previous page.
            limit: maximum number of records.
            with_results: read their results, too, which may be large. Otherwise each `result` is None.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    def aopen_run(self, run_id: RunId, *, key: str | None = None, name: str | None = None) -> Awaitable[CancelEvent]:
        """Like `open_run`, but awaitable: the event loop does not block while the store answers."""

    def aopen_new_run(self, *, key: str | None = None, name: str | None = None) -> Awaitable[tuple[int, CancelEvent]]:
        """Like `open_new_run`, but awaitable."""

    def apublish(self, run_id: RunId, event: Mapping[str, Any], /, *, name: str | None = None) -> Awaitable[str | None]:
        """Like `publish`, but awaitable."""

    def acancel_run(self, run_id: RunId) -> Awaitable[bool]:
        """Like `cancel_run`, but awaitable."""

    def afinish_run(
        self,
        run_id: RunId,
        event: Mapping[str, Any],
        /,
        *,
        unless_active: bool = False,
        result: str | None = None,
    ) -> Awaitable[bool]:
        """Like `finish_run`, but awaitable."""

    def asubscribe(
        self, run_id: RunId, after: str | None = None, *, must_exist: bool = False
    ) -> Awaitable[Subscription]:
        """Like `subscribe`, but awaitable."""

    def owns_run(self, run_id: RunId) -> bool:
        """Return whether the run is open in this process and no other process has declared this one dead.

        Waits for the store. With a `RedisStore`, the answer holds for its `lease`. Call this before a write that must
        not happen twice.

        Args:
            run_id: the run.

        Raises:
            StoreError: the store cannot be used.
        """

    def aowns_run(self, run_id: RunId) -> Awaitable[bool]:
        """Like `owns_run`, but awaitable."""

    def arun_record(self, run_id: RunId, *, with_result: bool = True) -> Awaitable[dict[str, Any] | None]:
        """Like `run_record`, but awaitable."""

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
        """Like `run_records`, but awaitable."""

    def without_store(self) -> RunManager:
        """Return a manager of the same runs that never uses the store.

        It opens, reads, publishes to and finishes what this process has in memory. Do not use it in a forked child;
        call this method there again.
        """

    def keep_run(self, run_id: RunId) -> bool:
        """Store a run that `without_store()` has opened and nobody has published to. Waits for the store.

        Returns:
            True if the store keeps the run; False if another process executes a run with this id.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the manager has no store.
        """

    def abandon_run(self, run_id: RunId) -> bool:
        """Undo `open_run`, as if the run had never been opened; its subscribers keep waiting.

        Returns:
            True if the run was open.
        """

    def cancel_event(self, run_id: RunId, *, create: bool = False) -> CancelEvent | None:
        """Return the cancel event of a run that is open, or that has one from an earlier `create`; else None.

        Args:
            run_id: the run.
            create: create the event and the run's entry if they do not exist; `open_run` takes the entry over.

        Raises:
            InvalidRunIdError, TypeError: `create` is set and the id is invalid.
        """

    def terminal_event(self, run_id: RunId) -> dict[str, Any] | None:
        """Return the terminal event of a finished run while it is retained, else None."""

    def is_active(self, run_id: RunId) -> bool:
        """Return whether the run is open."""

    def active_runs(self) -> list[int | str]:
        """Return the ids of the runs that are open or reserved by `cancel_event`: ascending ints, then strs.

        `stats` counts only the open ones as active.
        """

    def subscribed_runs(self) -> list[int | str]:
        """Return the ids of the unfinished runs that have subscribers: ascending ints, then strs."""

    def retained_runs(self) -> list[int | str]:
        """Return the ids of the finished runs that are retained, oldest first."""

    def stats(self) -> Stats:
        """Return what the manager holds now and what it has done so far."""

@final
class RedisStore:
    """A store on a Redis or Valkey server, 7.0 or later. Pass it to `RunManager(store=...)`.

    Runs outlive the process, and every process on any host that uses the same project can read, cancel, publish to and
    finish them. The store connects on first use, with two connections per process, whatever the number of readers.
    While the server is unreachable, runs continue in their process, and calls that need the store raise `StoreError`.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, `unix://path`, or
            `redis+sentinel://[user:password@]host[:port],.../master[/database]`, where the hosts are Sentinels, and
            user and password those of the master; `rediss+sentinel://` if both use TLS. TLS trusts the system's
            certificates; SSL_CERT_FILE names others.
        project: processes with the same project see each other's runs; 1 to 100 bytes, without braces, spaces and
            control characters.
        retention: seconds a finished run is kept, 0 to 1e9.
        max_runs: maximum number of runs kept, 1 or more. Unfinished runs count, but are never removed.
        max_bytes: approximate maximum bytes of events kept, 1 MiB or more. The oldest finished runs are removed first,
            then the oldest events of unfinished runs.
        lease: seconds without a renewal after which a process is suspected dead, 1 to 3600. Processes renew their lease
            every third of this time. One that stays suspected for another half of this time is declared dead: its runs
            end as interrupted, and what it writes to them later is refused.

    Raises:
        ValueError: the URL is invalid, a value is out of bounds, or this process uses the project with other settings.
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
        """The project's name."""

@final
class SqliteStore:
    """A store in a SQLite file. Pass it to `RunManager(store=...)`.

    Runs outlive the process, and every process of the host that uses the file can read, cancel, publish to and finish
    them. Nothing else in the process may open the file: Python's `sqlite3` in particular would corrupt it. Other
    processes, such as the `sqlite3` shell, may read it. Next to it are `-wal`, `-shm` and a small lock file for each
    process that has runs. The file must be on a local disk.

    Args:
        path: the file, created if it does not exist; its folder must exist.
        retention: seconds a finished run is kept, 0 to 1e9.
        max_runs: maximum number of runs kept, 1 or more. Unfinished runs count, but are never removed.
        max_bytes: maximum bytes of the file in use, 1 MiB or more. The oldest finished runs are removed first, then the
            oldest events of unfinished runs.

    Raises:
        StoreError: the file is not a store, has a newer version, or cannot be opened or written.
        ValueError: a limit is out of bounds, or this process uses the file with other limits.
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
        """The path of the file."""

@final
class Subscription:
    """A reader of one run: a cursor on its log, with the reading methods of `queue.Queue`.

    Created by `RunManager.subscribe`. Dropping it closes it. A reader that falls too far behind gets one dict that
    describes the gap, then continues with the oldest event still held. After the terminal event, reading raises
    `SubscriptionEnded`, a subclass of `queue.Empty`, at once.
    """

    @property
    def run_id(self) -> int | str:
        """The id of the run."""

    @property
    def last_event_id(self) -> str:
        """The id to pass as `after` so that another subscription continues from this one's position."""

    @property
    def last_event_name(self) -> str | None:
        """The name that the last event returned as a dict has in a stream.

        That is `gap` or `complete`, or what was passed to `RunManager.publish`; None if it has none.
        """

    @property
    def closed(self) -> bool:
        """Whether the subscription is closed."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to read: it is closed, or the terminal event has been read."""

    def get(self, block: bool = True, timeout: float | None = None) -> dict[str, Any]:
        """Return the next event as a dict.

        Releases the GIL while it waits, notices Ctrl-C within 100 ms, and ends when the subscription is closed.

        Args:
            block: wait for an event if none is ready.
            timeout: maximum seconds to wait, 0 or more; None waits forever.

        Raises:
            queue.Empty: no event arrived in time.
            SubscriptionEnded: the subscription is closed, or the terminal event has been read.
            ValueError: `timeout` is negative.
        """

    def get_nowait(self) -> dict[str, Any]:
        """Return the next event as a dict.

        Raises:
            queue.Empty: no event is ready.
            SubscriptionEnded: the subscription is closed, or the terminal event has been read.
        """

    def empty(self) -> bool:
        """Return whether `get_nowait` would raise `queue.Empty`."""

    def full(self) -> bool:
        """Return whether `qsize()` has reached the manager's `history`."""

    def qsize(self) -> int:
        """Return the number of messages that are ready to be read. A gap before them does not count."""

    def put_nowait(self, message: Mapping[str, Any], /) -> None:
        """Add a private message for this reader alone, to be read after the events published so far.

        A closed subscription ignores it.

        Args:
            message: as `event` of `RunManager.publish`; the manager's `default` is not used.

        Raises:
            queue.Full: as many private messages as the manager's `history` are unread.
            TypeError, ValueError: as for `RunManager.publish`.
        """

    def close(self) -> None:
        """Close the subscription; a blocked `get` raises `SubscriptionEnded`. May be called more than once."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __next__(self) -> dict[str, Any]:
        """Wait for the next event. Iteration ends after the terminal event, or when the subscription is closed."""

    def aget(self, timeout: float | None = None) -> Coroutine[Any, None, dict[str, Any]]:
        """Await the next event as a dict.

        Returns a coroutine-like object, which `asyncio.create_task` accepts. A subscription belongs to the event loop
        that first awaits it. A cancelled await loses no event.

        Args:
            timeout: maximum seconds to wait, 0 or more, counted from this call; None waits forever.

        Raises:
            queue.Empty: no event arrived in time.
            SubscriptionEnded: the subscription is closed, or the terminal event has been read.
            RuntimeError: another event loop has awaited the subscription.
            ValueError: `timeout` is negative.
        """

    def frames(self, heartbeat: float | None = 15.0) -> Frames:
        """Iterate asynchronously over ready-made server-sent events, in chunks of at most 64 KiB.

        Each event has its id and name; a gap is `event: gap` without an id; the terminal event is `event: complete`.
        Iteration ends after it, or when the subscription is closed. A single event of more than 64 KiB is one chunk.
        While the store cannot be reached, a run of another process yields `event: stalled` without an id, once.

        Args:
            heartbeat: seconds without an event before a comment line is yielded, more than 0; None for no heartbeats.

        Raises:
            RuntimeError: another event loop has awaited the subscription.
            ValueError: `heartbeat` is not positive.
        """

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, None, dict[str, Any]]:
        """Await the next event. Iteration ends after the terminal event, or when the subscription is closed."""

    def aclose(self) -> Coroutine[Any, None, None]:
        """Close the subscription, for `contextlib.aclosing`. Awaitable."""

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
    """The asynchronous iterator that `Subscription.frames` returns, over chunks of frames and heartbeats."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, None, bytes]: ...
    def aclose(self) -> Coroutine[Any, None, None]:
        """Close the subscription, which ends the iteration. Awaitable."""

@type_check_only
class StreamCounts(TypedDict):
    """The counts that `stream_stats` returns."""

    open: int
    stalled: int
    total: int
    dropped: int

@final
class StreamGroup:
    """Streams that a server started and that threads without Python continue.

    The first stream starts a thread; thousands of streams have up to one thread per core. Each thread ends with its
    last stream. A forked child has no streams.
    """

    def __new__(cls) -> Self: ...
    def add(
        self, fd: int, subscription: Subscription, *, heartbeat: float | None, send_timeout: float, retry: int
    ) -> None:
        """Continue a response that has started, on a duplicate of its socket.

        Sends the subscription's events in the chunked transfer coding of HTTP/1.1, ends the body, then closes the
        connection. The caller must close its own descriptor without shutting the connection down, and must not read the
        subscription.

        Args:
            fd: an open, connected stream socket with no pending writes.
            subscription: what is sent. It is closed when the stream ends.
            heartbeat: seconds without an event before a comment line is sent, more than 0; None for no heartbeats.
            send_timeout: seconds a client may accept none of its pending data before it is dropped, more than 0.
            retry: milliseconds a client is told to wait before it reconnects, if the stream is drained.

        Raises:
            OSError: `fd` is not a socket, or the process is out of descriptors. Nothing has been sent.
            ValueError: `fd` is negative, or `heartbeat` or `send_timeout` is not positive.
        """

    def drain(self, grace: float) -> None:
        """End the streams with a `retry:` hint. Thread-safe; does not block.

        Args:
            grace: seconds a client may take to accept its pending data before it is dropped, more than 0.

        Raises:
            ValueError: `grace` is not positive.
        """

    @property
    def open(self) -> int:
        """The number of streams that have not ended."""

def result_kind(result: object, /) -> Literal["text", "link", "json"] | None:
    """Classify a result for display: `text`, `link` (a text that is a URL) or `json`; None for no result."""

def stream_stats() -> StreamCounts:
    """Count the streams that have been handed over in this process.

    Returns:
        `open`: streams that have not ended; `stalled`: open streams whose client has not accepted all of its data;
        `total`: all streams so far; `dropped`: streams whose client accepted nothing in time.
    """

@final
class OwnerLock:
    """A lock on a file, which the operating system releases when the process ends, however it ends.

    A forked child does not hold it. Dropping it releases it.
    """

    @staticmethod
    def acquire(path: str | PathLike[str]) -> OwnerLock | None:
        """Become the owner of a file, which is created if it does not exist.

        Returns:
            The lock; None if the file has an owner, or while another process cleans up after a dead one.

        Raises:
            OSError: the file cannot be created, or its file system does not support locks.
        """

    @staticmethod
    def look(path: str | PathLike[str]) -> OwnerLock | None:
        """Keep owners out while cleaning up after a dead one.

        Returns:
            The lock; None if there is an owner or no file.

        Raises:
            OSError: the file cannot be opened, or its file system does not support locks.
        """

    @property
    def found(self) -> str:
        """The text of the file when it was locked: what a dead owner wrote, or nothing."""

    def describe(self, words: str, /) -> None:
        """Write a description of the owner into the file.

        Raises:
            OSError: the file cannot be written, or the lock is not held, as in a forked child.
        """

    def release(self) -> None:
        """Unlock the file and leave it with its text. May be called more than once."""

    def remove(self) -> None:
        """Remove the file and unlock it; only for an owner.

        Raises:
            OSError: the file cannot be removed.
        """

@final
class CancelEvent:
    """A flag that can be set once, like `threading.Event` without `clear`, with callbacks.

    A new event is not set and belongs to no run; `RunManager.open_run` returns the event of a run.
    """

    def __new__(cls) -> Self: ...
    def set(self) -> None:
        """Set the event, wake its waiters, and call the callbacks in this thread. Later calls do nothing."""

    def is_set(self) -> bool:
        """Return whether the event is set."""

    @property
    def reason(self) -> str | None:
        """Why the event was set without a request, as when the store declared this process dead; else None."""

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the event is set.

        Releases the GIL while it waits and notices Ctrl-C within 100 ms.

        Args:
            timeout: maximum seconds to wait; None waits forever, 0 or less does not wait.

        Returns:
            Whether the event is set.
        """

    def __await__(self) -> Generator[Any, None, bool]:
        """Wait on an event loop until the event is set; returns True."""

    def add_callback(self, callback: Callable[[], object], /) -> None:
        """Call `callback()` once when the event is set; immediately, in this thread, if it is set already.

        An exception in a callback is logged, and the other callbacks still run; KeyboardInterrupt is forwarded to the
        main thread. A run that is never finished keeps its callbacks, and what they refer to, as long as its manager
        lives.
        """
