"""The count of streams, which a thread that collects metrics takes."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from genglossary_runs.sse import shutdown, stats
from genglossary_runs.sse.shutdown import Streams


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Loop:
    """What stands for an event loop of another thread."""


@pytest.mark.usefixtures("switching")
def test_counting_failed_while_another_loop_began_its_first_stream() -> None:
    streams_of: dict[Loop, Streams] = shutdown._streams_of  # type: ignore[assignment]
    loops = [Loop() for _ in range(500)]
    streams_of.update(dict.fromkeys(loops, Streams()))

    def begin() -> None:
        for _ in range(300):
            loops.append(Loop())
            streams_of[loops[-1]] = Streams()
            time.sleep(0)

    thread = threading.Thread(target=begin)
    thread.start()
    try:
        while thread.is_alive():
            assert stats()["asgi"] == 0
    finally:
        thread.join()
