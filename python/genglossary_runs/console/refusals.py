"""What is answered where a run is unknown, or the store cannot be used."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from genglossary_runs.errors import StoreError, UnknownRunError

logger = logging.getLogger(__name__)

RETRY_AFTER = {"Retry-After": "5"}

STORE_FAILS = "The run store cannot be used"
"""Why it cannot, and so where it is, is nobody's business but the server's: that goes to the log."""


@contextmanager
def refusing(run_id: str) -> Iterator[None]:
    """Refuse with 404 or 503 what fails because of the run or of the store.

    Raises:
        HTTPException: 404, the run is unknown; 503, the store cannot be used.
    """
    try:
        yield
    except UnknownRunError:
        raise unknown(run_id) from None
    except StoreError as error:
        note_failure(error)
        raise HTTPException(503, STORE_FAILS, RETRY_AFTER) from error


def unknown(run_id: str) -> HTTPException:
    """Refuse because there is no such run."""
    return HTTPException(404, f"There is no run {run_id}")


def note_failure(error: StoreError) -> None:
    """Write to the log what an answer leaves out."""
    logger.warning("A request was not answered in full, since the store cannot be used: %s", error)
