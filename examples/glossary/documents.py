"""Text files of a folder, as sentences.

Reads Markdown, reStructuredText and plain text, and the prose of source files: Python docstrings and Rust doc comments.
Their descriptions of single arguments and values are left out, because they define no terms. Skips hidden folders and
those that tools fill.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

MAX_BYTES = 4 << 20
"""Larger files are unlikely to be prose."""

SKIPPED_FOLDERS = frozenset({"__pycache__", "build", "dist", "env", "node_modules", "site-packages", "target", "venv"})
"""Folders that tools fill."""


class UnreadableError(Exception):
    """A file or folder cannot be used; the message says why in one sentence."""


class NoTextError(UnreadableError):
    """There are files, but none has text."""


@dataclass(frozen=True)
class Document:
    """The sentences of one text file."""

    name: str
    """Its path relative to the folder, with slashes."""
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Folder:
    """A folder of text files."""

    path: Path
    without: Path | None = None
    """A file to leave out, such as the glossary made of the others."""

    @property
    def name(self) -> str:
        """The name that readers see: the last part of the path."""
        return _shown(Path(self.path.resolve().name or self.path))

    def files(self) -> list[Path]:
        """The text files in it and its subfolders, sorted by name.

        Raises:
            UnreadableError: it is missing, not a folder, or has no text file.
        """
        if not self.path.is_dir():
            raise UnreadableError(
                f"{self.path} is not a folder" if self.path.exists() else f"There is no folder {self.path}"
            )
        found = []
        for parent, folders, files in os.walk(self.path):
            folders[:] = filter(_may_hold_texts, folders)
            found += [Path(parent, name) for name in files if _is_text(name)]
        without = self.without and self.without.resolve()
        # Reading a named pipe would never end.
        found = sorted(path for path in found if path.is_file() and path.resolve() != without)
        if not found:
            raise UnreadableError(f"{self.path} has no text files ({', '.join(TEXT_SUFFIXES)})")
        return found

    def read(self, file: Path) -> Document:
        """Read one of the `files`.

        Raises:
            UnreadableError: the file is not UTF-8, is too large, cannot be opened, or links to outside of the folder.
        """
        name = _shown(file.relative_to(self.path))
        target = file.resolve()
        if not target.is_relative_to(self.path.resolve()):
            raise UnreadableError(f"{name} is a link that leads out of the folder")
        try:
            with target.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnreadableError(f"{name} cannot be opened: {error.strerror}") from error
        return parse(name, content)


def _is_text(name: str) -> bool:
    return PurePath(name).suffix.lower() in _PROSE_OF


def _may_hold_texts(folder: str) -> bool:
    return not folder.startswith(".") and folder not in SKIPPED_FOLDERS


def _shown(path: Path) -> str:
    # A file name may have bytes that are not valid UTF-8.
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def parse(name: str, content: bytes) -> Document:
    """Make a document of a file's content, whose type the suffix of its name tells.

    Raises:
        UnreadableError: it is not UTF-8, or too large.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{name} is not UTF-8 (byte {error.start})") from error
    prose = _PROSE_OF.get(Path(name).suffix.lower(), str)
    lines = prose(text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    sentences = (sentence for block in _blocks(lines) for sentence in _sentences(block))
    if prose in (_docstrings, _doc_comments):
        # A label there names an argument or a value, not a term.
        sentences = (sentence for sentence in sentences if not _LABEL.match(sentence))
    return Document(name, tuple(sentences))


_LABEL = re.compile(r"(?:[^\s:]+ ){0,2}[^\s:]+:(?:\s|\Z)")


def _docstrings(text: str) -> str:
    found = re.findall(r'^[ \t]*[rRuU]?("""|\'\'\')(.*?)\1', text, re.MULTILINE | re.DOTALL)
    return "\n\n".join(_SECTION.sub("", docstring) for _, docstring in found)


# Sections on arguments, errors and the like, up to a blank line.
_SECTION = re.compile(r"^[ \t]*(?:Args|Attributes|Raises|Returns|Yields):[ \t]*\n(?:.*\S.*(?:\n|\Z))*", re.MULTILINE)


def _doc_comments(text: str) -> str:
    comments = (re.match(r"\s*//[/!] ?(.*)", line) for line in text.split("\n"))
    return "\n".join(comment[1] if comment else "" for comment in comments)


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---\n.*?\n(---|\.\.\.)\n", "", text, count=1, flags=re.DOTALL)


_PROSE_OF: dict[str, Callable[[str], str]] = {
    ".md": _without_front_matter,
    ".markdown": _without_front_matter,
    ".rst": str,
    ".txt": str,
    ".py": _docstrings,
    ".pyi": _docstrings,
    ".rs": _doc_comments,
}

TEXT_SUFFIXES = tuple(sorted(_PROSE_OF))
"""The suffixes of text files, in lower case."""

_FENCE = re.compile(r"\s*(```|~~~)")
_QUOTE = re.compile(r"^\s{0,3}>(?!>) ?")
_TABLE_ROW = re.compile(r"\s*\|(.+)\|\s*")
_BLANK = re.compile(
    r"\s*|\s*([-=~^*_#+|:.] ?){3,}\s*|\s*(\[[^\]]+\]:|\.\. |>>> ).*"
)  # also rules, link targets, Python
_BLOCK_START = re.compile(r"(?P<mark>\s{0,3}#{1,6}\s+|\s*(?:[-*+•・]|\d{1,3}[.)])\s+)|\s+[\w`*-]{1,40}: ")
CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
"""Characters that would control a terminal, or change the direction of the text after them."""
_JAPANESE = "\u3000-\u30ff\u3400-\u9fff\uff00-\uffef"

_TAGS = (
    "a|b|blockquote|br|code|details|div|em|h[1-6]|hr|i|img|kbd|li|ol|p|pre|span|strong|su[bp]|summary|table|t[rdh]|ul"
)

# Repetitions are bounded, so that no text takes long, however odd.
_MARKUP = [
    (r"!\[[^\]]{0,200}\]\([^)]{0,500}\)", " "),  # images
    (r"\[([^\]]{1,200})\](?:\([^)]{0,500}\)|\[[^\]]{0,200}\])", r"\1"),  # links
    (rf"<!--.{{0,500}}?-->|</?(?i:{_TAGS})\b[^<>]{{0,500}}>|<?\bhttps?://[^\s)>\]]{{1,500}}>?", " "),  # tags, addresses
    (r"(?<![\w`])(\*{1,3}|_{1,2})(?=\S)(.{1,300}?)(?<=\S)\1(?![\w`])", r"\2"),  # emphasis
    (r":[a-z:+-]{1,40}:`([^`<]{1,200}?)(?:\s*<[^`]{0,200}>)?`_{0,2}", r"\1"),  # roles of reStructuredText
    (r"`{1,3}([^`]{1,300})`{1,3}_{0,2}", r"\1"),  # code
    (rf"(?<=[{_JAPANESE}])\s+(?=[{_JAPANESE}])|{CONTROLS}", ""),  # line ends, control characters
    (r"\s+", " "),
]

# A longer block is data, not prose.
_LONGEST_BLOCK = 5000

_SENTENCE_END = re.compile(
    r"""(?<![ (]e\.g\.)(?<![ (]i\.e\.)(?<!\bcf\.)(?<!\bvs\.)(?<!\b[DM]r\.)(?<!\bMrs\.)(?<!\bNo\.)(?<!\bFig\.)
        (?<=[.!?])["')\]”’]*\s+(?=["'(\[“‘]?[^\Wa-z_])
        | (?<=[。！？])(?![」』）)])
    """,
    re.VERBOSE,
)


def _blocks(lines: list[str]) -> Iterator[str]:
    """Paragraphs, list items, headings and table rows, each on one line, without code and markup."""
    block: list[str] = []
    fence = ""
    for line in (_QUOTE.sub("", line) for line in lines):
        if rule := _FENCE.match(line):
            fence = "" if fence == rule[1] else fence or rule[1]
        if fence or rule or _BLANK.fullmatch(line):
            yield _plain(block)
            block = []
        elif row := _TABLE_ROW.fullmatch(line):
            first, *others = (cell.strip() for cell in row[1].split("|"))
            mark = "" if first.endswith((".", "。")) else ":"
            yield _plain([f"{first}{mark} {'; '.join(others)}"])
        elif start := _BLOCK_START.match(line):
            yield _plain(block)
            block = [line.removeprefix(start["mark"] or "")]
        else:
            block.append(line)
    yield _plain(block)


def _plain(lines: list[str]) -> str:
    text = " ".join(lines)
    if len(text) > _LONGEST_BLOCK:
        return ""
    for pattern, replacement in _MARKUP:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def _sentences(block: str) -> Iterator[str]:
    return (sentence for part in _SENTENCE_END.split(block) if _is_prose(sentence := part.strip()))


def _is_prose(text: str) -> bool:
    """True for a sentence, which is mostly letters, unlike code, numbers and drawings."""
    return sum(character.isalpha() or character == " " for character in text) > 0.6 * len(text)
