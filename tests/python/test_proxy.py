"""The proxy of the tests leaves nothing open, so that it never fails a test that comes after."""

import gc
import socket
from concurrent.futures import ThreadPoolExecutor

from proxy import Proxy


def test_a_proxy_that_is_closed_while_clients_connect_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as upstream, ThreadPoolExecutor() as pool:
        for _ in range(20):
            proxy = Proxy(upstream.getsockname()[1])
            connecting = pool.submit(connect_often, proxy.port)
            proxy.close()
            connecting.result()
    # What is open still would be told of now, and that is an error here.
    gc.collect()


def connect_often(port: int) -> None:
    for _ in range(5):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return
