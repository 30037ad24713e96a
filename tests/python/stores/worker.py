"""A process with a manager on a store that does what it is told: a line of JSON for each command and each answer."""

import asyncio
import json
import sys
import threading
import time
from typing import Any

from genglossary_runs import RunManager, Subscription
from kinds import make


def rest(subscription: Subscription) -> list[tuple[str, dict[str, Any]]]:
    """Everything to the end, each event with its id."""
    return [(subscription.last_event_id, event) for event in subscription]


async def frames(manager: RunManager, run_id: Any) -> list[str]:
    """The server-sent events of a run to its end."""
    subscription = await manager.asubscribe(run_id, "0", must_exist=True)
    print('{"answer": true}', flush=True)
    chunks = [chunk async for chunk in subscription.frames()]
    return b"".join(chunks).decode().split("\n\n")


def publish(manager: RunManager, run_id: Any, first: int, count: int, pause: float = 0.0) -> list[str | None]:
    ids = []
    for number in range(first, first + count):
        ids.append(manager.publish(run_id, {"n": number}))
        if pause:
            time.sleep(pause)
    return ids


def flood(manager: RunManager, run_id: Any, pause: float) -> None:
    """Publish without end, and print each event that a reader of this process was given, with its id."""
    subscription = manager.subscribe(run_id, "0")

    def echo() -> None:
        for event in subscription:
            sys.stdout.write(json.dumps([subscription.last_event_id, event]) + "\n")
            sys.stdout.flush()

    threading.Thread(target=echo, daemon=True).start()
    number = 0
    while True:
        number += 1
        manager.publish(run_id, {"n": number})
        time.sleep(pause)


def main() -> None:
    kind, where, store, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
    manager = RunManager(store=make(kind, where, **store), **options)
    kept: dict[str, Any] = {}
    for line in sys.stdin:
        name, *args = json.loads(line)
        try:
            match name:
                case "open":
                    kept["cancel"] = manager.open_run(args[0], key=args[1], name=args[2] if args[2:] else None)
                    answer: Any = True
                case "open_new":
                    answer, kept["cancel"] = manager.open_new_run(key=args[0])
                case "publish":
                    answer = publish(manager, *args)
                case "finish":
                    answer = manager.finish_run(*args)
                case "cancel":
                    answer = manager.cancel_run(*args)
                case "cancelled":
                    answer = kept["cancel"].wait(args[0])
                    answer = [answer, time.time()]
                case "reason":
                    answer = kept["cancel"].reason
                case "read":
                    answer = rest(manager.subscribe(*args, must_exist=True))
                case "follow":
                    kept["reader"] = manager.subscribe(*args, must_exist=True)
                    answer = True
                case "follow_all":
                    kept["readers"] = [manager.subscribe(run_id, "0", must_exist=True) for run_id in args[0]]
                    answer = True
                case "rest_all":
                    answer = [rest(reader) for reader in kept["readers"]]
                case "rest":
                    answer = rest(kept["reader"])
                case "frames":
                    answer = asyncio.run(frames(manager, *args))
                case "record":
                    answer = manager.run_record(*args)
                case "stats":
                    answer = manager.stats()
                case "flood":
                    answer = flood(manager, *args)
                case "latency":
                    subscription = manager.subscribe(args[0], None)
                    sys.stdout.write('{"answer": true}\n')
                    sys.stdout.flush()
                    answer = [time.time() - event["at"] for event in subscription if "at" in event]
                case _:
                    raise ValueError(name)
            reply = {"answer": answer}
        except Exception as error:
            reply = {"error": type(error).__name__, "message": str(error), "run_id": getattr(error, "run_id", None)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
