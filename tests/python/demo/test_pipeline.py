"""The work of a run, under a real runner: its log, its progress, its glossary, its errors."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Run, Runner
from glossary.documents import Folder
from glossary.pipeline import Glossary, make_glossary
from glossary.terms import Entry

PATIENCE = 60.0

MakeFolder = Callable[..., Path]


@pytest.fixture
def runner() -> Iterator[Runner]:
    # Each update, for the tests that look at them.
    runner = Runner(RunManager(), progress_interval=0)
    yield runner
    assert runner.shutdown(PATIENCE)


def finish(runner: Runner, folder: Path) -> tuple[Run, list[dict[str, Any]]]:
    run = runner.start(partial(make_glossary, source=Folder(folder)))
    assert run.wait(PATIENCE)
    return run, list(runner.manager.subscribe(run.run_id, after="0"))


def test_a_glossary_is_made_of_the_documents(runner: Runner, make_folder: MakeFolder) -> None:
    run, _ = finish(runner, make_folder())
    glossary = run.result
    assert isinstance(glossary, Glossary)
    assert (glossary.source, glossary.documents) == ("texts", 2)
    terms = {entry.term: entry for entry in glossary.entries}
    assert terms["run log"] == Entry("run log", "en", 2, "The run log is a bounded list of events.", "runs.md")
    assert terms["実行ログ"].definition == "実行ログとは、一つの実行のイベントの列である。"
    assert terms["実行ログ"].source == "読者.txt"


def test_the_log_names_every_document(runner: Runner, make_folder: MakeFolder) -> None:
    _, events = finish(runner, make_folder())
    lines = [event["message"] for event in events if "message" in event]
    assert lines[:2] == ["runs.md: 3 sentences", "読者.txt: 3 sentences"]
    assert lines[2].endswith(" terms in 2 documents")


def test_a_link_that_leads_out_of_the_folder_is_a_warning(
    runner: Runner, make_folder: MakeFolder, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("A secret is a thing that nobody may read.")
    folder = make_folder()
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    run, events = finish(runner, folder)
    assert run.result.documents == 2
    assert "secret" not in str(run.result)
    warnings = [event["message"] for event in events if event.get("level") == "warning"]
    assert warnings == ["link.txt is a link that leads out of the folder; skipped"]


def test_progress_begins_at_none_and_ends_at_all(runner: Runner, make_folder: MakeFolder) -> None:
    _, events = finish(runner, make_folder())
    progress = [(e["step"], e["progress_current"], e["progress_total"]) for e in events if "step" in e]
    assert progress == [(step, done, 2) for step in ("Reading", "Defining") for done in (0, 1, 2)]


def test_many_documents_do_not_flood_the_log_with_progress(runner: Runner, make_folder: MakeFolder) -> None:
    _, events = finish(runner, make_folder({f"{n}.txt": "A run is one execution." for n in range(350)}))
    reading = [event["progress_current"] for event in events if event.get("step") == "Reading"]
    assert len(reading) == 101
    assert (reading[0], reading[-1]) == (0, 350)


def test_a_file_that_is_not_utf_8_is_a_warning(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder(
        {"a.txt": "A run is one execution.", "b.txt": b"caf\xe9", "c.txt": "A log is a list of lines."}
    )
    run, events = finish(runner, folder)
    assert run.status == "completed"
    assert run.result.documents == 2
    warnings = [event["message"] for event in events if event.get("level") == "warning"]
    assert warnings == ["b.txt is not UTF-8 (byte 3); skipped"]


@pytest.mark.parametrize("files", [{"a.txt": ""}, {"a.txt": b"\xff\xff"}, {"a.txt": "1 2 3"}])
def test_files_without_text_fail_the_run(
    runner: Runner, make_folder: MakeFolder, files: dict[str, str | bytes]
) -> None:
    run, _ = finish(runner, make_folder(files))
    assert (run.status, run.error) == ("failed", "NoTextError: There is no text in the files of texts")


def test_a_folder_that_has_gone_fails_the_run_without_its_path(runner: Runner, tmp_path: Path) -> None:
    run, _ = finish(runner, tmp_path / "nowhere")
    assert run.error == "UnreadableError: There is no folder nowhere"


def test_a_text_without_terms_is_an_empty_glossary(runner: Runner, make_folder: MakeFolder) -> None:
    run, _ = finish(runner, make_folder({"a.txt": "So it is."}))
    assert (run.status, run.result.entries) == ("completed", [])


def test_a_cancel_ends_the_wait_between_documents(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.start(partial(make_glossary, source=Folder(make_folder()), pace=3600.0))
    run.cancel()
    assert run.wait(PATIENCE)
    assert run.status == "cancelled"


def test_names_do_not_turn_the_text_of_the_glossary() -> None:
    text = Glossary("a\u202eb", 1, [Entry("run", "en", 1, "A run.", "\u2066a\u2069.md")]).to_markdown()
    assert "# Glossary of a\\\\u202eb\n" in text
    assert "*\\\\u2066a\\\\u2069.md; found 1 time*" in text


def test_text_of_documents_is_no_markup_in_the_glossary() -> None:
    entry = Entry(
        "<b>", "en", 1, "A *run* [is](x) `one` <script>alert(1)</script> __init__ run_id #1 & | ~~x~~", "a_b.md"
    )
    text = Glossary("*texts*", 1, [entry]).to_markdown()
    assert text.startswith(
        "# Glossary of \\*texts\\*\n\n1 term of 1 document, found by the demo of genglossary-runs.\n\n## \\<b\\>\n\n"
    )
    assert "\\<script\\>alert(1)\\</script\\> \\_\\_init\\_\\_ run_id \\#1 \\& \\| \\~\\~x\\~\\~" in text
    assert "A \\*run\\* \\[is\\](x) \\`one\\`" in text
    assert text.endswith("*a_b.md; found 1 time*\n")
