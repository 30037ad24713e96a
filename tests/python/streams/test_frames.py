"""The frames that a subscription makes of its events, on event loops."""

import math
import random
import time
from itertools import pairwise

import pytest
from core.support import numbers
from genglossary_runs import RunManager, Subscription

from .conftest import Run
from .parked import WAYS, park
from .support import events, log, parse


async def all_frames(reader: Subscription) -> bytes:
    return b"".join([chunk async for chunk in reader.frames()])


def test_frames_are_ready_server_sent_events(run: Run) -> None:
    async def main() -> None:
        manager = RunManager(history=4)
        manager.open_run(1)
        reader = manager.subscribe(1)
        ids = [manager.publish(1, log(n)) for n in range(6)]
        manager.finish_run(1, {"complete": True, "db_status": "completed"})
        gap, *messages, terminal = parse(await all_frames(reader))
        assert (gap.event, gap.id, gap.json["gap"]) == ("gap", None, {"from": 1, "to": 3, "missed": 3})
        assert (gap.json["level"], gap.json["message"]) == ("warning", "3 log messages were dropped")
        assert [(frame.event, frame.id) for frame in messages] == [(None, id) for id in ids[3:]]
        assert numbers([frame.json for frame in messages]) == [3, 4, 5]
        assert (terminal.event, terminal.seq) == ("complete", 7)
        assert terminal.json == {"complete": True, "db_status": "completed"}

    run(main())


def test_a_frame_survives_any_text(run: Run, manager: RunManager) -> None:
    text = "用語\n\r\n\r\x00\u2028\u2029 data: x\n\nid: 1 😀 \ud800"

    async def main() -> None:
        reader = manager.subscribe(1)
        manager.publish(1, {"message": text})
        manager.finish_run(1, {"complete": True})
        message, _ = parse(await all_frames(reader))
        assert message.json["message"] == text.replace("\ud800", "\ufffd")

    run(main())


def test_all_that_waits_comes_as_one_chunk(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        chunks = aiter(manager.subscribe(1).frames())
        for n in range(100):
            manager.publish(1, log(n))
        assert numbers([frame.json for frame in parse(await anext(chunks))]) == list(range(100))

    run(main())


def test_a_chunk_has_at_most_64_kib(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        sizes = [random.Random(1).randrange(12_000) for _ in range(100)]
        for n, size in enumerate(sizes):
            manager.publish(1, log(n, size))
        manager.finish_run(1, {"complete": True})
        chunks = [chunk async for chunk in reader.frames()]
        assert max(map(len, chunks)) <= 64 << 10
        # Nor is it cut short without need.
        assert all(len(first) + len(second) > 64 << 10 for first, second in pairwise(chunks))
        assert all(chunk.endswith(b"\n\n") for chunk in chunks)
        assert numbers([frame.json for frame in parse(b"".join(chunks))[:-1]]) == list(range(100))

    run(main())


def test_an_event_larger_than_that_is_a_chunk_of_its_own(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        for n, size in enumerate([10, 100_000, 10]):
            manager.publish(1, log(n, size))
        chunks = aiter(reader.frames())
        for n in range(3):
            (frame,) = parse(await anext(chunks))
            assert frame.json["n"] == n

    run(main())


def test_a_heartbeat_is_a_comment(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        chunks = aiter(reader.frames(heartbeat=0.02))
        began = time.monotonic()
        for _ in range(3):
            (frame,) = parse(await anext(chunks))
            assert frame.comment is not None
        assert time.monotonic() - began >= 0.06
        manager.publish(1, log(0))
        (frame,) = parse(await anext(chunks))
        assert frame.json == log(0)

    run(main())


def test_a_heartbeat_comes_only_where_nothing_else_did(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        chunks = aiter(reader.frames(heartbeat=60))
        began = time.monotonic()
        for n in range(10):
            manager.publish(1, log(n))
            assert len(events(parse(await anext(chunks)))) == 1
        assert time.monotonic() - began < 60

    run(main())


def test_there_may_be_no_heartbeat(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        silent = await park(WAYS["frames"], manager.subscribe(1))
        chunks = aiter(manager.subscribe(1).frames(heartbeat=0.01))
        for _ in range(3):
            await anext(chunks)
        assert not silent.done()
        silent.cancel()

    run(main())


@pytest.mark.parametrize("heartbeat", [0, -1, math.nan, math.inf])
def test_a_heartbeat_that_is_none_is_refused(manager: RunManager, heartbeat: float) -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        manager.subscribe(1).frames(heartbeat)


def test_frames_and_events_of_one_reader_take_turns(run: Run, manager: RunManager) -> None:
    async def main() -> None:
        reader = manager.subscribe(1)
        chunks = aiter(reader.frames())
        manager.publish(1, log(0))
        assert parse(await anext(chunks))[0].json == log(0)
        manager.publish(1, log(1))
        assert await reader.aget() == log(1)
        manager.publish(1, log(2))
        assert parse(await anext(chunks))[0].json == log(2)

    run(main())
