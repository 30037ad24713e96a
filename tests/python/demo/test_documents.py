"""What the demo reads: which files, and which of their text."""

import os
import sys
from pathlib import Path

import pytest
from glossary.documents import MAX_BYTES, Folder, UnreadableError, parse


def sentences(name: str, text: str) -> list[str]:
    return list(parse(name, text.encode()).sentences)


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A text is a thing to read.")


# Which files


def test_text_files_are_found_in_order(tmp_path: Path) -> None:
    fill(tmp_path, "b.txt", "a.md", "sub/c.RST", "sub/d.py", "sub/deep/e.rs", "f.markdown", "g.pyi")
    fill(tmp_path, "image.png", "data.json", "noext", "Makefile")
    folder = Folder(tmp_path)
    names = [folder.read(file).name for file in folder.files()]
    assert names == ["a.md", "b.txt", "f.markdown", "g.pyi", "sub/c.RST", "sub/d.py", "sub/deep/e.rs"]


@pytest.mark.parametrize(
    "folder", [".git", ".venv", ".hidden", "target", "node_modules", "__pycache__", "dist", "build", "venv"]
)
def test_folders_of_tools_are_passed_over(tmp_path: Path, folder: str) -> None:
    fill(tmp_path, "a.md", f"{folder}/b.md", f"sub/{folder}/deep/c.md")
    assert [file.name for file in Folder(tmp_path).files()] == ["a.md"]


