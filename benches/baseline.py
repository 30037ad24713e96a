"""The design that the Rust core replaces, as small as possible at the same cost as the original.

A dict of sets of bounded queues under a lock: publishing puts the message into each subscriber's queue, a full queue
silently drops the newest message, and finished runs are kept for ever.
"""

import queue
import threading
from typing import Any


class BaselineManager:
    """Runs, and a queue for each subscriber."""

    MAX_LOG_QUEUE_SIZE = 1000

    def __init__(self) -> None:
        self._subscribers: dict[int, set[queue.Queue[dict[str, Any]]]] = {}
        self._completed_runs: dict[int, dict[str, Any]] = {}
        self._cancel_events: dict[int, threading.Event] = {}
        self._subscribers_lock = threading.Lock()

    def open_run(self, run_id: int) -> threading.Event:
        """Make the run's cancel event."""
        cancel = self._cancel_events[run_id] = threading.Event()
        return cancel

    def subscribe(self, run_id: int) -> queue.Queue[dict[str, Any]]:
        """Make a queue that gets the run's messages from now on."""
        subscriber: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=self.MAX_LOG_QUEUE_SIZE)
        with self._subscribers_lock:
            completed = self._completed_runs.get(run_id)
            if completed is None:
                self._subscribers.setdefault(run_id, set()).add(subscriber)
        if completed is not None:
            subscriber.put_nowait(completed)
        return subscriber

    def unsubscribe(self, run_id: int, subscriber: queue.Queue[dict[str, Any]]) -> None:
        """Forget the queue."""
        with self._subscribers_lock:
            subscribers = self._subscribers.get(run_id)
            if subscribers is not None:
                subscribers.discard(subscriber)
                if not subscribers:
                    del self._subscribers[run_id]

    def subscribers(self, run_id: int) -> int:
        """How many queues the run has."""
        with self._subscribers_lock:
            return len(self._subscribers.get(run_id, ()))

    def publish(self, run_id: int, message: dict[str, Any]) -> None:
        """Put the message into every queue of the run that has room."""
        with self._subscribers_lock:
            for subscriber in self._subscribers.get(run_id, ()):
                try:
                    subscriber.put_nowait(message)
                except queue.Full:
                    pass

    def finish_run(self, run_id: int, message: dict[str, Any]) -> None:
        """Publish the terminal event and clear the run's entries, but for the one that late subscribers need."""
        with self._subscribers_lock:
            self._completed_runs[run_id] = message
            subscribers = self._subscribers.pop(run_id, set())
        self._cancel_events.pop(run_id, None)
        for subscriber in subscribers:
            try:
                subscriber.put_nowait(message)
            except queue.Full:
                # The original makes room: its clients wait for this message.
                subscriber.get_nowait()
                subscriber.put_nowait(message)
