"""The scripts of the store, each called by itself on a real server."""

import itertools
import json
from pathlib import Path
from typing import Any

from ..servers import ask

SCRIPTS = Path(__file__).parents[4] / "src" / "store" / "redis"
LEASE, AGE = 60_000, 86_400_000
HEAD, TAIL, WHY = '{"run_id":', ',"complete":true}', "interrupted"
NEVER = 10**9

_numbers = itertools.count(1)


class Project:
    """The keys of one project, and the scripts on them."""

    def __init__(self, port: int) -> None:
        self.port, self.prefix = port, f"runs:{{script-{next(_numbers)}}}"
        self.loaded: dict[str, str] = {}

    def key(self, *parts: object) -> str:
        return ":".join([self.prefix, *map(str, parts)])

    def ask(self, command: str, *parts: object, more: tuple[object, ...] = ()) -> Any:
        """A command on a key of the project."""
        return ask(self.port, command, self.key(*parts), *more)

    def call(self, script: str, *arguments: object) -> Any:
        if script not in self.loaded:
            text = (SCRIPTS / "common.lua").read_text() + (SCRIPTS / f"{script}.lua").read_text()
            self.loaded[script] = ask(self.port, "SCRIPT", "LOAD", text)
        return ask(self.port, "EVALSHA", self.loaded[script], 1, self.prefix, *arguments)

    def begin(
        self,
        run_id: object = 7,
        owner: str = "me",
        key: str | None = None,
        lease: int = LEASE,
        name: str | None = None,
    ) -> str:
        """The fence of a run that began."""
        texts = [word for text in (key, name) for word in (("0", "") if text is None else ("1", text))]
        what, fence, *_ = self.call("begin", owner, lease, AGE, run_id, *texts)
        assert what == "started"
        return str(fence)

    def append(self, fence: str, *seqs: int, owner: str = "me", end: str | None = None, last: int | None = None) -> str:
        ended = ("0",) if end is None else ("1", end, "", "", "")
        events = [word for seq in seqs for word in (seq, "", json.dumps({"n": seq}))]
        return str(self.call("append", owner, AGE, 1, fence, last or max(seqs), *ended, len(seqs), *events)[0])

    def progress(self, fence: str) -> list[str] | None:
        """How far a run is that is running: its newest seq stored, bytes, and owner."""
        state = self.ask("HGET", "progress", more=(fence,))
        return None if state is None else str(state).split(" ")

    def reap(self, *fences: str, grace: int = 0, most: int = 100) -> int:
        return int(self.call("reap", "other", grace, AGE, HEAD, TAIL, WHY, most, *fences))

    def evict(self, age: int = NEVER, runs: int = NEVER, size: int = NEVER, step: int = 100) -> Any:
        return self.call("evict", age, runs, size, step)

    def send(self, fence: str, what: str = "finish") -> str:
        """The number of a command that is on its way to the owner of a run."""
        return str(self.call("send", "asker", fence, f"{what}\n{fence}\n\n", int(what == "cancel"), LEASE, AGE))

    def record(self, fence: str) -> dict[str, str]:
        (fields,) = self.call("records", fence)
        return dict(zip(fields[::2], fields[1::2], strict=True))

    def events(self, fence: str) -> list[str]:
        return [event_id for event_id, _ in self.ask("XRANGE", "events", fence, more=("-", "+"))]
