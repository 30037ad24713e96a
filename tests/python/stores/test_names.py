"""Names of runs: kept in their records, and found by every process that uses the store."""

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from runner.support import Gate, ended, until_cancelled

from .support import Place, read_to_end


def test_the_name_of_a_run_was_known_only_to_the_process_that_started_it(place: Place) -> None:
    here, other = Runner(place.manager()), place.worker()
    other.ask("open", 7, "book", "Counting words")

    def named(text: str) -> list[str | None]:
        return [run.name for run in here.history(text=text)]

    found = here.find(7)
    assert found is not None
    assert (found.name, found.key, found.finished_at) == ("Counting words", "book", None)
    assert named("WORDS") == ["Counting words"]
    if place.kind == "sqlite":
        other.kill()
    else:
        # A lease would have to expire first.
        other.ask("finish", 7, {"complete": True})
    read_to_end(here.manager.subscribe(7, "0"))
    assert named("WORDS") == named("counting w") == named("BOOK") == ["Counting words"]
    assert named("words book") == named("Wörter") == []


def test_the_name_of_a_run_that_waits_for_its_key_is_kept(place: Place) -> None:
    runner, gate = Runner(place.manager()), Gate()
    first = runner.start(gate, key="book", name="First")
    second = runner.start(until_cancelled, key="book", name="Second", if_active="wait")
    try:
        assert [(run.name, run.key) for run in runner.history()] == [("Second", None), ("First", "book")]
    finally:
        gate.opened.set()
        second.cancel()
    ended(first)
    ended(second)
    # By default it is the work's.
    ended(runner.start(until_failed))
    assert [run.name for run in Runner(place.manager()).history()] == ["until_failed", "Second", "First"]


def until_failed(_: object) -> None:
    raise ValueError("at once")


async def test_a_manager_takes_names(place: Place) -> None:
    manager = place.manager()
    manager.open_run(1, name="")
    await manager.aopen_run(2, name="two\nlines \0")
    number, _ = manager.open_new_run(name="three")
    another, _ = await manager.aopen_new_run(name="four " * 1000)
    manager.open_run(5)
    manager.open_run(6, name="six \ud800, \ud83d\ude00")
    run_ids = (1, 2, number, another, 5, 6)
    names = ["", "two\nlines \0", "three", "four " * 1000, None, "six \ufffd, \U0001f600"]

    def recorded() -> list[str | None]:
        return [record["name"] for record in map(manager.run_record, run_ids) if record is not None]

    def found(text: str) -> list[int]:
        return [record["run_id"] for record in manager.run_records(text=text)]

    for is_over in (False, True):
        assert recorded() == names
        assert [found(text) for text in ("S \0", "THREE", "r four", "\U0001f600")] == [[2], [number], [another], [6]]
        if not is_over:
            for run_id in run_ids:
                await manager.afinish_run(run_id, {"complete": True})
            assert manager.run_records(status="running") == []
    # Its next life has a name of its own, or none.
    manager.open_run(6)
    assert recorded() == [*names[:-1], None]
    assert found("six") == []
    manager.finish_run(6, {"complete": True})
    with pytest.raises(TypeError):
        manager.open_run(7, name=7)  # type: ignore[arg-type]


def test_a_manager_without_a_store_keeps_no_names() -> None:
    manager = RunManager()
    manager.open_run(1, name="nobody asks for it")
    assert manager.owner is None
    assert Runner(manager).start(lambda context: None, name="Reader").name == "Reader"


def test_a_manager_knows_its_name_as_an_owner(place: Place) -> None:
    manager = place.manager()
    manager.open_run(1)
    run = ended(Runner(manager).start(lambda context: None))
    owners = {record["owner"] for record in place.manager().run_records()}
    assert owners == {manager.owner} == {run.owner}
    manager.finish_run(1, {"complete": True})