def test_the_glossary_itself_is_no_document(tmp_path: Path) -> None:
    fill(tmp_path, "a.md", "glossary.md")
    assert [file.name for file in Folder(tmp_path, without=tmp_path / "glossary.md").files()] == ["a.md"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_would_never_end_is_no_document(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    fill(tmp_path, "a.md")
    assert [file.name for file in Folder(tmp_path).files()] == ["a.md"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"There is no folder .*nowhere"):
        Folder(tmp_path / "nowhere").files()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.md")
    with pytest.raises(UnreadableError, match=r"a\.md is not a folder"):
        Folder(tmp_path / "a.md").files()


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", ".git/b.md")
    with pytest.raises(UnreadableError, match=r"has no text files \(.*\.md"):
        Folder(tmp_path).files()


# Which cannot be read


@pytest.mark.parametrize("content", [b"caf\xe9", "用語".encode("shift_jis"), "run".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    folder = Folder(tmp_path)
    with pytest.raises(UnreadableError, match=r"^a\.txt is not UTF-8 \(byte \d+\)$"):
        folder.read(folder.files()[0])


def test_a_byte_order_mark_is_no_letter() -> None:
    assert parse("a.txt", b"\xef\xbb\xbfRuns are watched.").sentences == ("Runs are watched.",)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    folder = Folder(tmp_path)
    with pytest.raises(UnreadableError, match=r"^a\.txt is larger than 4 MiB"):
        folder.read(folder.files()[0])


def test_a_file_that_has_gone_is_refused_without_its_path(tmp_path: Path) -> None:
    fill(tmp_path, "sub/a.txt")
    folder = Folder(tmp_path)
    (file,) = folder.files()
    file.unlink()
    with pytest.raises(UnreadableError, match=r"^sub/a\.txt cannot be opened: No such file or directory$"):
        folder.read(file)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("A run is one execution.")
    document = Folder(tmp_path).read(path)
    assert document.name == "caf\N{REPLACEMENT CHARACTER}.txt"


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "secret.txt", "texts/a.md", "texts/sub/b.md")
    folder = tmp_path / "texts"
    (folder / "inside.md").symlink_to("sub/b.md")
    (folder / "outside.md").symlink_to("../secret.txt")
    (folder / "outside").symlink_to(tmp_path)
    texts = Folder(folder)
    assert [path.name for path in texts.files()] == ["a.md", "inside.md", "outside.md", "b.md"]
    assert texts.read(folder / "inside.md").name == "inside.md"
    with pytest.raises(UnreadableError, match=r"^outside\.md is a link that leads out of the folder$"):
        texts.read(folder / "outside.md")


# Which text


def test_lines_of_a_paragraph_are_one_text_and_sentences_end_it() -> None:
    text = "A run is one\nexecution. It ends\r\nonce!\n\nWho reads it? Readers (all of them) do.\n"
    assert sentences("a.txt", text) == [
        "A run is one execution.",
        "It ends once!",
        "Who reads it?",
        "Readers (all of them) do.",
    ]


def test_abbreviations_and_numbers_end_no_sentence() -> None:
    text = "Use one, e.g. Python 3.11, or (i.e. Rust) that of Dr. Who. See Fig. 3 for it."
    assert sentences("a.txt", text) == [
        "Use one, e.g. Python 3.11, or (i.e. Rust) that of Dr. Who.",
        "See Fig. 3 for it.",
    ]


def test_japanese_sentences() -> None:
    text = "実行ログとは、一つの実行の\nイベントの列である。「終わった。」と言う。本当？ はい！"
    assert sentences("a.txt", text) == [
        "実行ログとは、一つの実行のイベントの列である。",
        "「終わった。」と言う。",
        "本当？",
        "はい！",
    ]


def test_markdown_loses_its_markup_and_its_code() -> None:
    text = """---
title: Not this
---
# The run log

A **run log** is the [`log`](https://example.org/log) of _one_ run, see [it][log] and ![a picture](a.png) <br> there.

```python
not_this = 1
```

~~~
nor ``` this
~~~

- First item
- Second item, in
  two lines
1. Third item

[log]: https://example.org
----
> quoted <!-- not this -->
>>> not_this()
"""
    assert sentences("a.md", text) == [
        "The run log",
        "A run log is the log of one run, see it and there.",
        "First item",
        "Second item, in two lines",
        "Third item",
        "quoted",
    ]


def test_a_table_row_says_what_its_first_cell_is() -> None:
    text = "| word | meaning |\n|---|---|\n| run log | the events of one run |\n"
    assert sentences("a.md", text) == ["word: meaning", "run log: the events of one run"]


def test_what_is_code_keeps_its_names() -> None:
    assert sentences("a.md", "The id is `<fence>-<seq>` in `__init__.py`, of `run_id`.") == [
        "The id is <fence>-<seq> in __init__.py, of run_id."
    ]


def test_a_table_row_that_begins_with_a_sentence_is_two() -> None:
    text = "| A lost connection resumes. | Where it was. |\n"
    assert sentences("a.md", text) == ["A lost connection resumes.", "Where it was."]


def test_python_files_speak_in_their_docstrings() -> None:
    text = '''"""Reads runs."""
VALUE = """not this"""

def f(x):
    """Return the run.

    Args:
        x: a number of runs
        other: what else there is
    """
    return "nor this"
'''
    assert sentences("a.py", text) == [
        "Reads runs.",
        "Return the run.",
    ]


def test_arguments_and_labels_in_source_files_are_no_prose() -> None:
    python = '"""Makes runs.\n\nArgs:\n    error: what readers were told,\n        when failed\n\nIt ends.\n"""\n'
    assert sentences("a.py", python) == ["Makes runs.", "It ends."]
    assert sentences("a.rs", "/// Nobody: the entry goes with its last subscriber.\n/// It ends.\n") == ["It ends."]
    assert sentences("a.md", "Retention: how long runs are kept.") == ["Retention: how long runs are kept."]


def test_rust_files_speak_in_their_documentation() -> None:
    text = "//! The core.\n\n/// A run log\n/// is bounded.\nfn f() {} // not this\n\n    /// Ends it.\n"
    assert sentences("a.rs", text) == ["The core.", "A run log is bounded.", "Ends it."]


def test_numbers_and_drawings_are_no_sentences() -> None:
    assert sentences("a.txt", "1.5 2.5 3.5 4.5\n\n+---->|x|<----+\n\nx = {1: 2, 3: 4}\n\nIt runs.") == ["It runs."]


def test_characters_that_turn_the_direction_are_no_text() -> None:
    assert sentences("a.txt", "A \u202erun\u202c is \u2066one\u2069 execu\u200ftion.") == ["A run is one execution."]


def test_control_characters_are_no_text() -> None:
    assert sentences("a.txt", "A run\x1b[31m is\x00 one\x9b execution.") == ["A run[31m is one execution."]


@pytest.mark.parametrize(
    "piece", ["<!--", "![", "[a](", "`", "**a", "<br ", "x. ", "| ", "-- ", "e.g. ", ":a:`", "(", "実。"]
)
def test_no_text_takes_long(piece: str) -> None:
    # One line, and one block; quadratic time would pass the test's timeout.
    text = piece * (1_000_000 // len(piece))
    parse("a.md", text.encode())
    parse("a.md", "\n".join(text[start : start + 4000] for start in range(0, len(text), 4000)).encode())
