"""Shared by the comparisons: the message they publish, interleaved rounds, and the report.

Both sides of a comparison are measured alternately: each round measures every case once and begins with another case,
and a ratio is the median of the rounds' ratios, so that a machine that becomes slower slows both sides.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_ID = 1
MARK = b"("
"""A byte that each log message has once and nothing else on the wire has: it counts events across packets."""


def log_message(number: int = 12) -> dict[str, Any]:
    """A log message like those of the application's pipeline."""
    return {
        "run_id": RUN_ID,
        "level": "info",
        "message": f"用語「量子もつれ」の定義を生成しました ({number}/1200)",
        "step": "provisional_glossary",
        "progress_current": number,
        "progress_total": 1200,
    }


class Rounds:
    """The measurements of each case, one a round."""

    def __init__(self, cases: Mapping[str, Callable[[], float]], rounds: int) -> None:
        """Measure every case once in each of `rounds` rounds, after one round that does not count."""
        self._values: dict[str, list[float]] = {name: [] for name in cases}
        order = list(cases)
        for number in range(rounds + 1):
            for name in order:
                value = cases[name]()
                if number > 0:
                    self._values[name].append(value)
            order.append(order.pop(0))

    def median(self, name: str) -> float:
        """The case's median."""
        return statistics.median(self._values[name])

    def spread(self, name: str) -> tuple[float, float]:
        """The case's smallest and largest value."""
        return min(self._values[name]), max(self._values[name])

    def ratio(self, numerator: str, denominator: str) -> float:
        """The median of the rounds' ratios of two cases."""
        pairs = zip(self._values[numerator], self._values[denominator], strict=True)
        return statistics.median(above / below for above, below in pairs)


@dataclass(frozen=True)
class Figure:
    """One result: `target` is `<=` or `>=` and a bound, a statement of what this project is to reach."""

    name: str
    value: float
    target: str

    @property
    def reached(self) -> bool:
        """Whether the value is within the bound."""
        relation, bound = self.target.split()
        return self.value <= float(bound) if relation == "<=" else self.value >= float(bound)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a header: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))
    print()


def report(figures: Sequence[Figure], json_file: Path | None) -> None:
    """Print the figures beside their targets, and write them to `json_file` as a flat object."""
    rows = [
        [figure.name, f"{figure.value:,.2f}", figure.target, "yes" if figure.reached else "NO"] for figure in figures
    ]
    table(["figure", "measured", "target", "reached"], rows)
    if json_file is not None:
        values = {figure.name: round(figure.value, 4) for figure in figures}
        json_file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def parser(description: str, rounds: int = 7) -> argparse.ArgumentParser:
    """The options that every comparison has: `--json FILE` and `--rounds N`."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as a flat object")
    options.add_argument("--rounds", type=_at_least_five, default=rounds, metavar="N", help="rounds, 5 or more")
    return options


def _at_least_five(text: str) -> int:
    rounds = int(text)
    if rounds < 5:
        raise argparse.ArgumentTypeError("a median needs at least 5 rounds")
    return rounds
