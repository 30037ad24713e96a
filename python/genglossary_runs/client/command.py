"""The commands `follow`, `list` and `cancel`."""

import argparse
import json
import sys
from datetime import datetime
from typing import Any

import httpx

from genglossary_runs.errors import FollowError, RefusedError

from .addresses import list_urls, part_url, run_url, shown
from .screen import Screen, make_screen, printable
from .streams import follow

COMPLETED, FAILED, UNREACHED, LEFT, CANCELLED = 0, 1, 2, 3, 130
_CODES: dict[object, int] = {"completed": COMPLETED, "cancelled": CANCELLED}

_TIMEOUT = 10.0
# Runs that the API lists at most in one answer.
_LONGEST_PAGE = 500


def run(options: argparse.Namespace) -> int:
    """Run a command. Returns its exit code."""
    with httpx.Client(headers=dict(options.header), follow_redirects=True, timeout=_TIMEOUT) as http:
        try:
            match options.command:
                case "follow":
                    return _Follow(http, options, make_screen(plain=options.plain)).run()
                case "list":
                    return _list(http, options)
                case _:
                    return _cancel(http, options.url)
        except (FollowError, httpx.HTTPError) as error:
            print(f"{printable(str(error))}", file=sys.stderr)
            return UNREACHED
        except httpx.InvalidURL as error:
            print(f"The URL is no address: {error}", file=sys.stderr)
            return UNREACHED


class _Follow:
    """Follow a run to its end; Ctrl-C asks once whether to cancel it or to leave it."""

    def __init__(self, http: httpx.Client, options: argparse.Namespace, screen: Screen) -> None:
        self._http = http
        self._url: str = options.url
        self._after: str | None = options.after
        self._give_up: float | None = options.give_up
        self._screen = screen
        self._status: object = None
        self._has_asked = False

    def run(self) -> int:
        """Returns the exit code."""
        while True:
            try:
                self._show()
                return _CODES.get(self._status or self._recorded_status(), FAILED)
            except KeyboardInterrupt:
                if not self._goes_on():
                    return LEFT

    def _show(self) -> None:
        with self._screen.live():
            # A console's permalink names a run; any other address may be that of a stream.
            url = str(run_url(self._url)) if "#" in self._url else self._url
            for event in follow(
                url, after=self._after, client=self._http, give_up=self._give_up, on_retry=self._say_why
            ):
                self._after = event.id or self._after
                self._screen.show(event)
                if event.is_end:
                    self._status = str(event.data.get("status"))

    def _recorded_status(self) -> object:
        """How the run ended, from its record, because the terminal event had been received before."""
        with self._http.stream("GET", run_url(self._url)) as answer:
            # Of any other stream there is no record; and perhaps no end, so that only JSON is read.
            if answer.headers.get("content-type", "").startswith("application/json"):
                answer.read()
                return _object(answer).get("status")
        raise RefusedError("Every event had been received before, and there is no record of how the run ended")

    def _say_why(self, reason: str, delay: float) -> None:
        self._screen.note(f"The connection was lost: {reason}; trying again in {delay:.0f} s")

    def _goes_on(self) -> bool:
        """Ask what to do. Returns whether to follow on."""
        if self._has_asked or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        self._has_asked = True
        try:
            answer = input("\nCancel the run, or leave it running? [c]ancel, [l]eave, Enter to follow on: ")
        except (EOFError, KeyboardInterrupt):
            print()
            return False
        if answer.strip().lower().startswith("c"):
            _cancel(self._http, self._url)
        return not answer.strip().lower().startswith("l")


def _cancel(http: httpx.Client, url: str) -> int:
    was_active = bool(_object(http.post(part_url(run_url(url), "cancel"))).get("cancelled"))
    print("Cancel requested" if was_active else "The run had ended before")
    return COMPLETED if was_active else FAILED


def _list(http: httpx.Client, options: argparse.Namespace) -> int:
    limit = min(options.limit, _LONGEST_PAGE)
    wanted = {"status": options.status, "key": options.key, "q": options.search, "limit": limit}
    query: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    place, page = _first_list(http, options.url, query)
    # A server that passes over many runs which this client may not read ends a page early, too.
    while page.get("next") and len(page["runs"]) < options.limit:
        query |= {"after": page["next"], "limit": min(options.limit - len(page["runs"]), _LONGEST_PAGE)}
        more = _object(http.get(place, params=query))
        page |= {"runs": page["runs"] + more["runs"], "next": more["next"]}
    if options.json:
        print(json.dumps(page, indent=2))
        return COMPLETED
    rows = [_row_of(run) for run in page["runs"]]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return COMPLETED
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(6)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    total = page.get("total")
    print(f"{len(rows)} runs" + (f" of {total}" if total is not None and total > len(rows) else ""))
    return COMPLETED


def _first_list(http: httpx.Client, url: str, query: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    answer = None
    for place in list_urls(url):
        answer = http.get(place, params=query)
        if answer.status_code == 200 and answer.headers.get("content-type", "").startswith("application/json"):
            page: Any = answer.json()
            if isinstance(page, dict) and "runs" in page:
                return place, page
        elif answer.status_code not in (200, 404, 405):
            break
    if answer is not None:
        _checked(answer)
    raise RefusedError(f"{shown(httpx.URL(url))} has no list of runs; give the address of the API or of a console", 404)


def _row_of(run: dict[str, Any]) -> list[str]:
    progress = run.get("progress") or {}
    how_far = ""
    if progress:
        total = progress.get("total")
        how_far = f"{progress['current']:g}" + ("" if total is None else f"/{total:g}")
        how_far = f"{progress.get('step') or ''} {how_far}".strip()
    started = datetime.fromisoformat(run["started"]).astimezone()
    cells = [
        run["id"],
        run["status"],
        f"{started:%Y-%m-%d %H:%M:%S}",
        f"{run['duration']:.0f} s",
        " · ".join(dict.fromkeys(filter(None, (run.get("key"), run.get("name"))))),
        run.get("error") or how_far,
    ]
    return [printable(str(cell)) for cell in cells]


def _object(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; a page of a proxy, such as a login, is none."""
    try:
        found = _checked(answer).json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(f"{shown(answer.url)} answers with something other than a JSON object", answer.status_code)
    return found


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, LookupError, TypeError):
        detail = answer.reason_phrase
    raise RefusedError(f"{shown(answer.url)} answers {answer.status_code}: {detail}", answer.status_code)
