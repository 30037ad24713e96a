"""The work of a run: make a glossary of documents."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from genglossary_runs.runner import RunContext

from glossary.documents import CONTROLS, Document, Folder, NoTextError, UnreadableError
from glossary.terms import Entry, TermFinder

MAX_ENTRIES = 40

T = TypeVar("T")


@dataclass(frozen=True)
class Glossary:
    """The result of a completed run."""

    source: str
    """The name of the source."""
    documents: int
    """The number of files that could be read."""
    entries: list[Entry]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Glossary":
        """Make it of the result of a run, which is its JSON form."""
        return cls(value["source"], value["documents"], [Entry(**entry) for entry in value["entries"]])

    def to_markdown(self) -> str:
        """The glossary as a Markdown document. Text of the documents is escaped."""
        lines = [
            f"# Glossary of {_escape(self.source)}",
            "",
            f"{_counted(len(self.entries), 'term')} of {_counted(self.documents, 'document')}, "
            "found by the demo of genglossary-runs.",
        ]
        for entry in self.entries:
            lines += ["", f"## {_escape(entry.term)}", "", _escape(entry.definition), ""]
            lines += [f"*{_escape(entry.source)}; found {_counted(entry.count, 'time')}*"]
        return "\n".join(lines) + "\n"


def make_glossary(context: RunContext, source: Folder, *, pace: float = 0.0) -> Glossary:
    """Read the documents, find their terms, and find the best definition of each.

    Args:
        context: the run's. A file that cannot be read is a warning in its log.
        source: the documents.
        pace: seconds to wait before each document, so that there is something to watch.

    Raises:
        NoTextError: the files have no text.
        UnreadableError: there are no files.
        RunCancelledError: the run was cancelled.
    """
    files = source.files()
    finder = TermFinder()
    documents: list[Document] = []
    for file in _with_progress(context, "Reading", files):
        context.cancel_event.wait(pace)
        try:
            document = source.read(file)
        except UnreadableError as error:
            context.log(f"{error}; skipped", level="warning")
            continue
        for sentence in _sentences(context, document):
            finder.learn(sentence)
        documents.append(document)
        context.log(f"{document.name}: {_counted(len(document.sentences), 'sentence')}")
    if not any(document.sentences for document in documents):
        raise NoTextError(f"There is no text in the files of {source.name}")
    for document in _with_progress(context, "Defining", documents):
        for sentence in _sentences(context, document):
            finder.define(sentence, document.name)
    entries = finder.entries(MAX_ENTRIES)
    context.log(f"{_counted(len(entries), 'term')} in {_counted(len(documents), 'document')}")
    return Glossary(source.name, len(documents), entries)


def _with_progress(context: RunContext, step: str, items: Sequence[T]) -> Iterator[T]:
    percent = 0
    context.progress(0, len(items), step)
    for done, item in enumerate(items, start=1):
        yield item
        # At most a hundred events, so that they do not evict everything else from the run's log.
        if percent != (percent := 100 * done // len(items)):
            context.progress(done, len(items), step)


def _sentences(context: RunContext, document: Document) -> Iterator[str]:
    for sentence in document.sentences:
        context.raise_if_cancelled()
        yield sentence


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _escape(text: str) -> str:
    text = re.sub(CONTROLS, lambda match: f"\\u{ord(match[0]):04x}", text)
    return re.sub(r"[\\`*\[\]<>#|~&!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
