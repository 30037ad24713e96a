"""Files that are not a store, or not any more."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from genglossary_runs import RunManager, SqliteStore, StoreError
from genglossary_runs._core import OwnerLock

from .support import DEADLINE, Place, Publisher, check_complete, read_to_end, wait_until

SCHEMAS = Path(__file__).parents[3] / "src/store/sqlite"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A store of this kind alone."""
    place = Place("sqlite", str(tmp_path))
    yield place
    place.close()


def test_what_is_not_a_store_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        SqliteStore(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        SqliteStore(tmp_path / "none" / "runs.db")
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 100)
    with pytest.raises(StoreError, match=r"notes\.txt is not a database"):
        SqliteStore(text)
    project = tmp_path / "project.db"
    connection = sqlite3.connect(project)
    connection.execute("CREATE TABLE runs (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match=r"project\.db is another program's database"):
        SqliteStore(project)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "runs.db")
    script = f"import sqlite3; sqlite3.connect({str(tmp_path / 'runs.db')!r}).execute('PRAGMA user_version = 99')"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(StoreError, match="newer version"):
        SqliteStore(tmp_path / "runs.db")


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "runs.db")
    file.executescript((SCHEMAS / "schema_1.sql").read_text(encoding="utf-8"))
    results = ['{"pages": 3}', '"plain"', '"https://example.org/"', "null", "broken", None]
    file.executemany(
        "INSERT INTO runs (fence, run_id, status, owner, started, finished, result) "
        "VALUES (?1, ?1, 'completed', 'o', 1, 2e12, ?2)",
        list(enumerate(results, start=1)),
    )
    file.executescript(f"PRAGMA user_version = 1; PRAGMA application_id = {0x67677273}")
    file.close()
    manager = RunManager(store=SqliteStore(tmp_path / "runs.db", retention=1e9))
    found = [(record["result_kind"], record["result"]) for record in manager.run_records()[::-1]]
    nothing = (None, None)
    assert found == [
        ("json", {"pages": 3}),
        ("text", "plain"),
        ("link", "https://example.org/"),
        nothing,
        nothing,
        nothing,
    ]


def test_a_store_of_the_second_version_is_brought_up_to_date(tmp_path: Path) -> None:
    # One process has it open meanwhile, as a process of that version may.
    script = """
import sqlite3, sys
path, *schemas = sys.argv[1:]
file = sqlite3.connect(path, isolation_level=None)
file.create_function("result_kind", 1, lambda result: None)
for schema in schemas:
    file.executescript(open(schema, encoding="utf-8").read())
file.executescript("PRAGMA user_version = 2; PRAGMA application_id = 1734832755; PRAGMA journal_mode = WAL")
insert = "INSERT INTO runs (fence, run_id, key, status, owner, started, finished) VALUES (?, ?, ?, ?, 'o', 1, ?)"
file.execute(insert, (1, 1, "book", "completed", 2e12))
print(flush=True)
sys.stdin.readline()
file.execute(insert, (2, 2, None, "failed", 2e12))
"""
    schemas = [str(SCHEMAS / f"schema_{version}.sql") for version in (1, 2)]
    command = [sys.executable, "-c", script, str(tmp_path / "runs.db"), *schemas]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as older:
        assert older.stdout is not None
        assert older.stdout.readline() == "\n"
        manager = RunManager(store=SqliteStore(tmp_path / "runs.db", retention=1e9))
        assert [(record["key"], record["name"]) for record in manager.run_records()] == [("book", None)]
        manager.open_run(3, name="Atlas")
        older.communicate("\n", timeout=DEADLINE)
        assert older.returncode == 0
    assert [(record["run_id"], record["name"]) for record in manager.run_records()][1:] == [(2, None), (1, None)]
    assert [record["run_id"] for record in manager.run_records(text="ATLAS")] == [3]
    manager.finish_run(3, {"complete": True})


def test_a_file_that_python_has_open_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "runs.db")
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute("SELECT count(*) FROM runs").fetchone()
    with pytest.raises(StoreError, match="open elsewhere in this process"):
        SqliteStore(tmp_path / "runs.db")
    connection.close()
    SqliteStore(tmp_path / "runs.db")


def test_limits_are_checked_and_one_file_has_one_set_of_them(tmp_path: Path) -> None:
    for limits in (
        {"retention": -1},
        {"retention": 1e10},
        {"max_runs": 0},
        {"max_bytes": 1000},
        {"retention": float("nan")},
    ):
        with pytest.raises(ValueError, match=next(iter(limits))):
            SqliteStore(tmp_path / "runs.db", **limits)
    store = SqliteStore(tmp_path / "runs.db")
    os.symlink(tmp_path / "runs.db", tmp_path / "link.db")
    assert SqliteStore(tmp_path / "link.db").path == store.path
    with pytest.raises(ValueError, match="other limits"):
        SqliteStore(tmp_path / "link.db", max_runs=5)


