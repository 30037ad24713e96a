"""Send what the work of a run logs with `logging` to the run's readers.

    logging.getLogger().addHandler(RunHandler())

A record created in a run becomes a message of its log, with the record's level, the logger's name as `logger`, and the
formatted text as `message`. Records created outside runs are ignored. Code is in a run if it has the run's
`contextvars`: the work itself, asyncio tasks and `asyncio.to_thread`, and a thread of `threading` that runs
`contextvars.copy_context().run`.
"""

import logging
from contextvars import ContextVar

from genglossary_runs.errors import OtherProcessError
from genglossary_runs.runner import current_run

__all__ = ["RunHandler", "current_run"]

_PACKAGE = __name__.partition(".")[0]

# Whether this is inside of `emit`: what formatting a record logs would come back here.
_emitting: ContextVar[bool] = ContextVar("genglossary_runs.emitting", default=False)


class RunHandler(logging.Handler):
    """Sends each record to the log of the run in which it is created. Records of this package itself are ignored.

    It can be added to any logger, such as the root logger, and have any level, formatter and filters.
    """

    def createLock(self) -> None:
        # A run has a lock of its own; with a second one around it, a value that logs while it is being written could
        # wait for a thread that waits for the run.
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit the record, unless a filter refuses it. Returns whether none did."""
        # As the one of `logging`, without the lock, which that one takes itself from CPython 3.13 on.
        found = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record, unless it is created outside a run."""
        context = current_run()
        if context is None or record.name.partition(".")[0] == _PACKAGE or _emitting.get():
            return
        entered = _emitting.set(True)
        try:
            context.log(self.format(record), level=record.levelno, logger=record.name)
        except OtherProcessError:
            pass  # a forked child has no readers
        except Exception:
            self.handleError(record)
        finally:
            _emitting.reset(entered)
