"""Follow a run in the terminal, as a client of the demo's event stream."""

import unicodedata
from datetime import datetime
from typing import Any

import httpx
from genglossary_runs.client import StreamLostError, follow
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}

# Seconds without the server. It is this command's own, and restarts at most a worker.
_GIVE_UP = 30.0


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
        self._url = f"{client.base_url}runs/{run_id}"
        self._last_event_id = ""

    def follow(self) -> dict[str, Any]:
        """Show events up to the terminal one, and return that. Called again after an interruption, it resumes.

        Raises:
            FollowError: the server refused, or was away for too long.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bars: dict[str, TaskID] = {}
        with Progress(*columns, console=self._console) as progress:
            for event in follow(self._url, after=self._last_event_id, client=self._client, give_up=_GIVE_UP):
                if event.is_end:
                    return event.data
                self._last_event_id = event.id
                if "progress_current" in event.data:
                    _advance(progress, bars, event.data)
                if "message" in event.data:
                    self._console.print(_line(event.data), soft_wrap=True)
        raise StreamLostError(f"{self._url} told of no end of the run")


def _advance(progress: Progress, bars: dict[str, TaskID], event: dict[str, Any]) -> None:
    step = printable(event["step"])
    amount = {"completed": event["progress_current"], "total": event["progress_total"]}
    if step in bars:
        progress.update(bars[step], **amount)
        return
    # Readers get the newest progress: a step's last may be replaced by the next one's first.
    for bar in bars.values():
        progress.update(bar, completed=progress.tasks[bar].total)
    bars[step] = progress.add_task(step, **amount)


def printable(text: str) -> str:
    """The text without characters that would control the terminal."""
    return "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)


def _line(event: dict[str, Any]) -> Text:
    time = datetime.fromisoformat(event["time"]).astimezone() if "time" in event else datetime.now().astimezone()
    words = f"{event['level']:8}{printable(event['message'])}"
    return Text.assemble((f"{time:%H:%M:%S} ", "dim"), (words, _STYLES.get(event["level"], "")))
