"""The documentation names files that exist, and its examples are what it says they are."""

import importlib
import re
from pathlib import Path

import genglossary_runs.errors
import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(PROJECT).as_posix() for path in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
ROOMS = "src|python|tests|examples|scripts|benches|docs"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    # Files of the application's own repository are not here.
    text = text.replace("`src/genglossary/", "`")
    names = set(re.findall(rf"`((?:{ROOMS})(?:/[\w.*-]+)+)/?`", text))
    assert [name for name in sorted(names) if not list(PROJECT.glob(name))] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text))
    folder = (PROJECT / page).parent
    assert [link for link in sorted(links) if not (folder / link).exists()] == []


def test_every_test_that_the_protocol_names_exists() -> None:
    names = set(re.findall(r"`((?:test_|the_)\w+)`", (PROJECT / "docs/protocol.md").read_text(encoding="utf-8")))
    tests = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("*.*s") if path.is_file())
    tests += "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("*.py"))
    assert names
    assert [name for name in sorted(names) if not re.search(rf"(def|fn) {name}\b", tests)] == []


def test_the_four_lines_of_the_guide_are_those_that_the_stand_in_application_has() -> None:
    guide = (PROJECT / "docs/guides/genglossary.md").read_text(encoding="utf-8")
    lines = re.search(r"```py title=.*?\n(.*?)```", guide, re.DOTALL)
    assert lines is not None
    assert lines[1] == (PROJECT / "tests/app/genglossary/runs/manager.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["", ".client", ".console", ".logs", ".metrics", ".otel", ".runner", ".sse"])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "docs/reference").glob("*.md"))
    block = re.search(rf"^::: genglossary_runs{module}\n((?: .*\n)*)", pages, re.MULTILINE)
    assert block is not None
    members = re.search(r"members: \[(.*)\]", block[1])
    public = set(importlib.import_module(f"genglossary_runs{module}").__all__)
    # The page of errors has all of its module.
    shown = set(members[1].split(", ")) if members else public
    assert public - shown - {"__version__"} <= set(vars(genglossary_runs.errors))
