"""The documentation names files that exist."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "docs/architecture.md"]
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
