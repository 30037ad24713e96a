"""Lists by text and status: memory and every store find the same, and a store gives a page of what it found."""

from collections.abc import Iterator

import pytest
from genglossary_runs import RunManager
from genglossary_runs.console.listing import Filter, Listing
from genglossary_runs.runner import RunContext, Runner

from .kinds import KINDS
from .support import Place

TEXTS = {
    "Übung-7": ("Atlas", None),
    'quote "q" \\ back': (None, None),
    "用語集": ("キー 100%", None),
    "under_score": ("x", "No such PAGE: Ärger"),
    1234567890123456789: ("k\nl", None),
}
"""The key of each run, and with what it fails."""


@pytest.fixture(scope="module", params=["memory", *KINDS])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner that has these runs, the first of them the oldest."""
    place = None
    if request.param != "memory":
        in_redis = request.param == "redis"
        where = f"{request.getfixturevalue('redis_url')}#search" if in_redis else str(tmp_path_factory.mktemp("search"))
        place = Place(request.param, where)
    runner = Runner(RunManager() if place is None else place.manager())
    for run_id, (key, error) in TEXTS.items():

        def work(context: RunContext, error: str | None = error) -> None:
            context.log("Reading a page of Ångström")
            if error is not None:
                raise ValueError(error)

        assert runner.start(work, run_id=run_id, key=key, name="Reader").wait(30)
    # A store is asked as another process asks it, which has no handles.
    yield runner if place is None else Runner(place.manager())
    if place is not None:
        place.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", list(TEXTS)),
        ("READER", list(TEXTS)),
        ("bung-7", ["Übung-7"]),
        ("ATLAS", ["Übung-7"]),
        ("atlas", ["Übung-7"]),
        # Other letters match only as they are.
        ("Übung", ["Übung-7"]),
        ("übung", []),
        ("ärger", []),
        ("page: Ärger", ["under_score"]),
        ('"Q" \\', ['quote "q" \\ back']),
        ("\\", ['quote "q" \\ back']),
        ("語", ["用語集"]),
        # Nothing stands for something else.
        ("%", ["用語集"]),
        ("100_", []),
        ("r_s", ["under_score"]),
        ("r.s", []),
        ("*", []),
        ("1234567890123456789", [1234567890123456789]),
        ("345678", [1234567890123456789]),
        ("k\nl", [1234567890123456789]),
        # Each text by itself.
        ("7\nAtlas", []),
        ("Übung-7 Atlas", []),
        ("atlas or more", []),
    ],
)
async def test_a_text_finds_the_same_runs_in_memory_and_in_every_store(
    runner: Runner, text: str, found: list[int | str]
) -> None:
    page = await Listing(runner).page(Filter(None, frozenset(), text), None, 50, None)
    assert [run.id for run in page.runs] == [str(run_id) for run_id in reversed(found)]
    if runner.manager.store is not None:
        assert [run.run_id for run in runner.history(text=text)] == found[::-1]


async def test_runs_of_this_process_are_found_by_message_and_all_by_name(place: Place) -> None:
    here, elsewhere = Runner(place.manager()), Runner(place.manager())

    def work(context: RunContext) -> None:
        context.log(f"Page of {context.run_id}")

    for number in range(1, 7):
        assert (here if number % 2 else elsewhere).start(work, run_id=f"run {number}", name="Reader").wait(30)

    async def listed(which: Filter, limit: int = 50) -> list[str]:
        ids, after = [], None
        while True:
            page = await Listing(here).page(which, after, limit, None)
            ids += [run.id for run in page.runs]
            if page.next is None:
                return ids
            after = int(page.next)

    for limit in (1, 2, 50):
        assert await listed(Filter(None, frozenset(), "page of"), limit) == ["run 5", "run 3", "run 1"]
        assert await listed(Filter(None, frozenset(), "page of RUN 3"), limit) == ["run 3"]
        for text in ("run ", "reader"):
            everything = [f"run {number}" for number in range(6, 0, -1)]
            assert await listed(Filter(None, frozenset(), text), limit) == everything
    assert await listed(Filter(None, frozenset({"failed"}), "reader")) == []
    # One that goes on in another process is no longer a run of this one.
    elsewhere.manager.open_run("run 3")
    assert await listed(Filter(None, frozenset(), "page of")) == ["run 5", "run 1"]
    elsewhere.manager.finish_run("run 3", {"complete": True})


def test_history_takes_several_statuses(place: Place) -> None:
    manager = place.manager()
    for run_id, status in enumerate(("completed", "failed", "cancelled"), start=1):
        manager.open_run(run_id)
        manager.finish_run(run_id, {"complete": True, "status": status})
    manager.open_run(4)

    def listed(status: object) -> list[int | str]:
        return [record["run_id"] for record in manager.run_records(status=status)]  # type: ignore[arg-type]

    assert listed(["failed", "running"]) == [4, 2]
    assert listed(("cancelled",)) == [3]
    assert listed([]) == listed(None) == [4, 3, 2, 1]
    with pytest.raises(TypeError):
        listed(7)
    manager.finish_run(4, {"complete": True})
