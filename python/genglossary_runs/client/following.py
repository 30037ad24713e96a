"""The state of a client of a stream and its decisions, independent of how it does I/O."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from httpx_sse import ServerSentEvent

from genglossary_runs.errors import FollowError, RefusedError, StreamLostError

from .addresses import is_stream_url, part_url, shown

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0
# Answers that say "later" although the request was at fault, as far as their class goes.
_LATER = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a run.

    Attributes:
        id: what another client resumes after; of a gap, that of the event before it.
        name: the name it was published with, or None; `gap` where events are missing, with `gap` in `data`; `complete`
            for the terminal event, with `status` and perhaps `error` in `data`.
        data: what was published. Log messages have `message`, `level` and `time`; progress has `progress_current`,
            `progress_total` and perhaps `step`.
        is_new_life: True for the first event of another run of the same id, which was started anew meanwhile.
    """

    id: str
    name: str | None
    data: dict[str, Any]
    is_new_life: bool = False

    @property
    def is_end(self) -> bool:
        """Whether this is the terminal event."""
        return self.name == "complete"


@dataclass(slots=True)
class Following:
    """The state of a client that follows a run over however many connections.

    Attributes:
        url: of the stream.
        last_event_id: the last event that was received; empty at first.
        more_headers: of each request.
        give_up: seconds for which the server may be away before it is over; None never gives up.
        on_retry: told why a connection has to be made again, and the seconds until then.
        delay: seconds to wait before the next connection.
        is_over: whether there is nothing more to come.
    """

    url: httpx.URL
    last_event_id: str
    more_headers: Mapping[str, str]
    give_up: float | None
    on_retry: Callable[[str, float], object] | None
    delay: float = 0.0
    is_over: bool = False
    _hint: float = _FIRST_DELAY
    _failures: int = 0
    # Since when the server has been away; None while a stream is open, however silent its run is.
    _away_since: float | None = field(default_factory=time.monotonic)

    def headers(self) -> dict[str, str]:
        """The headers of the next request."""
        headers = {**self.more_headers, "Accept": "text/event-stream"}
        if self.last_event_id:
            headers["Last-Event-ID"] = self.last_event_id
        return headers

    def accepts(self, response: httpx.Response) -> bool:
        """Whether an answer is a stream; if not, it is over, or `delay` says when to try again.

        Raises:
            RefusedError: the server will not say anything else the next time.
            StreamLostError: the server has been away for too long.
        """
        status, kind = response.status_code, response.headers.get("content-type", "")
        if status == 200 and kind.startswith("text/event-stream"):
            self._failures, self._away_since = 0, None
            return True
        if status == 204:
            self.is_over = True
        elif status == 200 and kind.startswith("application/json") and not is_stream_url(self.url):
            # The address of the run itself.
            self.url = part_url(self.url, "events")
            self.delay = 0.0
        elif status == 200:
            # From a proxy, perhaps, that answers for a server which restarts.
            self.lost(f"the answer was no stream, but {kind or 'nothing'}; is this the URL of a run?")
        elif status >= 500 or status in _LATER:
            self.lost(
                f"the answer was {status} {response.reason_phrase}", _seconds(response.headers.get("retry-after"))
            )
        else:
            raise RefusedError(f"{shown(self.url)} answers {status} {response.reason_phrase}", status)
        return False

    def take(self, received: ServerSentEvent) -> Event | None:
        """An event of the stream; None for what is none.

        Raises:
            FollowError: it is not an event of a run.
        """
        if received.retry is not None:
            self._hint = received.retry / 1000
        if not received.data:
            return None
        try:
            data = received.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise FollowError(
                f"{shown(self.url)} streams something other than a run: the data of an event is no JSON object"
            )
        name = None if received.event == "message" else received.event
        # The terminal event of a run whose process died has a fence of its own; any other new fence is another run.
        numbered = name != "gap" and received.id not in ("", self.last_event_id)
        is_new_life = numbered and name != "complete" and _fence(self.last_event_id) not in ("", _fence(received.id))
        if numbered:
            self.last_event_id = received.id
        self.is_over = name == "complete"
        return Event(received.id, name, data, is_new_life)

    def failed(self, error: httpx.TransportError) -> None:
        """Note that a request has failed, and decide when to try again.

        Raises:
            FollowError: it will always fail.
            StreamLostError: it has failed for too long.
        """
        if isinstance(error, httpx.UnsupportedProtocol):
            raise FollowError(f"{shown(self.url)} cannot be followed: {error}") from None
        if isinstance(error, httpx.ReadTimeout):
            self.lost("nothing was heard for too long")
        else:
            self.lost(str(error) or type(error).__name__)

    def lost(self, reason: str, at_least: float = 0.0) -> None:
        """Note that a connection has failed, and decide when to try again.

        Raises:
            StreamLostError: it has failed for too long.
        """
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        away = now - self._away_since
        if self.give_up is not None and away >= self.give_up:
            raise StreamLostError(f"{shown(self.url)} has not been reached for {away:.0f} seconds: {reason}")
        longest = min(_LONGEST_DELAY, self._hint * 2**self._failures)
        self._failures = min(self._failures + 1, 30)
        # Spread, so that clients which lost a server at once do not come back at once.
        self.delay = max(longest * random.uniform(0.5, 1.0), min(at_least, _LONGEST_DELAY))
        if self.give_up is not None:
            self.delay = min(self.delay, self.give_up - away)
        if self.on_retry is not None:
            self.on_retry(reason, self.delay)


def _fence(event_id: str) -> str:
    return event_id.rpartition("-")[0]


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0  # a date
