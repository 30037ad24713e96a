"""What the API answers, as OpenAPI shows it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from .texts import Text


class Progress(BaseModel):
    """How far a run is, or was when it ended."""

    step: Text | None = Field(None, description="What is being done")
    current: float = Field(description="Units of work done in this step")
    total: float | None = Field(None, description="Units of work in this step; null if nobody knows")


class Record(BaseModel):
    """What is known of a run."""

    id: Text
    key: Text | None = Field(description="At most one run with this key is active")
    name: Text | None = Field(description="What people call it; null if nobody named it")
    status: Text = Field(description="queued, running, completed, failed or cancelled")
    cancel_requested: bool = Field(description="Whether a cancel was requested, as far as this process knows")
    started: datetime
    finished: datetime | None
    duration: float = Field(description="Seconds from the start to the end, or until now")
    queue_position: int | None = Field(description="1 for the next to run; null if it is not queued in this process")
    progress: Progress | None
    message: Text | None = Field(description="The newest log message")
    error: Text | None = Field(description="Why it failed")
    traceback: Text | None = Field(description="Of a failure, if the runner sends tracebacks")
    result_kind: Literal["json", "text", "link"] | None = Field(description="What `result` answers; null if nothing")
    owner: Text | None = Field(description="The process that executes it, or did; the same whichever process answers")
    local: bool = Field(description="Whether that is the process which answers")


class Waited(Record):
    """What is known of a run after a wait for its end."""

    ended: bool = Field(description="Whether the run has ended; if not, the timeout is over")


class Page(BaseModel):
    """Some of the runs, the newest first."""

    runs: list[Record] = Field(description="May be fewer than `limit`, or none, although there are more: see `next`")
    next: Text | None = Field(description="For `after`, to get the next page; null if this is the last")
    total: int | None = Field(description="Runs that match, on all pages; null where a store would have to count them")
    store_error: Text | None = Field(None, description="Why only the runs of one process are listed")


class Event(BaseModel):
    """One event of a run."""

    id: Text = Field(description="For `after`, and for `Last-Event-ID`")
    name: Text | None = Field(description="The `event:` of the stream; `complete` for the last one")
    data: dict[str, Any]


class Gap(BaseModel):
    """Events that nobody has any more: those from one number to another."""

    from_: int = Field(alias="from")
    to: int
    missed: int


class Log(BaseModel):
    """Some of a run's events, in order."""

    events: list[Event]
    next: Text = Field(description="For `after`, to get what comes then")
    more: bool = Field(description="Whether there is more at once")
    ended: bool = Field(description="Whether these are the last there will be")
    gaps: list[Gap] = Field(description="What is missing among these events")


class Cancelled(BaseModel):
    """The answer to a cancel."""

    cancelled: bool = Field(description="Whether the run had not ended; its work may still be stopping")


class Stats(BaseModel):
    """What this process and the store hold."""

    process: Text = Field(description="The process that answers; each has counters of its own")
    runs: dict[str, int] = Field(description="The runs of this process by status, those of the last hours included")
    manager: dict[str, int] = Field(description="What `RunManager.stats` counts")
    streams: dict[str, int] = Field(description="What `genglossary_runs.sse.stats` counts")
    store: dict[str, Any] | None = Field(description="How the store is, as this process last saw it; null without one")


class Refusal(BaseModel):
    """Why a request is refused."""

    detail: Text


class StartRefusal(Refusal):
    """Why a start is refused."""

    run_id: Text | None = Field(None, description="The run in the way; null if there is none that this client may read")
