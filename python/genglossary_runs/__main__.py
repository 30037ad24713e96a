"""Commands for runs over HTTP.

    python -m genglossary_runs follow URL    show a run until it ends
    python -m genglossary_runs list URL      list runs
    python -m genglossary_runs cancel URL    ask a run to stop

Exit codes of `follow`: 0 completed, 1 failed, 130 cancelled; 2 not found, refused or not reached, 3 left running.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import get_args

from .runner.outcome import Status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        from .client.command import run
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m genglossary_runs", description="Follow, list and cancel runs over HTTP."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--header",
        action="append",
        type=_header,
        default=[],
        metavar="'NAME: VALUE'",
        help="send this header with each request; may be repeated",
    )
    follow = commands.add_parser(
        "follow",
        parents=[shared],
        help="show a run until it ends",
        description="Show a run until it ends.",
        epilog="Exit code: 0 completed, 1 failed, 130 cancelled, 2 not found, refused or not reached, 3 left running.",
    )
    follow.add_argument("url", help="of the run in the API or in a console, or of its stream")
    follow.add_argument("--after", metavar="ID", help="begin after the event of this id")
    follow.add_argument(
        "--give-up",
        type=float,
        metavar="SECONDS",
        help="end with code 2 if the server cannot be reached for so long; by default it is tried for ever",
    )
    follow.add_argument("--plain", action="store_true", help="plain lines, as where the output is no terminal")
    listing = commands.add_parser("list", parents=[shared], help="list runs, the newest first")
    listing.add_argument("url", help="of the API or of a console")
    listing.add_argument(
        "--status", action="append", choices=get_args(Status), help="only runs with this status; may be repeated"
    )
    listing.add_argument("--key", help="only runs with this key")
    listing.add_argument("--search", metavar="TEXT", help="only runs that have this text")
    listing.add_argument("--limit", type=int, default=50, help="how many at most (50)")
    listing.add_argument("--json", action="store_true", help="write the answer as JSON")
    cancel = commands.add_parser("cancel", parents=[shared], help="ask a run to stop")
    cancel.add_argument("url", help="of the run in the API or in a console")
    return parser


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'Name: value'")
    return name.strip(), value.strip()


if __name__ == "__main__":
    sys.exit(main())
