"""The pipeline. What it does is `PipelineExecutor.work`, which a test may replace by a script of its own."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class PipelineCancelledException(Exception):
    """The pipeline saw that its run was cancelled."""


class CancelEvent(Protocol):
    """What the pipeline needs of a cancel event."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class ExecutionContext:
    """What a pipeline is told of its run."""

    run_id: int
    log_callback: Callable[[dict[str, Any]], None]
    cancel_event: CancelEvent


@dataclass(frozen=True)
class Job:
    """One call of `PipelineExecutor.execute`, as `work` gets it."""

    executor: "PipelineExecutor"
    conn: sqlite3.Connection
    scope: str
    context: ExecutionContext
    doc_root: str
    document_ids: list[int] | None

    def log(self, message: str, level: str = "info", **extra: Any) -> None:
        """Send a log message to the run's readers."""
        self.context.log_callback({"run_id": self.context.run_id, "level": level, "message": message, **extra})

    def check_cancelled(self) -> None:
        """Raise if the run has been cancelled."""
        if self.context.cancel_event.is_set():
            raise PipelineCancelledException


def make_glossary(job: Job) -> None:
    """Store the words of the documents, one log message a document."""
    documents = list(_documents(job))
    for number, (name, text) in enumerate(documents, start=1):
        job.check_cancelled()
        words = set(re.findall(r"\w{4,}", text))
        job.conn.executemany("INSERT OR IGNORE INTO terms (term) VALUES (?)", [(word,) for word in words])
        job.log(
            f"{name}: {len(words)} terms",
            step=job.scope,
            progress_current=number,
            progress_total=len(documents),
            current_term=name,
        )


def _documents(job: Job) -> Iterator[tuple[str, str]]:
    if job.document_ids is None:
        for path in sorted(Path(job.doc_root).glob("*.txt")):
            yield path.name, path.read_text(encoding="utf-8")
    else:
        for document_id in job.document_ids:
            yield job.conn.execute("SELECT name, content FROM documents WHERE id = ?", (document_id,)).fetchone()


class PipelineExecutor:
    """Runs the pipeline in the calling thread, over a connection to a model that `close` drops."""

    work: Callable[[Job], None] = staticmethod(make_glossary)

    def __init__(
        self,
        provider: str = "ollama",
        model: str = "",
        base_url: str | None = None,
        llm_debug: bool = False,
        debug_dir: str | None = None,
    ) -> None:
        self._closed = threading.Event()

    def execute(
        self,
        conn: sqlite3.Connection,
        scope: str,
        context: ExecutionContext,
        doc_root: str = ".",
        document_ids: list[int] | None = None,
    ) -> None:
        """Run the pipeline.

        Raises:
            PipelineCancelledException: it saw the cancel.
        """
        self.work(Job(self, conn, scope, context, doc_root, document_ids))

    def ask_model(self, timeout: float = 60.0) -> None:
        """A call to a model that never answers: it fails when `close` drops the connection.

        Raises:
            ConnectionError: the connection was closed.
            TimeoutError: nobody closed it in `timeout` seconds.
        """
        if not self._closed.wait(timeout):
            raise TimeoutError("the model did not answer")
        raise ConnectionError("the connection to the model was closed")

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Drop the connection to the model. May be called from another thread, and again."""
        self._closed.set()
