"""A hundred clients that join, leave, stall and resume at random while a run publishes."""

import asyncio
import random
import threading

import httpx
import pytest
from core.support import DEADLINE, Background, wait_until
from genglossary_runs import RunManager
from httpx_sse import EventSource, ServerSentEvent

from .conftest import Serve
from .servers import LOOPS, PROTOCOLS, SMALL, Site, make_app
from .support import EVENTS, buffer_options, log

CLIENTS = 100
HISTORY = 100
SIZE = 500
"""Characters in a message, so that all buffers of a connection take fewer messages than pass in a long stall."""
STALL = 400
"""Events that a stalled client lets pass at most."""


class Run:
    """A run that publishes until it is told to finish, and can be waited for."""

    def __init__(self) -> None:
        self.manager = RunManager(history=HISTORY)
        self.manager.open_run(1)
        self.published = 0
        self._clients_are_ready = threading.Event()
        self._publisher = Background(self._publish)

    def _publish(self) -> None:
        while not self._clients_are_ready.wait(0.01):
            for _ in range(10):
                self.published += 1
                self.manager.publish(1, log(self.published, SIZE))
        self.manager.finish_run(1, {"run_id": 1, "complete": True})

    async def wait_for(self, published: int) -> None:
        """Wait until so many events have been published."""
        async with asyncio.timeout(DEADLINE):
            while self.published < published:  # noqa: ASYNC110 - the publisher is a thread
                await asyncio.sleep(0.01)

    def finish(self) -> None:
        """End the run."""
        self._clients_are_ready.set()
        self._publisher.result()


class Client:
    """A client with its own mind. It keeps what it got, as a page would that resumes with the last id it saw."""

    def __init__(self, number: int, run: Run) -> None:
        self.moods = random.Random(number)
        self.run = run
        self.replays = self.moods.random() < 0.5
        self.steps = 4
        self.got: list[ServerSentEvent] = []
        self.resumed = self.was_cut_off = 0
        self.ready = asyncio.Event()

    @property
    def last_event_id(self) -> str | None:
        """The id it would resume behind."""
        return self.got[-1].id if self.got else "0" if self.replays else None

    async def follow(self, http: httpx.AsyncClient) -> None:
        """Read the run to its end, over as many connections as it takes."""
        await self.run.wait_for(self.moods.randrange(500))
        while not (self.got and self.got[-1].event == "complete"):
            headers = {} if self.last_event_id is None else {"Last-Event-ID": self.last_event_id}
            try:
                async with http.stream("GET", EVENTS, headers=headers) as response:
                    assert response.status_code == 200
                    await self.read(EventSource(response))
            except httpx.RemoteProtocolError:
                # Dropped by the server, for it had stalled too long.
                self.was_cut_off += 1
            self.resumed += 1
            # A gap has no id: a client that left before the next event is told of it again.
            while self.got and self.got[-1].event == "gap":
                self.got.pop()

    async def read(self, source: EventSource) -> None:
        """Read until the mood changes, or to the end."""
        count = 0
        until = self.moods.randrange(50)
        async for event in source.aiter_sse():
            if not event.data:
                continue
            self.got.append(event)
            count += 1
            if self.steps == 0:
                self.ready.set()
            elif count > until:
                self.steps -= 1
                until = count + self.moods.randrange(50)
                if self.moods.random() < 0.5:
                    return
                await self.run.wait_for(self.run.published + self.moods.randrange(STALL))

    def seqs(self) -> list[int]:
        """The numbers of the events delivered to it or named to it as missed, in the order it learned of them."""
        found: list[int] = []
        for event in self.got:
            if event.event == "gap":
                gap = event.json()["gap"]
                assert gap["missed"] == gap["to"] - gap["from"] + 1
                found.extend(range(gap["from"], gap["to"] + 1))
            else:
                found.append(int(event.id.partition("-")[2]))
        return found


async def follow_all(site: Site, run: Run) -> list[Client]:
    clients = [Client(number, run) for number in range(CLIENTS)]
    transport = httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        socket_options=buffer_options(SMALL),
    )
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", transport=transport, timeout=DEADLINE) as http,
        asyncio.TaskGroup() as group,
    ):
        for client in clients:
            group.create_task(client.follow(http))
        for client in clients:
            await client.ready.wait()
        await asyncio.to_thread(run.finish)
    return clients


@pytest.mark.parametrize(("loop", "http"), list(zip(LOOPS, PROTOCOLS, strict=True)))
def test_every_event_is_delivered_once_or_named_in_one_gap(serve: Serve, loop: str, http: str) -> None:
    run = Run()
    try:
        site = serve(make_app(run.manager, send_timeout=0.5), loop=loop, http=http, send_buffer=SMALL)
        clients = asyncio.run(asyncio.wait_for(follow_all(site, run), DEADLINE))
    finally:
        run.finish()
    for client in clients:
        seqs = client.seqs()
        assert seqs == list(range(seqs[0], run.published + 2))
        assert not client.replays or seqs[0] == 1
        assert [event.event for event in client.got].count("complete") == 1
        messages = [event for event in client.got if event.event == "message"]
        assert [event.json()["n"] for event in messages] == [int(event.id.partition("-")[2]) for event in messages]
    # They did what their name says.
    assert sum(client.resumed for client in clients) > 2 * CLIENTS
    assert sum(event.event == "gap" for client in clients for event in client.got) > CLIENTS / 10
    wait_until(lambda: run.manager.stats()["subscribers"] == 0)
