"""Find the API URL of a run or a list from any URL that people copy: of the console, the API or a stream."""

import re

import httpx

# As the console writes it: the id with percent signs, and perhaps the number of a line.
_PERMALINK = re.compile(r"run/(?P<run_id>[^/]+)(?:/\d+)?")


def run_url(text: str) -> httpx.URL:
    """The URL of a run, from its URL in the API, that of its events, or that of its page in the console."""
    page, _, fragment = text.partition("#")
    found = _PERMALINK.fullmatch(fragment)
    if found is not None:
        return httpx.URL(f"{page.partition('?')[0].rpartition('/')[0]}/api/runs/{found['run_id']}")
    url = httpx.URL(page)
    return _with_path(url, _path(url).removesuffix("/events"))


def part_url(run: httpx.URL, part: str) -> httpx.URL:
    """The URL of a part of a run, such as `events`, with the query of the run's URL."""
    return _with_path(run, f"{_path(run).rstrip('/')}/{part}")


def is_stream_url(url: httpx.URL) -> bool:
    """Whether it looks like the URL of a run's events, not like that of a run."""
    return _path(url).endswith("/events")


def list_urls(text: str) -> list[str]:
    """Where a list of runs may be, from the URL of the list, of the API, or of a console."""
    url = httpx.URL(text).copy_with(fragment=None, query=None)
    folder = _path(url).rstrip("/")
    # A console may be mounted at `/runs`, so what is longer is tried first.
    return [str(_with_path(url, path)) for path in (f"{folder}/api/runs", f"{folder}/runs", folder or "/")]


def shown(url: httpx.URL) -> str:
    """The URL for an error's text, without user info and query: either may be a credential."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


# The path as it is sent. httpx's `path` is decoded: of an id with a question mark it makes an invalid URL, and of one
# with a percent sign that of another run.


def _path(url: httpx.URL) -> str:
    return url.raw_path.partition(b"?")[0].decode("ascii")


def _with_path(url: httpx.URL, path: str) -> httpx.URL:
    _, mark, query = url.raw_path.partition(b"?")
    return url.copy_with(raw_path=path.encode("ascii") + mark + query)
