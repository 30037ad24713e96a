"""Streams behind nginx, with the configuration that `examples/nginx.conf` recommends."""

import select
import signal
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from core.support import DEADLINE, wait_until
from ports import held_port
from programs import need

from .commands import Command, start, start_server
from .servers import SMALL
from .support import EVENTS, Stream, is_hint

CONFIGURATION = Path(__file__).parents[3] / "examples" / "nginx.conf"
MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@contextmanager
def serving() -> Iterator[Command]:
    """A server, which is to tell nginx's connections apart."""
    options = ["--fd", "{fd}", "--no-proxy-headers", "--log-level", "warning"]
    with start_server("uvicorn", *options) as server:
        yield server


@contextmanager
def proxying(folder: Path, *servers: Command, read_timeout: str = "60s", more: str = "") -> Iterator[Command]:
    """nginx in front of some servers, with the example's configuration except for addresses, timeout and `more`."""
    with held_port() as port:
        configure(folder, port, servers, read_timeout, more)
        command = [need("nginx-light", "nginx"), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        with start(command, port) as proxy:
            yield proxy


def configure(folder: Path, port: int, servers: tuple[Command, ...], read_timeout: str, more: str) -> None:
    replacements = {
        "    server 127.0.0.1:8000;": "".join(f"server 127.0.0.1:{server.port};" for server in servers),
        "listen 80;": f"listen 127.0.0.1:{port}; {more}",
        "proxy_read_timeout 60s;": f"proxy_read_timeout {read_timeout};",
    }
    site = CONFIGURATION.read_text(encoding="utf-8")
    for old, new in replacements.items():
        assert site.count(old) == 1
        site = site.replace(old, new)
    (folder / "site.conf").write_text(site, encoding="utf-8")
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder), encoding="utf-8")
    # Its workers are another user's when it is started by root.
    for reached in (folder, *folder.parents[:2]):
        reached.chmod(0o755)


@pytest.fixture(scope="module")
def server() -> Iterator[Command]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with proxying(tmp_path_factory.mktemp("nginx"), server) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def nothing_is_left(server: Command) -> Iterator[None]:
    """Once clients have left nginx, the server knows, too."""
    yield
    wait_until(lambda: server.state()["subscribers"] == 0)


def begin(proxy: Command, path: str = EVENTS) -> Stream:
    """A client that has had the first bytes of its stream."""
    return Stream(proxy.port, path).receive_until(lambda stream: stream.frames)


@pytest.mark.parametrize("handoff", [True, False])
def test_each_event_arrives_without_another_after_it(server: Command, proxy: Command, handoff: bool) -> None:
    """Buffering is on in nginx; the response turns it off for itself."""
    with begin(proxy, f"{EVENTS}?handoff={handoff}") as stream:
        wait_until(lambda: server.state()["handed_over" if handoff else "asgi"] == 1)
        for count in range(1, 4):
            proxy.ask("POST", f"{EVENTS}?count=1")
            stream.receive_until(lambda stream, count=count: len(stream.events) == count)


def test_the_port_that_the_browser_asked_at_is_passed_on(proxy: Command) -> None:
    """Without it, what a page of this very server sent was another site's to `console`."""
    assert proxy.state()["port"] == proxy.port


def test_a_stream_takes_a_kept_connection_and_leaves_others_alone(server: Command, proxy: Command) -> None:
    kept = proxy.state()["connection"]
    assert proxy.state()["connection"] == kept
    with begin(proxy) as stream:
        wait_until(lambda: server.state()["handed_over"] == 1)
        other = proxy.state()["connection"]
        assert other != kept
        assert proxy.state()["connection"] == other
        proxy.ask("POST", f"{EVENTS}?count=1")
        stream.receive_event(n=0)


def test_a_client_that_stops_reading_is_cut_off(server: Command, proxy: Command) -> None:
    """nginx holds only a little for it, and then reads no more."""
    with Stream(proxy.port, f"{EVENTS}?send_timeout=0.2", receive_buffer=SMALL) as stalled:
        stalled.receive_until(lambda stream: stream.frames)
        wait_until(lambda: server.state()["handed_over"] == 1)
        server.ask("POST", f"{EVENTS}?count=900&size=20000")
        wait_until(lambda: server.state()["subscribers"] == 0)
        stalled.receive_all()
        assert not stalled.is_whole


def test_heartbeats_keep_a_quiet_stream_from_the_read_timeout(server: Command, tmp_path: Path) -> None:
    with (
        proxying(tmp_path, server, read_timeout="1s") as proxy,
        begin(proxy, f"{EVENTS}?heartbeat=0.1") as kept,
        begin(proxy) as cut_off,
    ):
        cut_off.receive_all()
        assert not cut_off.is_whole
        count = len(kept.frames)
        kept.receive_until(lambda stream: len(stream.frames) > count + 5)


async def test_all_streams_of_a_browser_share_one_connection_over_http_2(server: Command, tmp_path: Path) -> None:
    """Over HTTP/1.1 each would take one of the six connections that a browser opens."""
    authority, client_tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_tls)
    certificate = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with held_port() as port:
        tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
        async with AsyncExitStack() as stack:
            stack.enter_context(proxying(tmp_path, server, more=f"listen 127.0.0.1:{port} ssl http2; {tls}"))
            browser = httpx.AsyncClient(
                base_url=f"https://127.0.0.1:{port}",
                http2=True,
                limits=httpx.Limits(max_connections=1),
                timeout=DEADLINE,
                trust_env=False,
                verify=client_tls,
            )
            await stack.enter_async_context(browser)
            streams = [await stack.enter_async_context(browser.stream("GET", EVENTS)) for _ in range(10)]
            assert {stream.http_version for stream in streams} == {"HTTP/2"}
            (await browser.post(f"{EVENTS}?count=1")).raise_for_status()
            for stream in streams:
                assert await anext(line async for line in stream.aiter_lines() if line.startswith("data: "))


def test_a_server_that_stops_sends_its_clients_to_another(server: Command, tmp_path: Path) -> None:
    """No request is answered with an error meanwhile."""
    with serving() as other, proxying(tmp_path, server, other) as proxy, ExitStack() as stack:
        # nginx gives the servers their requests in turn.
        streams = [stack.enter_context(begin(proxy)) for _ in range(6)]
        wait_until(lambda: other.state()["handed_over"] == 3)
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(DEADLINE) == -signal.SIGTERM
        wait_until(lambda: len(readable(streams)) == 3)
        for stream in readable(streams):
            # nginx keeps the client's own connection open.
            stream.receive_until(lambda stream: stream.is_whole)
            assert is_hint(stream.frames[-1])
            stack.enter_context(begin(proxy))
        wait_until(lambda: server.state()["handed_over"] == 6)


def readable(streams: list[Stream]) -> list[Stream]:
    """Those for which something has come."""
    sockets = select.select([stream.socket for stream in streams], [], [], 0)[0]
    return [stream for stream in streams if stream.socket in sockets]
