"""Programs that some tests need, and that are not Python packages."""

import os
import shutil
from typing import NoReturn

import pytest

# Debian puts servers into a folder that is on the path of root only.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])


def cannot_test(reason: str) -> NoReturn:
    """Skip the test; where `CI` is set, fail, because nothing may go untested there."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (without CI in the environment, this test is skipped)", pytrace=False)
    pytest.skip(reason)


def need(package: str, *names: str) -> str:
    """Return the path of a program, or end the test as `cannot_test` does.

    Args:
        package: the package to install, named as in Debian.
        names: names of the program, the preferred one first; `package` if there are none.
    """
    names = names or (package,)
    for name in names:
        if path := shutil.which(name, path=PATH):
            return path
    cannot_test(f"{' or '.join(names)} is missing: install {package}")
