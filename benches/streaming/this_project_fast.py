"""This project, set up for a run that publishes fast.

At 50,000 events a second the default history of 1,000 is 20 ms, less than a scheduler may keep a process waiting.
"""

from functools import partial

from streaming.this_project import ThisProject

create = partial(ThisProject, history=10_000)
