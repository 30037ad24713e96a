"""What the tests of clients share."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import genglossary_runs.console
from genglossary_runs.runner import RunContext
from programs import need

DEADLINE = 60.0
"""Seconds after which something that should have happened will not."""

STATIC = Path(genglossary_runs.console.__file__).parent / "static"
JS = Path(__file__).parents[2] / "js"

SOON = {"minDelay": 20, "maxDelay": 100}
"""Options of run-stream.js with which it comes back soon."""


def need_node() -> str:
    """The command of Node."""
    return need("nodejs", "node")


class Speaker:
    """Work that says what it is told to."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __call__(self, context: RunContext) -> str:
        while (line := self._lines.get(timeout=DEADLINE)) is not None:
            context.log(line)
        return "done"

    def say(self, *lines: str) -> None:
        """Log these."""
        for line in lines:
            self._lines.put(line)

    def stop(self) -> None:
        """Complete."""
        self._lines.put(None)


class Calls:
    """The calls that a client in JavaScript made of its handlers: lists of a name and values."""

    def __init__(self) -> None:
        self.all: list[list[Any]] = []
        self._changed = threading.Condition()

    def add(self, call: list[Any]) -> None:
        """Note one."""
        with self._changed:
            self.all.append(call)
            self._changed.notify_all()

    def of(self, name: str) -> list[Any]:
        """The first value of each call of this handler."""
        return [call[1] for call in list(self.all) if call[0] == name]

    def messages(self) -> list[str]:
        """The lines of the log."""
        return [event["data"]["message"] for event in self.of("onEvent") if "message" in event["data"]]

    def wait(self, condition: Callable[[], object], pump: Callable[[], object] | None = None) -> None:
        """Wait for a condition on them; `pump` has them made meanwhile."""
        deadline = time.monotonic() + DEADLINE
        with self._changed:
            while not condition():
                assert time.monotonic() < deadline, self.all
                if pump is None:
                    self._changed.wait(0.5)
                else:
                    pump()


class NodeFollower:
    """run-stream.js in Node."""

    def __init__(self, url: str, **options: Any) -> None:
        command = [need_node(), str(JS / "follow.mjs"), str(STATIC / "run-stream.js"), url, json.dumps(SOON | options)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.calls = Calls()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.calls.add(json.loads(line))

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait for a condition on the calls."""
        self.calls.wait(condition)

    def leaves(self) -> int:
        """The code with which Node exits, as it does when nothing is left to wait for."""
        return self._process.wait(DEADLINE)

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()
        self._listener.join(DEADLINE)


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as `condition()` is true."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
