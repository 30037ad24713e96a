"""The picture of the demo's terminal, as the README shows it."""

import io
import os
from pathlib import Path

from glossary.command import watch_run
from rich.console import Console
from rich.text import Text

from .support import serving

PROJECT = Path(__file__).resolve().parents[3]
WIDTH = 100
LOG_LINES = 4
URL = "http://127.0.0.1:8000/"

# Rich's own, without the font that it would load from the network.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font: {char_height}px/{line_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
}}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def test_a_picture_of_it(tmp_path: Path) -> None:
    # Into the project only when it is asked for, so that tests leave no trace.
    picture = PROJECT / "docs/demo.svg" if "DEMO_PICTURE" in os.environ else tmp_path / "demo.svg"
    printed = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    out = tmp_path / "genglossary-demo.md"
    with serving(PROJECT) as client:
        assert watch_run(client, printed, "genglossary-runs", out) == 0
    said = printed.export_text(styles=True)
    lines = said.replace(str(out.resolve()), "/home/me/genglossary-demo.md").split("\n")
    end = next(place for place, line in enumerate(lines) if line.startswith("Reading"))
    # Without most of the log.
    shown = ["$ make demo", f"The run console is at {URL}", lines[0], "…", *lines[end - LOG_LINES : end], *lines[end:]]
    drawn = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    drawn.print(Text.from_ansi("\n".join([*shown[:-1], f"Serving until Ctrl-C: {URL}", ""])))
    svg = drawn.export_svg(title="make demo", code_format=FORMAT, unique_id="demo")
    assert "&#160;terms&#160;in&#160;" in svg
    assert "http://" not in svg.replace("http://www.w3.org/2000/svg", "").replace(URL, "")
    picture.write_text(svg, encoding="utf-8")
