"""The four lines that put this project's module in the place of the application's."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import genglossary
import genglossary.runs.manager as module
import genglossary_runs
import genglossary_runs.manager
import pytest
from genglossary.runs.manager import RunManager

from .support import add_run, row

APP = Path(genglossary.__file__).parents[1]

FOUR_LINES = [
    "import sys",
    "import genglossary_runs.manager",
    "from genglossary_runs.manager import RunManager as RunManager",
    "sys.modules[__name__] = genglossary_runs.manager",
]

COLLABORATORS = [
    "Config",
    "ExecutionContext",
    "PipelineCancelledException",
    "PipelineExecutor",
    "RunUpdateResult",
    "Thread",
    "create_run",
    "database_connection",
    "get_active_run",
    "get_connection",
    "get_current_or_latest_run",
    "get_run",
    "immediate_transaction",
    "sanitize_error_message",
    "transaction",
    "update_run_status",
    "update_run_status_if_active",
]


def python(code: str, path: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the code in a fresh interpreter that imports from `path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def without_application() -> list[str]:
    return [entry for entry in sys.path if entry and Path(entry).resolve() != APP]


def test_the_applications_module_is_the_four_lines() -> None:
    lines = (APP / "genglossary/runs/manager.py").read_text().splitlines()
    assert lines == FOUR_LINES


@pytest.mark.parametrize(
    "first",
    [
        "import genglossary_runs.manager",
        "import genglossary_runs",
        "from genglossary_runs import manager",
        "from genglossary_runs.manager import RunManager",
        "import genglossary.runs.manager",
        "import genglossary.runs",
        "from genglossary.runs import RunManager",
        "from genglossary.runs.manager import RunManager",
        "from genglossary.runs.executor import PipelineExecutor",
        "import genglossary.api",
        "import genglossary_runs.application.manager",
        "from genglossary_runs.application.manager import RunManager",
        "from genglossary_runs.application import manager",
    ],
)
def test_either_package_may_be_imported_first(first: str) -> None:
    code = f"""
{first}
import genglossary.runs, genglossary.runs.manager, genglossary_runs.manager, sys
assert sys.modules["genglossary.runs.manager"] is sys.modules["genglossary_runs.manager"]
assert genglossary.runs.manager is genglossary_runs.manager
assert genglossary.runs.RunManager is genglossary_runs.manager.RunManager
from genglossary.runs.manager import RunManager
assert RunManager is genglossary_runs.manager.RunManager
print(RunManager(db_path="x.db").db_path)
"""
    done = python(code, [str(APP), *sys.path])
    assert (done.stdout, done.stderr) == ("x.db\n", "")


def test_the_package_needs_no_application() -> None:
    code = "import genglossary_runs; print(genglossary_runs.RunManager().stats()['active_runs'])"
    done = python(code, without_application())
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    "statement",
    [
        "import genglossary_runs.manager",
        "from genglossary_runs import manager",
        "import genglossary_runs; genglossary_runs.manager",
        "import genglossary_runs.application.manager",
        "import genglossary_runs.runner, contextlib\n"
        "with contextlib.suppress(ImportError):\n    import genglossary_runs.manager\n"
        "import genglossary_runs.manager",
        "import contextlib\n"
        "with contextlib.suppress(ImportError):\n    import genglossary_runs.application.manager\n"
        "import genglossary_runs.manager",
    ],
)
def test_without_the_application_the_manager_says_what_to_use_instead(statement: str) -> None:
    done = python(statement, without_application())
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "Error" in last
    assert "genglossary_runs.runner" in last or "genglossary_runs.RunManager" in last


def test_the_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = genglossary_runs.no_such_name


def test_the_modules_are_one() -> None:
    assert module is genglossary_runs.manager
    assert RunManager is genglossary_runs.manager.RunManager


def test_every_collaborator_is_a_global_of_the_module() -> None:
    assert [name for name in COLLABORATORS if not hasattr(module, name)] == []


def test_every_collaborator_is_looked_up_as_a_global() -> None:
    """A patch reaches only what is loaded by its plain name, not an attribute of another module."""
    tree = ast.parse(Path(module.__file__).read_text())
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert set(COLLABORATORS) - loaded == set()


def test_the_logger_keeps_the_name_of_the_door() -> None:
    assert module.logger.name == "genglossary_runs.manager"


@pytest.mark.parametrize(
    "name", ["genglossary.runs.manager", "genglossary_runs.manager", "genglossary_runs.application.manager"]
)
def test_a_patch_of_any_name_replaces_the_global_that_is_read(manager: RunManager, db_path: str, name: str) -> None:
    run_id = add_run(db_path)
    with patch(f"{name}.PipelineExecutor") as executor:
        assert genglossary_runs.manager.PipelineExecutor is executor
        manager._execute_run(run_id, "full")
    executor.return_value.execute.assert_called_once()
    executor.return_value.close.assert_called_once()
    assert row(db_path, run_id)["status"] == "completed"
