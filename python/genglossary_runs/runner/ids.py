"""Normalize run ids, so that a handle is found whichever form of its id is used."""

import uuid

from genglossary_runs.types import RunId

_LEAST, _MOST = -(2**63), 2**63 - 1
_LONGEST = len(str(_LEAST))


def new_id() -> str:
    """Return an id that no process gives out twice, so that a page never shows another run than its own."""
    return str(uuid.uuid4())


def canonical(run_id: RunId) -> int | str:
    """Return the id as the manager has it: a UUID as its text, and a text that is an int of 64 bits as that int."""
    if isinstance(run_id, uuid.UUID):
        return str(run_id)
    if isinstance(run_id, str) and len(run_id) <= _LONGEST and run_id.isascii() and run_id.removeprefix("-").isdigit():
        number = int(run_id)
        if str(number) == run_id and _LEAST <= number <= _MOST:
            return number
    return run_id
