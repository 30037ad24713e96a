"""The GenGlossary application's entry point: importing this yields `genglossary_runs.application.manager`."""

from typing import TYPE_CHECKING

import genglossary_runs.application.manager  # noqa: F401  # takes the place of this module in `sys.modules`

if TYPE_CHECKING:
    from genglossary_runs.application.manager import RunManager as RunManager
