"""The requests that the demo refuses, and the headers of its answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .support import Client, complete, serving

MakeFolder = Callable[..., Path]


@pytest.fixture
def client(make_folder: MakeFolder) -> Iterator[Client]:
    with serving(make_folder()) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000", "192.168.1.9:80"]
)
def test_it_answers_to_addresses_and_localhost(client: Client, host: str) -> None:
    assert client.get("/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "", "[", "[::1", "a b", "127.1.x"]
)
def test_it_answers_to_no_name_that_a_foreign_site_could_point_here(client: Client, host: str) -> None:
    response = client.get("/about", headers={"Host": host})
    assert response.status_code in (400, 403)  # 400 where the server itself refuses it
    assert "started_at" not in response.text


def test_it_answers_to_the_name_it_was_given(make_folder: MakeFolder) -> None:
    with serving(make_folder(), host_name="Runs.example") as client:
        assert client.get("/about", headers={"Host": "runs.example:80"}).status_code == 200
        assert client.get("/about", headers={"Host": "localhost"}).status_code == 200
        assert client.get("/about", headers={"Host": "example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this host
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_other_sites_change_nothing(client: Client, headers: dict[str, str]) -> None:
    run_id = complete(client)
    for path in ("/runs", f"/runs/{run_id}/cancel"):
        response = client.post(path, headers=headers)
        assert (response.status_code, response.json()) == (403, {"detail": "Other sites may not change anything here"})
    assert len(client.runner.runs()) == 1


def test_its_own_page_and_other_clients_do(client: Client) -> None:
    origin = f"http://127.0.0.1:{client.base_url.port}"
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": origin},
        {"Origin": origin},
        {"Sec-Fetch-Site": "none"},
    ):
        run_id = complete(client)
        assert client.post(f"/runs/{run_id}/cancel", headers=headers).status_code == 202


@pytest.mark.parametrize("path", ["/", "/console.js", "/runs", "/nowhere", "/runs/0/events"])
def test_every_answer_tells_browsers_to_be_careful(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_a_refusal_tells_it_too(client: Client) -> None:
    response = client.get("/", headers={"Host": "evil.example"})
    assert response.status_code == 403
    assert "content-security-policy" in response.headers


def test_the_page_is_three_files_of_its_own(client: Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert "<script>" not in page.text
    assert "style=" not in page.text
    assert client.get("/console.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/console.css").headers["content-type"].startswith("text/css")
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/static/index.html"):
        assert client.get(path).status_code == 404


def test_the_page_knows_what_it_may_send(client: Client) -> None:
    about = client.get("/about").json()
    assert about == {
        "source": "texts",
        "started_at": about["started_at"],
        "text_suffixes": [".markdown", ".md", ".py", ".pyi", ".rs", ".rst", ".txt"],
        "skipped_folders": sorted(about["skipped_folders"]),
        "max_files": 1000,
        "max_file_bytes": 4 << 20,
        "max_total_bytes": 32 << 20,
    }
    assert "node_modules" in about["skipped_folders"]
