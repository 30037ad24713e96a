"""Find the API URL of a run or a list from any URL that people copy: of the console, the API or a stream."""

import re

import httpx

# As the console writes it: the id with percent signs, and perhaps the number of a line.
_PERMALINK = re.compile(r"run/(?P<run_id>[^/]+)(?:/\d+)?")


def run_url(text: str) -> str:
    """The address of a run, from the address of it in the API, of its events, or of its page in the console."""
    page, _, fragment = text.partition("#")
    found = _PERMALINK.fullmatch(fragment)
    if found is None:
        return page.removesuffix("/events")
    return f"{page.partition('?')[0].rpartition('/')[0]}/api/runs/{found['run_id']}"


def list_urls(text: str) -> list[str]:
    """Where a list of runs may be, from the address of the list, of the API, or of a console."""
    url = httpx.URL(text).copy_with(fragment=None, query=None)
    folder = url.path.rstrip("/")
    # A console may be mounted at `/runs`, so what is longer is tried first.
    return [str(url.copy_with(path=path)) for path in (f"{folder}/api/runs", f"{folder}/runs", folder or "/")]
