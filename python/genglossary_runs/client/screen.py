"""Show a run in a terminal with a bar for each step, or as plain lines where nobody watches."""

import math
import sys
import unicodedata
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from genglossary_runs.lines import told

from .following import Event

if TYPE_CHECKING:
    from rich.progress import TaskID

_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}


class Screen(Protocol):
    """Where a run is shown."""

    def show(self, event: Event) -> None:
        """Show an event."""

    def note(self, text: str) -> None:
        """Show what is no event."""

    def live(self) -> AbstractContextManager[object]:
        """For the time in which events come."""
        ...


def make_screen(*, plain: bool) -> Screen:
    """The screen that fits: bars in a terminal where rich is installed, else lines."""
    if not plain and sys.stdout.isatty():
        try:
            return _Bars()
        except ModuleNotFoundError:
            pass
    return _Lines(sys.stdout)


def printable(text: str) -> str:
    """The text in one line, without characters that would control the terminal."""
    return "".join(" " if unicodedata.category(each) in ("Zl", "Zp") else _visible(each) for each in text)


def _visible(character: str) -> str:
    if character == "\t":
        return "    "
    return "\ufffd" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character


def lines_of(event: Event) -> list[tuple[str, str]]:
    """The lines in which an event is told, each with its level; none for mere progress."""
    found = told(event.data, is_end=event.is_end)
    if found is None:
        return []
    level, lines = found
    if event.is_new_life:
        lines.insert(0, "The run was started anew")
    return [(printable(line), level) for line in lines]


def time_of(event: Event) -> str:
    """The time of an event on the reader's clock."""
    try:
        moment = datetime.fromisoformat(event.data["time"]).astimezone()
    except (KeyError, TypeError, ValueError):
        moment = datetime.now()
    return f"{moment:%H:%M:%S}"


def percent_of(data: dict[str, Any]) -> int | None:
    """How far a step is; None if nobody knows."""
    current, total = amounts_of(data)
    percent = 100 * current / total if current is not None and total else math.nan
    return int(percent) if math.isfinite(percent) else None


def amounts_of(data: dict[str, Any]) -> tuple[float | None, float | None]:
    """How far a step is, and of how much; None for what is told in no number."""
    return _amount(data.get("progress_current")), _amount(data.get("progress_total"))


def _amount(value: object) -> float | None:
    # Applications may publish anything under these names, also integers that no float can hold.
    try:
        amount = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return amount if math.isfinite(amount) else None


class _Lines:
    """Plain lines, with one of progress for each tenth of a step."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told: tuple[str, int] | None = None

    def show(self, event: Event) -> None:
        for line, level in lines_of(event):
            self._write(f"{time_of(event)} {level.upper():<7} {line}")
        percent = percent_of(event.data)
        if percent is not None:
            step = printable(str(event.data.get("step") or "progress"))
            if self._told is None or self._told[0] != step or percent // 10 > self._told[1]:
                self._told = (step, percent // 10)
                self._write(f"{time_of(event)} {step}: {percent} %")

    def note(self, text: str) -> None:
        # Not among the lines of the run, which may go into a file.
        print(printable(text), file=sys.stderr)

    def live(self) -> AbstractContextManager[object]:
        return nullcontext()

    def _write(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class _Bars:
    """Lines above a bar for each step, by rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console()
        # Text of a run is never markup.
        step = TextColumn("{task.description}", markup=False)
        self._progress = Progress(step, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=self._console)
        self._bars: dict[str, TaskID] = {}

    def show(self, event: Event) -> None:
        from rich.text import Text

        for line, level in lines_of(event):
            words = (f"{level.upper():<7} {line}", _STYLES.get(level, ""))
            self._console.print(Text.assemble((f"{time_of(event)} ", "dim"), words), soft_wrap=True)
        current, total = amounts_of(event.data)
        if current is not None:
            self._advance(printable(str(event.data.get("step") or "progress")), current, total)

    def note(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(printable(text), "yellow"), soft_wrap=True)

    def live(self) -> AbstractContextManager[object]:
        return self._progress

    def _advance(self, step: str, current: float, total: float | None) -> None:
        if step not in self._bars:
            # Readers get the newest progress: the last of a step may have been replaced by the first of the next.
            for bar in self._bars.values():
                task = next(task for task in self._progress.tasks if task.id == bar)
                if task.total is not None:
                    self._progress.update(bar, completed=task.total)
            self._bars[step] = self._progress.add_task(step, total=total)
        self._progress.update(self._bars[step], completed=current, total=total)
