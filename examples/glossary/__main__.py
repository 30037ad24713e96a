"""`python -m glossary`: the command of `glossary.command`."""

import signal
import sys


def _let_ctrl_c_end_at_once() -> None:
    # Unless whoever started this has Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    # Nothing is there yet to be cancelled, and Python would tell where in which import it was.
    _let_ctrl_c_end_at_once()
    from glossary.command import main

    code = main()
    _let_ctrl_c_end_at_once()
    sys.exit(code)
