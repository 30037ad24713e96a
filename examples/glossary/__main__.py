"""`python -m glossary`, with this folder's parent on PYTHONPATH; see `glossary.command`."""

import signal
import sys


def _let_ctrl_c_end_at_once() -> None:
    # Leave it alone if this process was started with Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    # There is nothing to cancel yet, and Python would print a traceback from the middle of an import.
    _let_ctrl_c_end_at_once()
    from glossary.command import main

    code = main()
    _let_ctrl_c_end_at_once()
    sys.exit(code)
