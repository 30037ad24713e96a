"""The files of the run console, as far as they can be judged without a browser; with one: tests/python/console."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


def test_both_languages_say_everything() -> None:
    script = (PROJECT / "examples/glossary/static/console.js").read_text(encoding="utf-8")
    markup = (PROJECT / "examples/glossary/static/index.html").read_text(encoding="utf-8")
    english, japanese = (
        set(re.findall(r"^  (\w+):", re.search(rf"^const {name} = {{$(.*?)^}};$", script, re.M | re.S)[1], re.M))  # type: ignore[index]
        for name in ("ENGLISH", "JAPANESE")
    )
    of_the_page = set(re.findall(r'data-(?:text|label|placeholder)="(\w+)"', markup))
    assert english | of_the_page == japanese
    asked_for = set(re.findall(r'\btext\(\s*"(\w+)"', script))
    assert asked_for <= japanese
