"""The licences of the Rust crates that are linked into the wheel, as one file, which the wheel carries.

    python scripts/licences.py [--check]

Writes THIRD_PARTY_LICENSES.txt; with `--check`, only says whether it is up to date. The crates are
those that Cargo.lock names for any system that wheels are built for (`deny.toml`), without those that only build or
test. A text that several crates share appears once.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
OUTPUT = PROJECT / "THIRD_PARTY_LICENSES.txt"
RULE = "=" * 100

INTRODUCTION = """\
The extension module of genglossary-runs is compiled from the Rust crates below and from Rust's standard library, which
is copyright (c) The Rust Project Contributors and has the same MIT licence as most of them. libsqlite3-sys contains
SQLite, which is in the public domain.

If a crate offers several licences, the first of these that it offers applies: MIT, BSL-1.0, Apache-2.0.
"""

_TEXTS = re.compile(r"(licen[cs]e|copying|copyright|notice)", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"-(mit|boost|apache|zlib|isc|bsd)$", re.IGNORECASE)
_PREFERRED = ("mit", "boost", "apache")


def linked(target: str) -> Iterator[dict[str, Any]]:
    """The packages that are linked into the extension on one system."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.check_output(command, cwd=PROJECT))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, waiting = {root}, [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            package = packages[dependency["pkg"]]
            is_macro = any("proc-macro" in made["kind"] for made in package["targets"])
            if is_macro or package["id"] in seen or all(kind["kind"] is not None for kind in dependency["dep_kinds"]):
                continue
            seen.add(package["id"])
            waiting.append(package["id"])
            yield package


def texts(package: dict[str, Any]) -> list[str]:
    """The licence texts of a package that apply to the wheel."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and _TEXTS.match(file.name))
    alternatives = {match[1].lower(): file for file in files if (match := _ALTERNATIVE.search(file.stem))}
    chosen = next((alternatives[name] for name in _PREFERRED if name in alternatives), None)
    kept = [file for file in files if file == chosen or file not in alternatives.values()]
    if not kept:
        raise SystemExit(f"{package['name']} {package['version']} has no licence text: look for it, and add it here")
    return [file.read_text(encoding="utf-8").replace("\r\n", "\n").strip() for file in kept]


def document() -> str:
    """The whole file."""
    targets = tomllib.loads((PROJECT / "deny.toml").read_text(encoding="utf-8"))["graph"]["targets"]
    packages = {package["id"]: package for target in targets for package in linked(target)}
    users: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for package in sorted(packages.values(), key=lambda package: (package["name"], package["version"])):
        for text in texts(package):
            words = " ".join(text.split())
            spelled.setdefault(words, text)
            users.setdefault(words, []).append(f"{package['name']} {package['version']} ({package['license']})")
    parts = [INTRODUCTION, *("\n".join([*names, "", spelled[words], ""]) for words, names in users.items())]
    return f"{RULE}\n".join(parts)


def main() -> int:
    """Write the file, or check it. Returns the exit code."""
    wanted = document()
    if "--check" not in sys.argv[1:]:
        OUTPUT.write_text(wanted, encoding="utf-8")
    elif not OUTPUT.exists() or OUTPUT.read_text(encoding="utf-8") != wanted:
        print(f"{OUTPUT.name} does not fit Cargo.lock: run python scripts/licences.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
