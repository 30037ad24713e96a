"""Check README.md: its length, that README.ja.md says the same, and that the examples of the first pages are typed.

    python scripts/check_readme.py

Both languages must have the same headings, code, links and figures, in the same order within each section. The examples
that a page tells its reader to save are checked by `mypy --strict`.
"""

import re
import sys
from pathlib import Path

from mypy import api

PROJECT = Path(__file__).resolve().parents[1]
ENGLISH, JAPANESE = PROJECT / "README.md", PROJECT / "README.ja.md"
WITH_PROGRAMS = (ENGLISH, PROJECT / "docs" / "tutorial.md")
MOST_LINES = 150

_CODE = re.compile(r"^```[\s\S]*?^```$|^(?: {4}.*\n)+", re.MULTILINE)
_PROGRAM = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def sections(page: Path) -> list[dict[str, list[str]]]:
    """What must be the same in every language, by section and kind; the order of words within a section may differ."""
    found = []
    for section in re.split(r"^(?=##* )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        prose = _CODE.sub("", section)
        links = [link for link in re.findall(r"\]\(([^)]+)\)", prose) if link not in (ENGLISH.name, JAPANESE.name)]
        found.append(
            {
                "level of heading": [section.split()[0]],
                "code": _CODE.findall(section),
                "links": sorted(links),
                "inline code": sorted(re.findall(r"`([^`\n]+)`", prose)),
                "figures": sorted(re.findall(r"\d[\d,.]*\d|\d", re.sub(r"\]\([^)]+\)|`[^`]*`", "", prose))),
                "items and rows": re.findall(r"^(?:- |\|)", prose, re.MULTILINE),
            }
        )
    return found


def differences() -> list[str]:
    """Say where the two languages differ."""
    english, japanese = sections(ENGLISH), sections(JAPANESE)
    if len(english) != len(japanese):
        return [f"{JAPANESE.name} has {len(japanese)} sections, {ENGLISH.name} has {len(english)}"]
    return [
        f"{JAPANESE.name}, section {number}: other {kind} than {ENGLISH.name}: {there[kind]} instead of {here[kind]}"
        for number, (here, there) in enumerate(zip(english, japanese, strict=True), start=1)
        for kind in here
        if here[kind] != there[kind]
    ]


def type_errors(page: Path) -> list[str]:
    """Type-check the programs of a page."""
    folder = PROJECT / "target" / "readme" / page.stem
    folder.mkdir(parents=True, exist_ok=True)
    errors = []
    for name, program in _PROGRAM.findall(page.read_text(encoding="utf-8")):
        (folder / name).write_text(program, encoding="utf-8")
        output, problems, code = api.run(["--strict", "--config-file=", str(folder / name)])
        errors += [f"{page.name}: {line}" for line in (output + problems).splitlines() if code != 0]
    return errors


def main() -> int:
    """Print what is wrong. Returns the exit code."""
    found = differences()
    lines = len(ENGLISH.read_text(encoding="utf-8").splitlines())
    if lines > MOST_LINES:
        found.append(f"{ENGLISH.name} has {lines} lines; it is meant to have {MOST_LINES} at most")
    for page in WITH_PROGRAMS:
        found += type_errors(page)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
