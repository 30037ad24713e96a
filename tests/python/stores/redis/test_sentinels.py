"""URLs of Sentinels, which lead to a master and, once it has died, to the replica that took over."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs import RedisStore, RunManager, StoreError
from ports import held_port

from ..servers import RedisServer, ask, need_redis
from ..support import Place, check_complete, wait_until
from .test_connections import check, options, tls
from .test_failover import Pair


class Sentinel:
    """A Sentinel that watches the master at a port, which it calls `pair`."""

    def __init__(self, folder: Path, master: int, port: int, more: dict[str, str] | None = None) -> None:
        self.port = port
        settings = [
            f"port {self.port}",
            f"dir {folder}",
            *(f"{name} {value}" for name, value in (more or {}).items()),
            f"sentinel monitor pair 127.0.0.1 {master} 1",
            "sentinel down-after-milliseconds pair 300",
            "sentinel failover-timeout pair 2000",
        ]
        file = folder / "sentinel.conf"
        file.write_text("\n".join(settings))
        self.process = subprocess.Popen([need_redis(), str(file), "--sentinel"], stdout=subprocess.DEVNULL)
        wait_until(lambda: self.ask("PING") == "PONG")

    def ask(self, *words: object) -> Any:
        try:
            return ask(self.port, *words)
        except OSError:
            return None

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which nobody listens."""
    with held_port() as port:
        yield port


@pytest.fixture
def sentinel(redis_server: Callable[..., RedisServer], tmp_path: Path) -> Iterator[tuple[Sentinel, Pair]]:
    pair = Pair(redis_server, tmp_path, proxied=False)
    with held_port() as port:
        sentinel = Sentinel(tmp_path, pair.master.port, port)
        wait_until(lambda: len(sentinel.ask("SENTINEL", "REPLICAS", "pair") or []) == 1)
        yield sentinel, pair
        sentinel.close()
    pair.close()


def test_sentinels_lead_to_the_replica_that_took_over(sentinel: tuple[Sentinel, Pair], port: int) -> None:
    watcher, pair = sentinel
    # The first of them does not answer.
    hosts = f"127.0.0.1:{port},127.0.0.1:{watcher.port}"
    place = Place("redis", f"redis+sentinel://{hosts}/pair/1#watched", lease=30.0)
    here, other = place.manager(), place.worker()
    here.open_run(7, key="book")
    assert other.ask("follow", 7, "0")
    for number in range(100):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 100)
    pair.master.kill()
    for number in range(100, 200):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] >= 200)
    here.finish_run(7, {"complete": True, "status": "completed"})
    assert check_complete(other.ask("rest")) == (201, 0)
    wait_until(lambda: here.run_record(7)["status"] == "completed")
    assert pair.replica.ask("INFO", "keyspace").count("db1:") == 1
    assert here.stats()["store"]["address"].startswith(hosts)
    place.close()


def test_sentinels_and_their_master_speak_tls(
    redis_server: Callable[..., RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_port() as port, held_port() as plain, held_port() as secret:
        settings = tls(tmp_path, port)
        redis_server(*options(settings))
        sentinel = Sentinel(tmp_path, port, plain, settings | {"tls-port": str(secret)})
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        check(RedisStore(f"rediss+sentinel://localhost:{secret}/pair"))
        with pytest.raises(StoreError, match=f"the Sentinel at 127.0.0.1:{plain}"):
            RunManager(store=RedisStore(f"rediss+sentinel://127.0.0.1:{plain}/pair")).run_record(7)
        sentinel.close()


def test_urls_of_sentinels_that_name_no_master(sentinel: tuple[Sentinel, Pair]) -> None:
    watcher, _ = sentinel
    for url in ("redis+sentinel://127.0.0.1", f"redis+sentinel://127.0.0.1:{watcher.port}/"):
        with pytest.raises(ValueError, match="master's name is missing"):
            RedisStore(url)
    with pytest.raises(ValueError, match="not the URL"):
        RedisStore("http+sentinel://127.0.0.1/pair")
    with pytest.raises(StoreError, match="no Sentinel knows the master nobody"):
        RunManager(store=RedisStore(f"redis+sentinel://127.0.0.1:{watcher.port}/nobody")).run_record(7)
    secret = RedisStore(f"redis+sentinel://me:secret@[::1],127.0.0.1:{watcher.port}/pair")
    assert secret.address.startswith(f"[::1]:26379,127.0.0.1:{watcher.port}/pair/0")
