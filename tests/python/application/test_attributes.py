"""The constructor's parameters, and what callers compare and replace."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock, patch

from genglossary.runs.manager import RunManager

from .support import add_run, log


def test_the_parameters_are_attributes() -> None:
    manager = RunManager("a.db", "docs", "openai", "gpt", "http://127.0.0.1:9")
    assert manager.db_path == "a.db"
    assert manager.doc_root == "docs"
    assert manager.llm_provider == "openai"
    assert manager.llm_model == "gpt"
    assert manager.llm_base_url == "http://127.0.0.1:9"


def test_the_parameters_by_keyword() -> None:
    manager = RunManager(
        db_path="a.db", doc_root="docs", llm_provider="openai", llm_model="gpt", llm_base_url="http://127.0.0.1:9"
    )
    assert (manager.db_path, manager.doc_root, manager.llm_provider, manager.llm_model, manager.llm_base_url) == (
        "a.db",
        "docs",
        "openai",
        "gpt",
        "http://127.0.0.1:9",
    )


def test_the_defaults() -> None:
    manager = RunManager("a.db")
    assert manager.doc_root == "."
    assert manager.llm_provider == "ollama"
    assert manager.llm_model == ""
    assert manager.llm_base_url == ""


def test_the_queue_size_is_a_class_attribute() -> None:
    assert RunManager.MAX_LOG_QUEUE_SIZE == 1000


def test_a_manager_of_a_database_that_is_not_there_yet_makes_nothing(tmp_path: Path) -> None:
    RunManager(str(tmp_path / "none" / "a.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_object_is_a_path_too(make_manager: Callable[..., RunManager], db_path: str) -> None:
    manager = make_manager(Path(db_path))
    run_id = manager.start_run(scope="full")
    assert manager.get_run(run_id) is not None


def test_managers_share_nothing(make_manager: Callable[..., RunManager], tmp_path: Path) -> None:
    one, other = make_manager(), make_manager(str(tmp_path / "other.db"))
    subscription = other.register_subscriber(1)
    one._broadcast_log(1, log(1, "to nobody"))
    one._cleanup_run_resources(1)
    assert subscription.empty()
    assert 1 not in other._completed_runs


def test_methods_can_be_replaced_on_the_instance(manager: RunManager, db_path: str) -> None:
    add_run(db_path)
    for name in ("get_active_run", "_broadcast_log", "_try_update_status"):
        replacement = MagicMock()
        setattr(manager, name, replacement)
        assert getattr(manager, name) is replacement


def test_cancel_run_can_be_replaced_on_the_class(manager: RunManager) -> None:
    with patch.object(RunManager, "cancel_run") as cancel_run:
        manager.cancel_run(7)
    cancel_run.assert_called_once_with(7)
    manager.cancel_run(7)
    assert cancel_run.call_count == 1
