"""The ways to a server: TLS, users and passwords, databases, and sockets of Unix."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from genglossary_runs import RedisStore, RunManager, StoreError
from ports import held_port

from ..servers import RedisServer
from ..support import check_complete, read_to_end, wait_until

Start = Callable[..., RedisServer]


def check(store: RedisStore) -> None:
    """A run is begun, read and found again."""
    here = RunManager(store=store)
    here.open_run(7, key="book")
    live = here.subscribe(7, "0")
    here.publish(7, {"n": 1})
    here.finish_run(7, {"complete": True})
    assert check_complete(read_to_end(live)) == (2, 0)
    wait_until(lambda: here.run_record(7)["status"] != "running")
    assert here.stats()["store"]["error"] is None


def tls(folder: Path, port: int) -> dict[str, str]:
    """Settings of a server that also speaks TLS, at a port. In the folder, `ca.pem` is its certificate's authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    files = {"cert": "cert.pem", "key": "key.pem", "ca-cert": "ca.pem"}
    settings = {f"tls-{name}-file": str(folder / file) for name, file in files.items()}
    return {"tls-port": str(port), "tls-auth-clients": "no", "tls-replication": "yes", **settings}


def options(settings: dict[str, str]) -> list[str]:
    """Settings as a server's command line has them."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


@pytest.fixture
def port() -> Iterator[int]:
    """A port besides a server's usual one, or without one."""
    with held_port() as port:
        yield port


def test_tls(redis_server: Start, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis_server(*options(tls(tmp_path, port)))
    with pytest.raises(StoreError, match="certificate"):
        RunManager(store=RedisStore(f"rediss://127.0.0.1:{port}", project="stranger")).run_record(7)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    check(RedisStore(f"rediss://127.0.0.1:{port}"))
    check(RedisStore(f"rediss://localhost:{port}/2"))


def test_a_user_needs_no_more_than_the_keys_of_the_project(redis_server: Start) -> None:
    server = redis_server()
    rules = ("on", ">se cret", "~runs:{mine}*", "&runs:{mine}:*", "+@all", "-@admin")
    server.ask("ACL", "SETUSER", "app", *rules)
    check(RedisStore(server.url.replace("//", "//app:se%20cret@"), project="mine"))
    with pytest.raises(StoreError, match=r"NOPERM|permissions"):
        RunManager(store=RedisStore(server.url.replace("//", "//app:se%20cret@"), project="yours")).run_record(7)
    with pytest.raises(StoreError) as refused:
        RunManager(store=RedisStore(server.url.replace("//", "//app:wrong@"), project="wrong")).run_record(7)
    assert "wrong@" not in str(refused.value)


def test_databases_are_apart(redis_server: Start) -> None:
    server = redis_server()
    check(RedisStore(server.url.replace("/0", "/3")))
    assert RunManager(store=RedisStore(server.url)).run_record(7) is None
    assert server.ask("DBSIZE") <= 1


def test_a_socket_of_unix(redis_server: Start, tmp_path: Path) -> None:
    redis_server("--unixsocket", str(tmp_path / "redis.sock"))
    check(RedisStore(f"unix://{tmp_path}/redis.sock"))


def test_a_server_that_is_not_there_is_named_within_seconds(port: int) -> None:
    store = RedisStore(f"redis://127.0.0.1:{port}")
    manager = RunManager(store=store)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        manager.open_run(7)
    assert store.address in manager.stats()["store"]["error"]
