"""nchan, the publish and subscribe module of nginx, written in C: what a server that does nothing else costs."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import log_message

CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 30000; }}
http {{
  access_log off;
  tcp_nodelay on;
  nchan_shared_memory_size 512M;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    location = /health {{ default_type application/json; return 200 '{{"status":"ok"}}'; }}
    location = /stream {{
      nchan_subscriber eventsource; nchan_channel_id run; nchan_subscriber_first_message newest;
      nchan_message_buffer_length 20000; nchan_eventsource_ping_interval 15;
    }}
    location = /publish {{ nchan_publisher; nchan_channel_id run; nchan_message_buffer_length 20000; }}
  }}
}}
"""


def find_module() -> Path | None:
    """nchan's module for the nginx of this machine, if both are installed."""
    if shutil.which("nginx") is None:
        return None
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False).stderr
    folder = re.search(r"--modules-path=(\S+)", built)
    module = Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_nchan_module.so"
    return module if module.exists() else None


class Nchan:
    """nginx with one worker, which obeys like a `Child` that serves another transport.

    Args:
        module: of `find_module`.
    """

    def __init__(self, module: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nchan-")
        os.chmod(self._folder.name, 0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        configuration = Path(self._folder.name, "nginx.conf")
        configuration.write_text(CONFIGURATION.format(module=module, folder=self._folder.name, port=self._port))
        self._process = subprocess.Popen(
            ["nginx", "-e", f"{self._folder.name}/error.log", "-c", configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._publisher = self._connect()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._workers = [int(pid) for pid in children.read_text().split()]
        body = json.dumps(log_message(), ensure_ascii=False).encode()
        head = "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        self._request = head.format(len(body)).encode() + body
        self._answer: Callable[[], Any] = lambda: None
        self._commands: dict[str, Callable[..., Any]] = {
            "port": lambda: self._port,
            "publish": self._publish,
            "subscribers": self._subscribers,
            "cpu": self._cpu,
            "memory": self._memory,
        }

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self._port))
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection

    def _cpu(self) -> float:
        ticks = 0
        for pid in self._workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _memory(self) -> int:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._workers)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _publish(self, count: int, rate: float | None) -> list[float]:
        times = []
        if rate is None:
            times.append(time.perf_counter())
            for first in range(0, count, 50):
                # Pipelined, and read only then: nginx answers each.
                number = min(50, count - first)
                self._publisher.sendall(self._request * number)
                answered = 0
                while answered < number:
                    answered += self._publisher.recv(1 << 20).count(b"HTTP/1.1 20")
            return times
        begin = time.perf_counter()
        for number in range(count):
            times.append(time.perf_counter())
            self._publisher.sendall(self._request)
            self._publisher.recv(1 << 16)
            time.sleep(max(begin + (number + 1) / rate - time.perf_counter(), 0))
        return times

    def _subscribers(self) -> int:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            request = b"GET /publish HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
            connection.sendall(request)
            answer = b""
            while received := connection.recv(1 << 16):
                answer += received
        try:
            return int(json.loads(answer.partition(b"\r\n\r\n")[2])["subscribers"])
        except (ValueError, KeyError):
            return 0  # it knows the channel only once somebody has subscribed or published

    def tell(self, name: str, *arguments: Any) -> None:
        """As `Child.tell`."""
        outcome: list[Any] = []
        thread = threading.Thread(target=lambda: outcome.append(self._commands[name](*arguments)), daemon=True)
        thread.start()

        def wait() -> Any:
            thread.join()
            return outcome[0]

        self._answer = wait

    def answer(self) -> Any:
        """As `Child.answer`."""
        return self._answer()

    def ask(self, name: str, *arguments: Any) -> Any:
        """As `Child.ask`."""
        return self._commands[name](*arguments)

    def stop(self) -> None:
        """End nginx."""
        self._publisher.close()
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()
