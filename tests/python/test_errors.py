"""Every exception of the package has the one base class and can be pickled."""

import pickle
import queue

import pytest
from genglossary_runs import errors

EXCEPTIONS = [value for value in vars(errors).values() if getattr(value, "__module__", None) == errors.__name__]


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_an_exception_is_a_runs_error(exception: type[BaseException]) -> None:
    # Work that catches every `Exception` must not catch a cancel, as in asyncio.
    assert issubclass(exception, errors.RunsError) != (exception is errors.RunCancelledError)
    assert exception.__doc__


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_an_exception_survives_pickling(exception: type[Exception]) -> None:
    copy = pickle.loads(pickle.dumps(exception("Run 7 is open")))
    assert type(copy) is exception
    assert str(copy) == "Run 7 is open"


def test_exceptions_are_the_standard_ones_too() -> None:
    assert issubclass(errors.RunActiveError, RuntimeError)
    assert issubclass(errors.UnknownRunError, LookupError)
    assert issubclass(errors.InvalidRunIdError, ValueError)
    assert issubclass(errors.SubscriptionEnded, queue.Empty)
