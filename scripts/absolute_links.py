"""Make the links of README.md absolute, in place: an index of packages shows it without the files beside it.

    python scripts/absolute_links.py [FOLDER]

FOLDER is the source tree, by default this one. Run it on a copy that wheels are built from; in the repository relative
links are better, since they lead to files of the same commit. The address is that of `Source` in pyproject.toml.
"""

import re
import sys
import tomllib
from pathlib import Path


def absolute(text: str, source: str, ref: str) -> str:
    """Return the text with its relative links led to the repository: pictures to the files, others to their pages."""
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)([^)]+)\)", rf"\1{source}/raw/{ref}/\2)", text)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)([^)]+)\)", rf"\1{source}/blob/{ref}/\2)", text)


def main() -> None:
    """Rewrite the README of a source tree."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = folder / project["readme"]
    text = readme.read_text(encoding="utf-8")
    readme.write_text(absolute(text, project["urls"]["Source"], "main"), encoding="utf-8")


if __name__ == "__main__":
    main()
