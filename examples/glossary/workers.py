"""Several processes that serve the demo; its store lets each of them serve every run."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fastapi import FastAPI

from glossary.documents import Folder
from glossary.server import STOP_TIMEOUT, STREAM_TIMEOUT, create_app

_SETTINGS = "GLOSSARY_WORKERS"


@dataclass(frozen=True)
class Settings:
    """What each process has to know."""

    folder: str
    without: str
    pace: float
    store: str
    host_name: str
    workers: int


@contextmanager
def serving(settings: Settings, listener: socket.socket) -> Iterator[threading.Event]:
    """Serve in processes of their own, and yield an event that is set when they have stopped.

    Args:
        settings: what they have to know.
        listener: a listening socket; closed at the end.
    """
    command = [sys.executable, "-m", "uvicorn", f"{__name__}:app", "--factory", "--log-level", "warning"]
    options = {"workers": settings.workers, "fd": listener.fileno(), "timeout-graceful-shutdown": STREAM_TIMEOUT}
    process = subprocess.Popen(
        [*command, *(part for name, value in options.items() for part in (f"--{name}", str(value)))],
        env=os.environ | {_SETTINGS: json.dumps(asdict(settings))},
        pass_fds=[listener.fileno()],
        start_new_session=True,  # Ctrl-C is for the command, which cancels its run first
    )
    stopped = threading.Event()

    def watch() -> None:
        process.wait()
        stopped.set()

    threading.Thread(target=watch, name="workers", daemon=True).start()
    try:
        yield stopped
    finally:
        process.send_signal(signal.SIGTERM)
        if not stopped.wait(STOP_TIMEOUT + STREAM_TIMEOUT):
            process.kill()
        listener.close()


def app() -> FastAPI:
    """Make the application of one process."""
    settings = Settings(**json.loads(os.environ[_SETTINGS]))
    source = Folder(Path(settings.folder), without=Path(settings.without))
    return create_app(source, pace=settings.pace, store=settings.store, host_name=settings.host_name)
