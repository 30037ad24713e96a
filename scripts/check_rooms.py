"""Check the rooms of the Rust code: what may be used where, and that no two files use each other, however indirectly.

    python scripts/check_rooms.py [SRC]

- `src/core` has no Python and no I/O: it uses neither pyo3, nor another room, nor those parts of `std` that reach
  outside of the process.
- In each room that `ROOMS` names, the files that use one another form no circle.

A file uses another one if a path in its code, in a `use` or elsewhere, leads to an item of the other, through whatever
re-exports. A `mod.rs` is the table of contents of its room: declaring its files, passing on their items and registering
them is no use of them.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOMS = ("core", "py", "host", "store")
FOREIGN_TO_CORE = re.compile(
    r"\bpyo3\w*\b|\bcrate::(?:py|host|store)\b"
    r"|\bstd::(?:env|fs|net|os|path|process)\b|\bstd::io\b(?!::Write\b)"
)

Path_ = tuple[str, ...]


@dataclass
class Module:
    """One source file, without its comments and strings."""

    file: Path
    name: Path_
    code: str
    exports: dict[str, Path_] = field(default_factory=dict)
    """Items that it passes on, and the path of each."""


def main(arguments: list[str]) -> int:
    """Print one line for each fault. Returns the exit code."""
    source = Path(arguments[0] if arguments else "src")
    faults = check(source)
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


def check(source: Path) -> list[str]:
    """Return a sentence for each fault of the crate whose `lib.rs` is in this folder."""
    modules = {module.name: module for module in (read(file, source) for file in sorted(source.rglob("*.rs")))}
    for module in modules.values():
        module.exports = {name: path for name, path, public in imports(module) if public}
    faults = []
    for module in modules.values():
        if module.name[:1] == ("core",):
            found = sorted({match[0] for match in FOREIGN_TO_CORE.finditer(module.code)})
            faults += [f"{module.file}: the core may not use {name}" for name in found]
    for room in ROOMS:
        files = {name: uses(module, modules) for name, module in modules.items() if name[:1] == (room,)}
        for circle in circles(files):
            faults.append("a circle: " + " -> ".join(str(modules[name].file) for name in circle))
    return faults


def read(file: Path, source: Path) -> Module:
    """Read a source file; its name is the path of its module."""
    parts = file.relative_to(source).with_suffix("").parts
    name = parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts
    return Module(file, name, strip(file.read_text(encoding="utf-8")))


def strip(text: str) -> str:
    """Blank out comments, strings and characters, so that braces and names in them do not count."""
    strings = r'b?r(?P<hashes>#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\''
    tokens = re.compile(rf"//[^\n]*|/\*.*?\*/|{strings}", re.DOTALL)
    return tokens.sub(lambda match: '""' if "\n" not in match[0] else "\n" * match[0].count("\n"), text)


def imports(module: Module) -> Iterator[tuple[str, Path_, bool]]:
    """The names that `use` brings in: the name, its path from the crate's root, and whether it is passed on."""
    for statement in re.finditer(r"(?P<public>\bpub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);", module.code):
        here = enclosing(module, statement.start())
        for parts in expand("".join(re.sub(r"\s+as\s+", "@", statement["tree"]).split())):
            parts, _, alias = parts.partition("@")
            path = absolute(tuple(parts.split("::")), here)
            yield alias or path[-1], path, bool(statement["public"])


def expand(tree: str) -> Iterator[str]:
    """Expand a `use` tree into paths: `a::{b, c::d}` into `a::b` and `a::c::d`."""
    start = tree.find("{")
    if start < 0:
        yield tree
        return
    depth, item = 0, ""
    for character in tree[start + 1 : -1] + ",":
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            if item:
                for rest in expand(item):
                    yield (tree[:start] + rest).removesuffix("::self")
            item = ""
        else:
            item += character


def enclosing(module: Module, place: int) -> Path_:
    """The module, perhaps an inline one, that this place of the file is in."""
    name = module.name
    for inline in re.finditer(r"\bmod\s+(\w+)\s*\{", module.code[:place]):
        depth = 1
        for character in module.code[inline.end() : place]:
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth == 0:
                break
        else:
            name = (*name, inline[1])
    return name


def absolute(path: Path_, here: Path_) -> Path_:
    """The path from the crate's root; that of another crate, or of a child of `here`, relative to `here`."""
    match path:
        case ("crate", *rest):
            return tuple(rest)
        case ("self", *rest):
            return (*here, *rest)
        case ("super", *rest):
            return absolute(("self", *rest) if rest[:1] != ["super"] else tuple(rest), here[:-1])
    return (*here, *path)


def uses(module: Module, modules: dict[Path_, Module]) -> set[Path_]:
    """The other files of the room of which this one uses an item."""
    paths = {path for _, path, public in imports(module) if not public}
    body = re.sub(r"\buse\s+[^;]+;", lambda match: " " * len(match[0]), module.code)
    for found in re.finditer(r"(?<![\w:])(?:\w+::)+\w+", body):
        paths.add(absolute(tuple(found[0].split("::")), enclosing(module, found.start())))
    # An item brought in by `use` may stand before `::`, too: that path has been counted already.
    targets = {target for path in paths if (target := resolve(path, modules)) is not None}
    is_contents = module.file.name == "mod.rs"
    return {
        target
        for target in targets
        if target != module.name
        and target[:1] == module.name[:1]
        and not (is_contents and target[: len(module.name)] == module.name)
    }


def resolve(path: Path_, modules: dict[Path_, Module], steps: int = 20) -> Path_ | None:
    """The file that defines the item at this path, or None if it is not of this crate."""
    for end in range(len(path), 0, -1):
        if path[:end] in modules:
            module = modules[path[:end]]
            rest = path[end:]
            if rest and rest[0] in module.exports and steps:
                return resolve((*module.exports[rest[0]], *rest[1:]), modules, steps - 1)
            # A name relative to a module that is neither its child nor an item of it is of another crate.
            return path[:end] if not rest or defines(module, rest[0]) else None
    return None


def defines(module: Module, name: str) -> bool:
    """Whether the file defines an item of this name."""
    kinds = "const|static|struct|enum|union|trait|type|fn|macro_rules!|mod"
    return name == "*" or re.search(rf"\b(?:{kinds})\s+(?:mut\s+)?{re.escape(name)}\b", module.code) is not None


def circles(graph: dict[Path_, set[Path_]]) -> list[list[Path_]]:
    """One circle for each group of files that use each other, however indirectly. Its first file is also its last."""
    found = []
    left = set(graph)
    while left:
        start = min(left)
        group = {name for name in reach(graph, start) if start in reach(graph, name)}
        if group:
            found.append(shortest(graph, start))
        left -= group | {start}
    return found


def reach(graph: dict[Path_, set[Path_]], start: Path_) -> set[Path_]:
    """All files that this one uses, however indirectly."""
    seen: set[Path_] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def shortest(graph: dict[Path_, set[Path_]], start: Path_) -> list[Path_]:
    """The shortest way from a file back to itself."""
    ways = [[start]]
    while True:
        longer = []
        for way in ways:
            for name in sorted(graph.get(way[-1], ())):
                if name == start:
                    return [*way, start]
                if name not in way:
                    longer.append([*way, name])
        ways = longer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
