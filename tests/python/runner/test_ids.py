"""Ids of runs."""

from core.support import run_python
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner

from .support import ended, nothing


def test_ids_are_fresh_and_rise(runner: Runner, manager: RunManager) -> None:
    other = Runner(manager)
    ids = [ended(which.start(nothing)).run_id for which in [runner, other] * 20]
    assert ids == sorted(set(ids))


def test_ids_that_the_application_uses_itself_are_left_alone(runner: Runner, manager: RunManager) -> None:
    last = ended(runner.start(nothing)).run_id
    active, finished = last + 1, last + 2
    manager.open_run(active)
    manager.finish_run(finished, {"complete": True, "mine": True})
    assert ended(runner.start(nothing)).run_id > finished
    assert manager.is_active(active)
    assert manager.terminal_event(finished) == {"complete": True, "mine": True}
    manager.finish_run(active, {"complete": True})


def test_ids_of_an_earlier_process_do_not_come_again() -> None:
    """A page that is open during a restart would show another run as if it were its own."""
    script = """
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
print(Runner(RunManager()).start(lambda context: None).run_id)
"""
    first, second = (int(run_python(script)) for _ in range(2))
    assert first < second < 2**53  # which JavaScript can tell from its neighbours


def test_ids_may_begin_anywhere() -> None:
    run_python("""
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
manager = RunManager()
runner, other = Runner(manager, first_id=7), Runner(manager, first_id=3)
assert [each.start(lambda context: None).run_id for each in (runner, runner, other, runner)] == [7, 8, 9, 10]
assert Runner(manager, first_id=100).start(lambda context: None).run_id == 100
""")
