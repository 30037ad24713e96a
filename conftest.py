"""Runs every Python code block of the documentation as a test, and lets tests run in several processes."""

import os
import re
import tempfile
from collections.abc import Generator
from typing import Any

import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract import AbstractCodeBlockParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

# The blocks of a page share their names. A block may have a title, which the parser that sybil has does not know.
# What a page only needs to run stands in a comment: `<!--- invisible-code-block: python`.
_BLOCKS = AbstractCodeBlockParser(
    [
        RawFencedCodeBlockLexer(re.compile(r"(?P<arguments>\w+)[^\n]*\n")),
        DirectiveInHTMLCommentLexer(directive="invisible-code-block", arguments=".+"),
    ],
    "python",
    PythonEvaluator(),
)


def _enter_folder(namespace: dict[str, Any]) -> None:
    """Give the examples of a page a folder of their own for what they write."""
    namespace["_before"], namespace["_folder"] = os.getcwd(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.chdir(namespace["_folder"].name)


def _leave_folder(namespace: dict[str, Any]) -> None:
    """Drop what the examples of a page have made, then their folder."""
    os.chdir(namespace["_before"])
    folder = namespace["_folder"]
    namespace.clear()
    folder.cleanup()


pytest_collect_file = Sybil(
    parsers=[_BLOCKS],
    patterns=["README*.md", "docs/*.md", "docs/guides/*.md"],
    setup=_enter_folder,
    teardown=_leave_folder,
).pytest()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test wrote fit to be sent: some log texts that are not Unicode, on which pytest-xdist breaks off."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode("utf-8")) for title, text in report.sections
    ]
    return report
