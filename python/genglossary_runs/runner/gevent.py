"""What a runner cannot do under gevent."""

import sys
import warnings


def warn_of_gevent() -> None:
    """Warn where gevent has patched `threading`."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        warnings.warn(
            "gevent has patched threading: runs are greenlets, and a blocking Subscription.get stops them all, since "
            "the core waits outside of what gevent patches; poll with get_nowait",
            RuntimeWarning,
            stacklevel=3,
        )
