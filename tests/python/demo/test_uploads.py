"""Files uploaded to the demo: their glossary, and refusals."""

import gc
import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from glossary import server, uploads
from glossary.documents import MAX_BYTES, TEXT_SUFFIXES
from glossary.uploads import MAX_FILES, MAX_TOTAL_BYTES, Upload, UploadedFile

from .support import Client, follow, serving, state

TEXT = b"A run is one background execution."

MakeFolder = Callable[..., Path]


@pytest.fixture
def client(make_folder: MakeFolder) -> Iterator[Client]:
    with serving(make_folder()) as client:
        yield client


def send(client: Client, *files: tuple[str, bytes]) -> httpx.Response:
    return client.post("/runs", files=[("files", file) for file in files])


def read(client: Client, *files: tuple[str, bytes]) -> tuple[Any, list[str]]:
    """The run of these files, and its log."""
    response = send(client, *files)
    assert response.status_code == 201, response.text
    run_id = response.json()["run_id"]
    events = [frame.json() for frame in follow(client, run_id)]
    return state(client, run_id), [event["message"] for event in events if "message" in event]


def test_files_are_read_in_the_order_of_their_names(client: Client) -> None:
    run, log = read(client, ("b.txt", TEXT), ("a.md", TEXT), ("c/d.py", b'"""A run is one execution."""'))
    assert (run["status"], run["source"]) == ("completed", "3 files")
    assert log[:3] == ["a.md: 1 sentence", "b.txt: 1 sentence", "c/d.py: 1 sentence"]
    assert client.get(f"/runs/{run['run_id']}/glossary").json()["documents"] == 3


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (["a.md"], "a.md"),
        (["notes/a.md", "notes/b/c.md"], "notes"),
        (["notes/a.md", "b.md"], "2 files"),
        (["notes\\a.md", "/notes/b.md"], "notes"),
        (["用語.txt"], "用語.txt"),
        (["../../../etc/passwd.txt"], ".."),
    ],
)
def test_a_run_is_named_by_what_was_sent(names: list[str], source: str) -> None:
    sent = tuple(UploadedFile(uploads.clean_name(name), TEXT) for name in names)
    assert Upload(sent).name == source


def test_what_is_no_text_is_left_out(client: Client) -> None:
    files = ["a.md", "b.png", "c", ".git/d.md", "x/node_modules/e.md", "x/.hidden/f.md", "x/g.TXT"]
    _, log = read(client, *((name, TEXT) for name in files))
    assert log[:2] == ["a.md: 1 sentence", "x/g.TXT: 1 sentence"]
    assert log[2].endswith(" in 2 documents")


def test_two_files_of_one_name_are_both_read(client: Client) -> None:
    _, log = read(client, ("a.md", TEXT), ("a.md", TEXT))
    assert log[:2] == ["a.md: 1 sentence", "a.md: 1 sentence"]


def test_a_file_that_is_not_utf_8_is_a_warning(client: Client) -> None:
    run, log = read(client, ("a.txt", b"caf\xe9"), ("b.txt", TEXT))
    assert run["status"] == "completed"
    assert log[0] == "a.txt is not UTF-8 (byte 3); skipped"


def test_several_uploads_run_at_a_time_but_not_many(make_folder: MakeFolder) -> None:
    with serving(make_folder(), pace=3600.0) as client:
        for _ in range(server.MAX_ACTIVE_RUNS):
            assert send(client, ("a.md", TEXT)).status_code == 201
        for response in (send(client, ("a.md", TEXT)), client.post("/runs")):
            assert response.status_code == 409
            assert "4 runs are active" in response.json()["detail"]
            assert (response.json()["code"], response.json()["most"]) == ("too_many_runs", server.MAX_ACTIVE_RUNS)


def test_files_are_kept_for_their_run_only(client: Client) -> None:
    run, _ = read(client, ("a.md", TEXT))
    (ended,) = (each for each in client.runner.runs() if each.run_id == run["run_id"])
    assert ended.wait(60)
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, Upload | UploadedFile)] == []


# Refused


def assert_refused(client: Client, response: httpx.Response, status: int, why: str, **said: Any) -> None:
    """With `said`, what a page needs to tell it in other words."""
    assert (response.status_code, response.json()) == (status, {"detail": why} | said)
    assert client.get("/runs").json() == []


def test_too_many_files_are_refused(client: Client) -> None:
    response = send(client, *((f"{n}.md", b"") for n in range(MAX_FILES + 1)))
    assert_refused(client, response, 400, "Too many files. Maximum number of files is 1000.")


def test_a_file_that_is_too_large_is_refused(client: Client) -> None:
    response = send(client, ("a.md", TEXT), ("b.md", b"x" * ((4 << 20) + 1)))
    said = {"code": "too_large", "name": "b.md", "most": MAX_BYTES}
    assert_refused(client, response, 413, "b.md is larger than 4 MiB", **said)


def test_files_that_are_too_large_together_are_refused(client: Client) -> None:
    four = b"x" * (4 << 20)
    response = send(client, *((f"{n}.md", four) for n in range(8)), ("rest.md", b"x"))
    said = {"code": "too_large_together", "most": MAX_TOTAL_BYTES}
    assert_refused(client, response, 413, "The files are larger than 32 MiB together", **said)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: Client) -> None:
    connection = http.client.HTTPConnection(str(client.base_url.host), client.base_url.port, timeout=60)
    connection.putrequest("POST", "/runs")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(MAX_TOTAL_BYTES * 2))
    connection.endheaders()
    # Nothing of the body was sent.
    response = connection.getresponse()
    assert (response.status, b"larger than 32 MiB" in response.read()) == (413, True)
    connection.close()


def test_a_body_of_unknown_length_is_refused(client: Client) -> None:
    response = client.post(
        "/runs", content=iter([b"--x\r\n"]), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert_refused(client, response, 411, "Send files with a Content-Length")


@pytest.mark.parametrize("files", [[("a.png", TEXT)], [("a", TEXT)], [(".git/a.md", TEXT)]])
def test_files_without_a_text_are_refused(client: Client, files: list[tuple[str, bytes]]) -> None:
    response = send(client, *files)
    why = "There are no text files (.markdown, .md, .py, .pyi, .rs, .rst, .txt) among those sent"
    assert_refused(client, response, 422, why, code="no_texts", text_suffixes=list(TEXT_SUFFIXES))


def test_what_is_no_form_is_refused(client: Client) -> None:
    response = client.post("/runs", json={"path": "/etc"})
    why = "Send files as multipart/form-data, or no body to read the folder"
    assert_refused(client, response, 415, why)


def test_a_broken_form_is_refused(client: Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for content in (b"nonsense", b"--x\r\nnonsense\r\n--x--", b"--x\r\n" * 1000):
        assert client.post("/runs", content=content, headers=headers).status_code in (400, 422)
    assert client.post("/runs", content=b"", headers={"Content-Type": "multipart/form-data"}).status_code in (400, 422)
    assert client.get("/runs").json() == []
