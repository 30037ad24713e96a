"""Follow a run in the terminal, as a client of the demo's event stream."""

import unicodedata
from datetime import datetime
from typing import Any

import httpx
from httpx_sse import connect_sse
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}

# The server sends a heartbeat every 15 seconds.
_STREAM_TIMEOUT = httpx.Timeout(10.0, read=60.0)


class Follower:
    """Shows the log and the progress of one run."""

    def __init__(self, client: httpx.Client, console: Console, run_id: str) -> None:
        """Make a follower.

        Args:
            client: its base URL is that of the API.
            console: where to show the run.
            run_id: the run.
        """
        self._client = client
        self._console = console
        self._url = f"/runs/{run_id}/events"
        self._last_event_id = ""

    def follow(self) -> dict[str, Any]:
        """Show events up to the terminal one, and return that. Called again after an interruption, it resumes.

        Raises:
            httpx.HTTPError: the server refused, or the connection was lost.
        """
        headers = {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with (
            Progress(*columns, console=self._console) as progress,
            connect_sse(self._client, "GET", self._url, headers=headers, timeout=_STREAM_TIMEOUT) as stream,
        ):
            stream.response.raise_for_status()
            bars: dict[str, TaskID] = {}
            for frame in stream.iter_sse():
                if not frame.data:
                    continue  # a frame of `retry:` alone
                event: dict[str, Any] = frame.json()
                if frame.event == "complete":
                    return event
                self._last_event_id = frame.id
                if "progress_current" in event:
                    step = printable(event["step"])
                    amount = {"completed": event["progress_current"], "total": event["progress_total"]}
                    if step in bars:
                        progress.update(bars[step], **amount)
                    else:
                        # Readers get the newest progress: a step's last may be replaced by the next one's first.
                        for bar in bars.values():
                            progress.update(bar, completed=progress.tasks[bar].total)
                        bars[step] = progress.add_task(step, **amount)
                if "message" in event:
                    self._console.print(_line(event), soft_wrap=True)
        raise httpx.RemoteProtocolError("The stream ended before the run did")


def printable(text: str) -> str:
    """The text without characters that would control the terminal."""
    return "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)


def _line(event: dict[str, Any]) -> Text:
    time = datetime.fromisoformat(event["time"]).astimezone() if "time" in event else datetime.now().astimezone()
    words = f"{event['level']:8}{printable(event['message'])}"
    return Text.assemble((f"{time:%H:%M:%S} ", "dim"), (words, _STYLES.get(event["level"], "")))
