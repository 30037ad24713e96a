"""Streams over TLS, whose transports in the loop are others than those of plain sockets."""

import ssl
from contextlib import ExitStack

import pytest
import trustme
from core.support import wait_until
from genglossary_runs import RunManager

from .conftest import Serve
from .servers import LOOPS, PROTOCOLS, SMALL
from .support import Stream, log


@pytest.fixture(scope="module")
def secure() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and a client's that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("http", PROTOCOLS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_is_streamed(
    manager: RunManager, serve: Serve, secure: tuple[ssl.SSLContext, ssl.SSLContext], loop: str, http: str
) -> None:
    server, client = secure
    site = serve(loop=loop, http=http, tls=server, heartbeat=None)
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(site.port, tls=client)) for _ in range(5)]
        for stream in streams:
            stream.receive_until(lambda stream: stream.frames)
        for n in range(200):
            manager.publish(1, log(n, size=1000))
        manager.finish_run(1, {"complete": True})
        for stream in streams:
            stream.receive_until(lambda stream: stream.is_whole)
            assert [event.seq for event in stream.events] == list(range(1, 202))
            assert stream.events[-1].event == "complete"
    wait_until(lambda: manager.stats()["subscribers"] == 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_stops_reading_is_dropped(
    manager: RunManager, serve: Serve, secure: tuple[ssl.SSLContext, ssl.SSLContext], loop: str
) -> None:
    server, client = secure
    site = serve(loop=loop, tls=server, send_buffer=SMALL, send_timeout=0.1)
    with Stream(site.port, tls=client, receive_buffer=SMALL) as stalled:
        stalled.receive_until(lambda stream: stream.frames)
        for n in range(200):
            manager.publish(1, log(n, size=10_000))
        wait_until(lambda: manager.stats()["subscribers"] == 0)
        wait_until(lambda: site.connections == 0)
