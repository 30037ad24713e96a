"""Cost of publishing, subscribing and handing over, side by side with the design this project replaces."""

import gc
import queue
import threading
import time
import timeit
from collections.abc import Callable
from typing import Any

import orjson
from baseline import BaselineManager
from genglossary_runs import RunManager
from measure import RUN_ID, Figure, Rounds, log_message, parser, report, table

HISTORY = BaselineManager.MAX_LOG_QUEUE_SIZE
OUR_PUBLISHES = 20_000
DUMPS = 50_000
BASELINE_PUBLISHES = {1: 900, 1000: 100}
"""Fewer than a queue holds: a full queue would be cheaper, because it drops messages."""
SUBSCRIPTIONS = 5_000
HANDED_OVER = 50_000
WINDOW = 250
"""The hand-off's publisher leads by at most two windows, so that neither side drops messages."""


def seconds_per_call(statement: str, calls: int, names: dict[str, Any]) -> float:
    """Time a statement in timeit's bare loop, which turns the garbage collector off."""
    return timeit.Timer(statement, globals=names).timeit(calls) / calls


def our_publish(subscribers: int) -> Callable[[], float]:
    """Publish to readers, none of which waits, with a full history."""
    manager = RunManager(history=HISTORY)
    manager.open_run(RUN_ID)
    readers = [manager.subscribe(RUN_ID) for _ in range(subscribers)]
    message = log_message()
    for _ in range(HISTORY):
        manager.publish(RUN_ID, message)
    names = {"publish": manager.publish, "run_id": RUN_ID, "message": message, "readers": readers}
    return lambda: seconds_per_call("publish(run_id, message)", OUR_PUBLISHES, names)


def baseline_publish(subscribers: int) -> Callable[[], float]:
    """Publish to queues that have room; they are emptied between the rounds."""
    manager = BaselineManager()
    readers = [manager.subscribe(RUN_ID) for _ in range(subscribers)]
    names = {"publish": manager.publish, "run_id": RUN_ID, "message": log_message()}
    calls = BASELINE_PUBLISHES[subscribers]

    def measure() -> float:
        seconds = seconds_per_call("publish(run_id, message)", calls, names)
        for reader in readers:
            for _ in range(calls):
                reader.get_nowait()
        return seconds

    return measure


def our_subscribe() -> Callable[[], float]:
    """Subscribe and drop, which is all that a reader has to do."""
    manager = RunManager()
    manager.open_run(RUN_ID)
    names = {"subscribe": manager.subscribe, "run_id": RUN_ID}
    return lambda: seconds_per_call("subscribe(run_id)", SUBSCRIPTIONS, names)


def baseline_subscribe() -> Callable[[], float]:
    """Subscribe and unsubscribe."""
    manager = BaselineManager()
    names = {"subscribe": manager.subscribe, "unsubscribe": manager.unsubscribe, "run_id": RUN_ID}
    return lambda: seconds_per_call("unsubscribe(run_id, subscribe(run_id))", SUBSCRIPTIONS, names)


def hand_over(manager: RunManager | BaselineManager) -> float:
    """Events a second from one thread that publishes to another that waits in `get()`."""
    reader = manager.subscribe(RUN_ID)
    window = threading.Semaphore(2)
    message = log_message()
    lost: list[str] = []

    def consume() -> None:
        get = reader.get
        for _ in range(HANDED_OVER // WINDOW):
            for _ in range(WINDOW):
                try:
                    received = get(timeout=30)
                except queue.Empty:
                    lost.append("nothing came")
                    return
                if "gap" in received:
                    lost.append(received["message"])
            window.release()

    consumer = threading.Thread(target=consume)
    consumer.start()
    publish = manager.publish
    start = time.perf_counter()
    for _ in range(HANDED_OVER // WINDOW):
        while not window.acquire(timeout=1):
            if not consumer.is_alive():
                break
        for _ in range(WINDOW):
            publish(RUN_ID, message)
    consumer.join()
    seconds = time.perf_counter() - start
    if lost:
        raise RuntimeError(f"the hand-off lost events: {lost[0]}")
    return HANDED_OVER / seconds


def our_hand_over() -> float:
    """The hand-off through a `Subscription`."""
    manager = RunManager()
    manager.open_run(RUN_ID)
    return hand_over(manager)


def baseline_hand_over() -> float:
    """The hand-off through a `queue.Queue`."""
    return hand_over(BaselineManager())


def main() -> None:
    """Measure, print, and write the figures."""
    options = parser("Publish, subscribe and hand over, beside the design this project replaces.").parse_args()
    message = log_message()
    dumps = {"dumps": orjson.dumps, "message": message}
    times = Rounds(
        {
            "publish to 1": our_publish(1),
            "orjson.dumps": lambda: seconds_per_call("dumps(message)", DUMPS, dumps),
            "publish to 1,000": our_publish(1000),
            "publish to 10,000": our_publish(10_000),
            "baseline: publish to 1": baseline_publish(1),
            "baseline: publish to 1,000": baseline_publish(1000),
            "subscribe and drop": our_subscribe(),
            "baseline: subscribe and drop": baseline_subscribe(),
        },
        options.rounds,
    )
    gc.collect()
    rates = Rounds({"hand-off": our_hand_over, "baseline: hand-off": baseline_hand_over}, options.rounds)

    cases = ["publish to 1", "publish to 1,000", "publish to 10,000", "subscribe and drop"]
    rows = []
    for case in [*cases, *(f"baseline: {case}" for case in cases if case != "publish to 10,000"), "orjson.dumps"]:
        rows.append([case, f"{times.median(case) * 1e6:,.2f} µs"])
    for case in ["hand-off", "baseline: hand-off"]:
        rows.append([case, f"{rates.median(case):,.0f} /s"])
    table(["median", "each"], rows)

    report(
        [
            Figure("publish_1000_over_1", times.ratio("publish to 1,000", "publish to 1"), "<= 1.5"),
            Figure("publish_10000_over_1", times.ratio("publish to 10,000", "publish to 1"), "<= 1.5"),
            Figure(
                "baseline_over_ours_publish_1000",
                times.ratio("baseline: publish to 1,000", "publish to 1,000"),
                ">= 500",
            ),
            Figure("publish_over_orjson", times.ratio("publish to 1", "orjson.dumps"), "<= 3"),
            Figure(
                "baseline_over_ours_subscribe",
                times.ratio("baseline: subscribe and drop", "subscribe and drop"),
                ">= 20",
            ),
            Figure("handoff_ours_over_baseline", rates.ratio("hand-off", "baseline: hand-off"), ">= 1"),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