def test_a_manager_takes_only_a_store() -> None:
    with pytest.raises(TypeError):
        RunManager(store="runs.db")


def test_a_store_that_is_deleted_in_use(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    here, other = place.manager(), place.worker()
    here.open_run(7)
    here.publish(7, {"n": 1})
    live = here.subscribe(7, "0")
    wait_until(lambda: here.stats()["store"]["events_stored"] == 1)
    for path in place.folder.glob("runs.db*"):
        if not path.name.endswith(".lock"):
            path.unlink()
    wait_until(lambda: "deleted or replaced" in caplog.text)
    here.publish(7, {"n": 2})
    # Until then the new store does not know the run.
    wait_until(lambda: here.stats()["store"]["events_stored"] >= 3)
    other.send("read", 7, "0")
    here.finish_run(7, {"complete": True})
    assert check_complete(read_to_end(live)) == (3, 0)
    # The new store is given what memory still holds.
    assert check_complete(other.receive()) == (3, 0)
    assert here.stats()["store"]["error"] is None


def test_a_writer_that_holds_the_lock_for_ten_seconds(place: Place) -> None:
    here, other = place.manager(history=10_000), place.worker()
    here.open_run(7)
    here.publish(7, {"n": 0})
    script = f"""
import sqlite3, time
db = sqlite3.connect({str(place.folder / "runs.db")!r}, isolation_level=None)
db.execute("BEGIN IMMEDIATE"); print("locked", flush=True); time.sleep(10)
"""
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    publisher = Publisher(here, 7)
    for number in range(1, 1000):
        publisher.publish({"n": number})
    publisher.check()
    local = here.subscribe(7, "0")
    assert local.get(timeout=1)["n"] == 0
    wait_until(lambda: "locked" in (here.stats()["store"]["error"] or ""))
    other.send("read", 7, "0")
    assert holder.wait(30) == 0
    holder.stdout.close()
    here.finish_run(7, {"complete": True})
    assert check_complete(other.receive()) == (1001, 0)
    wait_until(lambda: here.stats()["store"]["error"] is None)


def test_the_engine_span_while_its_store_was_away(place: Place) -> None:
    # In a process of its own, whose time is that of this engine alone.
    script = """
import sys, time
from pathlib import Path
from genglossary_runs import RunManager, SqliteStore, StoreError
path = Path(sys.argv[1])
manager = RunManager(store=SqliteStore(path))
path.unlink()
path.mkdir()
try:
    manager.open_run(7)
except StoreError:
    began = time.process_time()
    time.sleep(0.5)
    print(time.process_time() - began)
"""
    command = [sys.executable, "-c", script, str(place.folder / "runs.db")]
    used = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(used) < 0.1


def test_a_full_disk_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        place = Place("sqlite", str(folder))
        here = place.manager(history=100)
        here.open_run(7)
        local = here.subscribe(7, "0")
        publisher = Publisher(here, 7)
        for number in range(200):
            publisher.publish({"n": number, "text": "x" * 10_000})
            time.sleep(0.001)
        publisher.check()
        wait_until(lambda: here.stats()["store"]["error"])
        assert caplog.text.count("failed:") == 1
        here.finish_run(7, {"complete": True})
        received, missed = check_complete(read_to_end(local))
        assert received + missed == 201
        assert missed > 0
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_file_system_that_becomes_read_only_ends_no_run(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        SqliteStore(folder / "runs.db")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(StoreError, match=r"runs\.db"):
            SqliteStore(folder / "runs.db", max_runs=7)
        with pytest.raises(StoreError, match=r"other\.db"):
            SqliteStore(folder / "other.db")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_file_that_is_truncated_in_use_ends_no_run(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    here = place.manager()
    here.open_run(7)
    for number in range(500):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 500)
    script = f"""
import sqlite3
db = sqlite3.connect({str(place.folder / "runs.db")!r})
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.close()
open({str(place.folder / "runs.db")!r}, "r+b").truncate(100)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    local = here.subscribe(7, "0")
    for number in range(500, 600):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["error"])
    assert here.finish_run(7, {"complete": True})
    assert check_complete(read_to_end(local)) == (601, 0)
    wait_until(lambda: "failed:" in caplog.text)


def test_another_store_that_was_renamed_over_the_file_got_the_log_of_the_old_one(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = place.manager()
    here.open_run(7)
    for number in range(500):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] == 500)
    elsewhere = Place("sqlite", str(tmp_path_factory.mktemp("elsewhere")))
    owner = elsewhere.worker()
    owner.ask("open", 9, None)
    owner.ask("publish", 9, 1, 20)
    owner.ask("finish", 9, {"complete": True})
    assert owner.exit() == 0
    elsewhere.close()
    other = elsewhere.folder / "runs.db"
    script = f"import sqlite3; sqlite3.connect({str(other)!r}).execute('PRAGMA wal_checkpoint(TRUNCATE)')"
    subprocess.run([sys.executable, "-c", script], check=True)
    os.replace(other, place.folder / "runs.db")
    for number in range(500, 600):
        here.publish(7, {"n": number})
    wait_until(lambda: here.stats()["store"]["events_stored"] >= 600)
    assert here.finish_run(7, {"complete": True})
    wait_until(lambda: here.run_record(7)["status"] != "running")
    late = place.worker()
    # What the old file held is a gap, and what the new one held is there.
    received, missed = check_complete([tuple(event) for event in late.ask("read", 7, "0")])
    assert received + missed == 601
    assert received >= 101
    assert check_complete([tuple(event) for event in late.ask("read", 9, "0")]) == (21, 0)
    script = (
        f"import sqlite3; print(*sqlite3.connect({str(place.folder / 'runs.db')!r}).execute('PRAGMA integrity_check'))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "('ok',)"


def test_all_of_python_waited_while_another_process_made_the_file(place: Place) -> None:
    lock = OwnerLock.acquire(str(place.folder / "runs.db-open.lock"))
    assert lock is not None
    opened: list[SqliteStore] = []
    opener = threading.Thread(target=lambda: opened.append(SqliteStore(place.folder / "runs.db")))
    opener.start()
    # With the GIL held there, this would not be reached before the wait is over, which is then an error.
    assert SqliteStore(place.folder / "other.db").path
    lock.release()
    opener.join(DEADLINE)
    assert [store.path for store in opened] == [place.folder / "runs.db"]
    assert SqliteStore(place.folder / "runs.db").path


def test_what_a_crash_leaves_beside_the_file_is_used(place: Place) -> None:
    owner = place.worker()
    owner.ask("open", 7, None)
    owner.ask("publish", 7, 1, 20)
    owner.ask("record", 7)
    owner.kill()
    assert (place.folder / "runs.db-wal").stat().st_size > 0
    assert check_complete(read_to_end(place.manager().subscribe(7, "0", must_exist=True))) == (21, 0)


def test_a_clock_that_is_set_back_makes_no_id_again(place: Place) -> None:
    here = place.manager()
    here.open_run(7)
    fence = here.run_record(7)["fence"]
    here.finish_run(7, {})
    # A store that was written while the clock was an hour ahead.
    script = f"""
import sqlite3
db = sqlite3.connect({str(place.folder / "runs.db")!r})
db.execute("UPDATE clock SET last_fence = last_fence + 3600000"); db.commit()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    fences = []
    for _ in range(3):
        here.open_run(7)
        fences.append(here.run_record(7)["fence"])
        here.finish_run(7, {})
    assert fences == [fence + 3_600_001, fence + 3_600_002, fence + 3_600_003]


def test_a_cancel_was_lost_that_could_not_be_delivered_for_a_minute(place: Place) -> None:
    owner, here = place.worker(), place.manager()
    owner.ask("open", 7, None)
    here.open_run(8)
    owner.signal(signal.SIGSTOP)
    assert here.cancel_run(7)

    def run(script: str) -> str:
        opened = f"import sqlite3; db = sqlite3.connect({str(place.folder / 'runs.db')!r}, timeout=30)"
        command = [sys.executable, "-c", f"{opened}\n{script}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    # As if a minute passed, for it and a command whose reply nobody waits for.
    run('''db.executescript("""
        UPDATE commands SET sent = sent - 120000;
        INSERT INTO commands (fence, sent, kind, json) SELECT fence, sent, 'finish', '{}' FROM commands;
    """)''')
    wait_until(lambda: run("print([*db.execute('SELECT kind FROM commands')])") == "[('cancel',)]\n")
    owner.signal(signal.SIGCONT)
    assert owner.ask("cancelled", 30.0)[0]


def test_retention_by_runs_and_age(tmp_path: Path) -> None:
    manager = RunManager(store=SqliteStore(tmp_path / "few.db", max_runs=3), retained_runs=0)
    for run_id in range(1, 8):
        manager.open_run(run_id)
        manager.finish_run(run_id, {})
    wait_until(lambda: len(manager.run_records()) == 3)
    assert [record["run_id"] for record in manager.run_records()] == [7, 6, 5]
    brief = RunManager(store=SqliteStore(tmp_path / "brief.db", retention=0.5))
    brief.open_run(1)
    brief.finish_run(1, {})
    assert brief.run_record(1) is not None
    brief.open_run(2)
    # Sooner than the minute after which an idle engine looks for what is too old.
    wait_until(lambda: brief.run_record(1) is None, timeout=30)
    assert brief.run_record(2) is not None
