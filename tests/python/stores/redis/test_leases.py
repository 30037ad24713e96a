"""Leases that lapsed: whoever renews one learns that others may have ended its runs meanwhile."""

from collections.abc import Callable

import pytest
from genglossary_runs import RunManager

from ..support import Place
from .scripts import AGE, HEAD, LEASE, TAIL, WHY, Project
from .test_recovery import Keys

RENEWALS: dict[str, Callable[[Project, str], object]] = {
    "begin": lambda project, fence: project.call("begin", "me", LEASE, AGE, 9, "0")[3],
    "owns": lambda project, fence: project.call("owns", "me", LEASE, fence)[1],
    "renew": lambda project, fence: project.call("renew", "me", LEASE),
    "restore": lambda project, fence: project.call("restore", "me", LEASE, AGE, fence, 7, 5, "0")[1],
}


@pytest.mark.parametrize("renewal", RENEWALS)
def test_a_lease_that_had_lapsed_was_renewed_without_a_word(project: Project, renewal: str) -> None:
    fence = project.begin(7)
    renew = RENEWALS[renewal]
    assert renew(project, fence) == 1
    if renewal == "begin":
        project.append(project.call("find", 9)[0], 1, end="completed")
    project.ask("DEL", "lease", "me")
    assert renew(project, fence) == 0
    assert 0 < project.ask("PTTL", "lease", "me") <= LEASE


def test_a_quiet_run_was_not_cancelled_that_had_been_ended_before_another_began(redis_url: str) -> None:
    # The next renewal is minutes away, as it is for a host whose clock stood still.
    place = Place("redis", f"{redis_url}#lapsed", lease=600.0)
    here = place.manager()
    quiet = here.open_run(7)
    end_runs_of(here, Keys(place))
    assert not quiet.is_set()
    here.open_run(8)
    assert quiet.wait(30)
    assert "dead" in str(quiet.reason)
    assert here.run_record(8)["status"] == "running"
    place.close()


def test_a_run_could_be_ended_the_moment_after_its_owner_was_told_that_it_owned_it(redis_url: str) -> None:
    place = Place("redis", f"{redis_url}#lapsed-again", lease=600.0)
    here, keys = place.manager(), Keys(place)
    quiet = here.open_run(7)
    here.open_run(8)
    owner = here.run_record(8)["owner"]
    keys.ask("DEL", f"lease:{owner}")
    assert here.owns_run(8)
    assert keys.ask("PTTL", f"lease:{owner}") > 500_000
    # What others ended meanwhile it learns of as well.
    end_runs_of(here, keys)
    assert not here.owns_run(8)
    assert quiet.wait(30)
    place.close()


def end_runs_of(manager: RunManager, keys: Keys) -> None:
    """Have another process find that this one is dead."""
    owner = manager.run_records()[0]["owner"]
    keys.ask("DEL", f"lease:{owner}")
    for _ in range(2):
        keys.call("reap", "other", 0, AGE, HEAD, TAIL, WHY, 100)
    assert keys.ask("EXISTS", f"runs-of:{owner}") == 0
