"""The Python client, with and without an event loop."""

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from genglossary_runs import RunManager
from genglossary_runs.client import Event, FollowError, RefusedError, StreamLostError, afollow, follow
from genglossary_runs.client.following import Following
from genglossary_runs.runner import Runner
from httpx_sse import ServerSentEvent
from streams.servers import Site

from .conftest import TOKEN, make_app
from .proxy import Proxy
from .support import Speaker, wait_until


class Reader:
    """Follows a run in a thread, and keeps what comes."""

    def __init__(self, is_async: bool, url: str, **options: Any) -> None:
        self.events: list[Event] = []
        self.reasons: list[str] = []
        self.error: Exception | None = None
        options["on_retry"] = lambda reason, delay: self.reasons.append(reason)
        self._thread = threading.Thread(target=self._run, args=(is_async, url, options), daemon=True)
        self._thread.start()

    def _run(self, is_async: bool, url: str, options: dict[str, Any]) -> None:
        try:
            if is_async:
                asyncio.run(self._read(url, options))
            else:
                for event in follow(url, **options):
                    self.events.append(event)
        except Exception as error:
            self.error = error

    async def _read(self, url: str, options: dict[str, Any]) -> None:
        async for event in afollow(url, **options):
            self.events.append(event)

    def messages(self) -> list[str]:
        return [event.data["message"] for event in self.events if event.name is None and "message" in event.data]

    def wait(self, condition: Callable[[], object]) -> None:
        wait_until(condition)

    def end(self) -> list[Event]:
        """All events, once it has ended."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.events


Read = Callable[..., Reader]


@pytest.fixture(params=["sync", "async"])
def read(request: pytest.FixtureRequest, proxy: Proxy) -> Read:
    """Follows a run through the proxy: `read(run_id, **options)`."""

    def start(run_id: int | str, end: str = "/events", **options: Any) -> Reader:
        return Reader(request.param == "async", f"{proxy.url}/api/runs/{run_id}{end}", **options)

    return start


def test_lost_connections_and_a_server_that_is_away_are_no_end(
    runner: Runner, proxy: Proxy, speaker: Speaker, read: Read
) -> None:
    run = runner.start(speaker)
    reader = read(run.run_id)
    speaker.say("one")
    reader.wait(lambda: reader.messages() == ["one"])
    proxy.drop()
    speaker.say("two")
    reader.wait(lambda: reader.messages() == ["one", "two"])
    with proxy.away(502):
        speaker.say("three")
        reader.wait(lambda: proxy.refused >= 2)
    speaker.stop()
    events = reader.end()
    assert reader.messages() == ["one", "two", "three"]
    assert (events[-1].is_end, events[-1].data["status"]) == (True, "completed")
    assert [event.name for event in events] == [None, None, None, "complete"]
    assert "the answer was 502 Excuse" in reader.reasons
    assert not any(event.is_new_life for event in events)


def test_gaps_are_events_and_after_resumes(runner: Runner, speaker: Speaker, read: Read) -> None:
    run = runner.start(speaker)
    speaker.say(*(f"line {number}" for number in range(15)))
    speaker.stop()
    assert run.wait(60)
    events = read(run.run_id).end()
    assert (events[0].name, events[0].data["gap"]["missed"]) == ("gap", 6)
    assert len(events) == 11
    assert read(run.run_id, after=events[5].id).end() == events[6:]
    assert read(run.run_id, after=events[-1].id).end() == []


def test_a_run_that_was_started_anew_is_told_apart(runner: Runner, proxy: Proxy, speaker: Speaker, read: Read) -> None:
    runner.start(speaker, run_id="book")
    reader = read("book")
    speaker.say("the old one")
    reader.wait(lambda: reader.messages() == ["the old one"])
    other, second = Runner(RunManager()), Speaker()
    other.start(second, run_id="book")
    second.say("the new one")
    with Site(make_app(other)) as site:
        proxy.upstream = site.port
        proxy.drop()
        reader.wait(lambda: reader.messages() == ["the old one", "the new one"])
        second.stop()
        events = reader.end()
    assert [event.is_new_life for event in events] == [False, True, False]
    assert other.shutdown(60)


def test_refusals_are_errors(runner: Runner, speaker: Speaker, read: Read) -> None:
    with pytest.raises(RefusedError, match="404") as unknown:
        read("nowhere").end()
    assert unknown.value.status == 404
    runner.start(speaker, run_id="secret")
    with pytest.raises(RefusedError, match="403"):
        read("secret").end()
    reader = read("secret", headers={"Authorization": TOKEN})
    speaker.say("one")
    reader.wait(lambda: reader.messages() == ["one"])
    speaker.stop()
    reader.end()


@pytest.mark.parametrize("data", ["ping", "[1]", "{"])
def test_an_event_of_something_else_was_a_decoding_error(data: str) -> None:
    following = Following(httpx.URL("http://127.0.0.1/news"), "", {}, None, None)
    with pytest.raises(FollowError, match="/news streams something other than a run"):
        following.take(ServerSentEvent(data=data))


def test_errors_told_the_credentials_in_the_url(proxy: Proxy) -> None:
    url = f"http://me:hunter2@127.0.0.1:{proxy.port}/api/runs/nowhere/events"
    with pytest.raises(RefusedError) as refused:
        list(follow(f"{url}?token=hunter2"))
    assert str(refused.value) == f"{proxy.url}/api/runs/nowhere/events answers 404 Not Found"
    with proxy.away(503), pytest.raises(StreamLostError) as lost:
        list(follow(f"{url}?token=hunter2", give_up=0.0))
    with pytest.raises(FollowError) as unsupported:
        list(follow("ftp://me:hunter2@127.0.0.1/?token=hunter2"))
    assert "hunter2" not in str(lost.value) + str(unsupported.value)


def test_it_gives_up_when_asked_to(runner: Runner, proxy: Proxy, speaker: Speaker, read: Read) -> None:
    run = runner.start(speaker)
    reader = read(run.run_id, give_up=0.1)
    speaker.say("one")
    reader.wait(lambda: reader.messages() == ["one"])
    with proxy.away(503), pytest.raises(StreamLostError, match="the answer was 503"):
        reader.end()


def test_it_does_not_wait_beyond_the_time_at_which_it_gives_up() -> None:
    following = Following(httpx.URL("http://127.0.0.1/events"), "", {}, 0.2, None)
    assert not following.accepts(httpx.Response(503))
    assert following.delay <= 0.2


def test_a_page_in_place_of_a_stream_is_named() -> None:
    following = Following(httpx.URL("http://127.0.0.1/runs/"), "", {}, 0.0, None)
    with pytest.raises(StreamLostError, match=r"no stream, but text/html; is this the URL of a run\?"):
        following.accepts(httpx.Response(200, headers={"Content-Type": "text/html"}))


def test_a_run_that_had_been_silent_was_given_up_without_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """The silence before the connection was lost counted as time in which the server was away."""
    now = 0.0
    monkeypatch.setattr("genglossary_runs.client.following.time", SimpleNamespace(monotonic=lambda: now))
    following = Following(httpx.URL("http://127.0.0.1/events"), "", {}, 30.0, None)
    assert following.accepts(httpx.Response(200, headers={"Content-Type": "text/event-stream"}))
    now = 3600.0
    following.lost("the connection dropped")
    now += 29.0
    following.lost("nobody is there")
    now += 1.0
    with pytest.raises(StreamLostError, match="for 30 seconds: nobody is there"):
        following.lost("nobody is there")


def test_a_silent_connection_is_made_again(runner: Runner, speaker: Speaker, read: Read) -> None:
    run = runner.start(speaker)
    reader = read(run.run_id, silence=0.1)
    reader.wait(lambda: "nothing was heard for too long" in reader.reasons)
    speaker.say("one")
    speaker.stop()
    assert [event.name for event in reader.end()] == [None, "complete"]


def test_the_address_of_the_run_will_do(runner: Runner, read: Read) -> None:
    run = runner.start(lambda context: None)
    assert [event.name for event in read(run.run_id, end="").end()] == ["complete"]
