"""What the tests of streams share: frames, and a client on a bare socket."""

import json
import re
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.support import DEADLINE

EVENTS = "/runs/1/events"
"""The path of the stream of run 1."""

FIELD = re.compile(r"(event|data|id|retry): ([^\r\n]*)")


@dataclass(frozen=True)
class Frame:
    """One server-sent event as it was on the wire, or a comment."""

    event: str | None = None
    data: str | None = None
    id: str | None = None
    retry: str | None = None
    comment: str | None = None

    @classmethod
    def of_lines(cls, lines: list[str]) -> "Frame":
        """Read the lines of an event, or one line that stands by itself. Each field may stand there once."""
        if lines[0].startswith(":"):
            return cls(comment=lines[0][1:])
        fields: dict[str, str] = {}
        for line in lines:
            match = FIELD.fullmatch(line)
            assert match is not None, f"no field of a server-sent event: {line!r}"
            assert match[1] not in fields, f"{match[1]} twice in {lines!r}"
            fields[match[1]] = match[2]
        return cls(**fields)

    @property
    def json(self) -> Any:
        """The data, decoded."""
        assert self.data is not None
        return json.loads(self.data)

    @property
    def seq(self) -> int:
        """The number of the event in its run, from its id."""
        assert self.id is not None
        return int(self.id.partition("-")[2])

    @property
    def seqs(self) -> range:
        """The numbers of the events that it delivers or, as a gap, names."""
        if self.event == "gap":
            gap = self.json["gap"]
            return range(gap["from"], gap["to"] + 1)
        return range(self.seq, self.seq + 1)


class Lines:
    """Makes frames of the lines of a body, as they come: `retry:` and a comment have one line, an event ends with an
    empty one. An empty line that ends no event is refused: to some clients it is an empty event.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._event: list[str] = []

    def feed(self, body: bytes) -> list[Frame]:
        """The frames that are whole with these bytes."""
        *lines, self.rest = (self.rest + body).split(b"\n")
        frames = []
        for line in map(bytes.decode, lines):
            if line.startswith((":", "retry: ")):
                frames.append(Frame.of_lines([line]))
            elif line:
                self._event.append(line)
            else:
                assert any(field.startswith("data: ") for field in self._event), "an empty event"
                frames.append(Frame.of_lines(self._event))
                self._event = []
        return frames

    @property
    def is_whole(self) -> bool:
        """Whether no event has begun and not ended."""
        return not self.rest and not self._event


def parse(body: bytes) -> list[Frame]:
    """The frames of a body, all of them whole."""
    lines = Lines()
    frames = lines.feed(body)
    assert lines.is_whole
    return frames


def is_nonce(frame: Frame) -> bool:
    """Whether it is the comment by which a stream is recognised that can be handed over."""
    return frame.comment is not None and re.fullmatch(" [0-9a-f]{16}", frame.comment) is not None


def is_hint(frame: Frame, retry: int = 2000) -> bool:
    """Whether it tells a client when to come back, with jitter."""
    return frame.retry is not None and retry <= int(frame.retry) <= 2 * retry


def events(frames: list[Frame]) -> list[Frame]:
    """These without comments and `retry:`."""
    return [frame for frame in frames if frame.data is not None]


def log(n: int, size: int = 0) -> dict[str, Any]:
    """A log message with a number, and a text of `size` characters."""
    return {"run_id": 1, "level": "info", "message": "x" * size, "n": n}


def documented(page: str, words: str) -> str:
    """The Python example of a page of the documentation in which these words stand."""
    text = (Path(__file__).parents[3] / "docs" / page).read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if words in block]
    return example


def buffer_options(receive_buffer: int) -> list[tuple[int, int, int]]:
    """Socket options for a client for which the system takes about so many bytes."""
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)]
    if sys.platform == "linux":
        # A segment of its loopback device is larger than that, and TCP waits long before it sends only a part.
        options.append((socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400))
    return options


class Decoder:
    """Makes frames of the bytes of a chunked response, as they come."""

    def __init__(self) -> None:
        self.is_whole = False
        self._raw = b""
        self._lines = Lines()
        self._in_body = False

    def feed(self, received: bytes) -> list[Frame]:
        """The frames that are whole with these bytes."""
        self._raw += received
        if not self._in_body and b"\r\n\r\n" in self._raw:
            self._in_body = True
            self._raw = self._raw.partition(b"\r\n\r\n")[2]
        frames: list[Frame] = []
        while self._in_body and (chunk := self._next_chunk()):
            frames += self._lines.feed(chunk)
        return [frame for frame in frames if not is_nonce(frame)]

    def _next_chunk(self) -> bytes:
        size, end, rest = self._raw.partition(b"\r\n")
        length = int(size, 16) if end else 0
        if not end or len(rest) < length + 2:
            return b""
        self.is_whole = length == 0
        self._raw = rest[length + 2 :]
        return rest[:length]


class Stream:
    """A client on a bare socket, which reads as slowly and leaves as rudely as a test wants.

    Args:
        port: of the server on this machine.
        receive_buffer: bytes that the system takes for it, about.
        tls: what makes the connection secure.

    Attributes:
        raw: all that has come.
        frames: those that have come.
        is_whole: whether the body has come to its end as HTTP says, not just stopped.
    """

    def __init__(
        self,
        port: int,
        path: str = EVENTS,
        *,
        last_event_id: str | None = None,
        method: str = "GET",
        headers: str = "",
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.raw = b""
        self.frames: list[Frame] = []
        self.is_whole = False
        self._decoder = Decoder()
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE)
        if receive_buffer is not None:
            for option in buffer_options(receive_buffer):
                self.socket.setsockopt(*option)
        self.socket.connect(("127.0.0.1", port))
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        if last_event_id is not None:
            headers += f"Last-Event-ID: {last_event_id}\r\n"
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def receive(self, size: int = 1 << 20) -> bool:
        """Wait for some bytes; whether the connection goes on."""
        try:
            received = self.socket.recv(size)
        except ConnectionError:
            return False
        self.raw += received
        self.frames += self._decoder.feed(received)
        self.is_whole = self._decoder.is_whole
        return bool(received)

    def receive_until(self, condition: Callable[["Stream"], object]) -> "Stream":
        """Read until `condition(stream)` is true; the connection must go on so long."""
        while not condition(self):
            assert self.receive(), f"the stream ended with {self.raw[-200:]!r}"
        return self

    def receive_event(self, event: str | None = None, n: int | None = None) -> Frame:
        """Read until a frame has come that is this event, or has this number; the frame."""

        def wanted(frame: Frame) -> bool:
            return frame.event == event and (n is None or frame.json.get("n") == n)

        self.receive_until(lambda _: any(map(wanted, self.events)))
        return next(filter(wanted, self.events))

    def receive_all(self) -> "Stream":
        """Read until the connection has ended, one way or the other."""
        while self.receive():
            pass
        return self

    def reset(self) -> None:
        """Leave with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    @property
    def has_head(self) -> bool:
        """Whether the response's head has come."""
        return b"\r\n\r\n" in self.raw

    @property
    def status(self) -> int:
        """The status code of the response."""
        return int(self.raw.split(b" ", 2)[1])

    @property
    def events(self) -> list[Frame]:
        """The events that have come."""
        return events(self.frames)
