"""Nodes of a cluster: any of them leads to the one that has a project, also after that one has died."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from genglossary_runs import RedisStore, RunManager
from ports import held_port

from ..servers import RedisServer
from ..support import Place, check_complete, read_to_end, wait_until
from .test_connections import check

SLOTS = 16384


@pytest.fixture
def nodes(redis_server: Callable[..., RedisServer], tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Two nodes of a cluster that know each other, without slots."""
    # The ports of their buses, which are 10,000 higher by default, may not exist.
    with held_port() as one, held_port() as two:
        nodes = []
        for bus in (one, two):
            (tmp_path / str(bus)).mkdir()
            cluster = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "1000")
            options = ("--dir", str(tmp_path / str(bus)), "--repl-diskless-sync-delay", "0")
            nodes.append(redis_server(*cluster, *options))
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", nodes[1].port, two)
        names = [node.ask("CLUSTER", "MYID") for node in nodes]
        wait_until(lambda: all(name in node.ask("CLUSTER", "NODES") for name in names for node in nodes))
        yield nodes


def wait_ready(nodes: list[RedisServer]) -> None:
    """Wait until all nodes know where every slot is."""
    wait_until(lambda: all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes))


def test_any_node_of_a_cluster_leads_to_the_one_that_has_the_project(nodes: list[RedisServer]) -> None:
    nodes[0].ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS // 2)
    nodes[1].ask("CLUSTER", "ADDSLOTSRANGE", SLOTS // 2 + 1, SLOTS - 1)
    wait_ready(nodes)
    projects = [f"project-{number}" for number in range(6)]
    for project in projects:
        for node in nodes:
            store = RedisStore(node.url, project=f"{project}")
            if node is nodes[0]:
                check(store)
            else:
                assert RunManager(store=store).run_record(7) is not None
    # Both nodes have some.
    assert all(node.ask("DBSIZE") > 0 for node in nodes)


def test_the_only_node_that_the_url_names_died(nodes: list[RedisServer]) -> None:
    master, replica = nodes
    master.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
    replica.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
    wait_ready(nodes)
    # The master names a replica once that has said how far it is.
    master.ask("SET", "anything", 1)
    wait_until(lambda: any(replica.port in node for node in master.ask("CLUSTER", "SLOTS")[0][2:]))
    place = Place("redis", f"{master.url}#cluster", lease=30.0)
    here, other = place.manager(), place.worker()
    cancel = here.open_run(7, key="book")
    local = here.subscribe(7, "0")
    assert other.ask("follow", 7, "0")
    for number in range(100):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 100)
    master.kill()
    for number in range(100, 200):
        here.publish(7, {"n": number})
    # As the masters that are left have it do, once they agree that this one is dead.
    replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    wait_until(lambda: here.stats()["store"]["events_stored"] >= 200)
    here.finish_run(7, {"complete": True, "status": "completed"})
    assert check_complete(read_to_end(local)) == (201, 0)
    assert check_complete(other.ask("rest")) == (201, 0)
    wait_until(lambda: here.run_record(7)["status"] == "completed")
    assert not cancel.is_set()
    here.open_run(8, key="book")
    here.finish_run(8, {"complete": True})
    place.close()
