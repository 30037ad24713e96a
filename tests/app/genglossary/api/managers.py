"""One run manager a project."""

import threading
from dataclasses import dataclass

from genglossary.runs.manager import RunManager

SETTINGS = ("doc_root", "llm_provider", "llm_model", "llm_base_url")


@dataclass
class Project:
    """A project's database and settings. The settings may change at any time."""

    db_path: str
    doc_root: str = "."
    llm_provider: str = "ollama"
    llm_model: str = ""
    llm_base_url: str = ""


class Managers:
    """The managers, for the life of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[str, RunManager] = {}

    def get(self, project: Project) -> RunManager:
        """The project's manager; a new one if the settings changed and no run is active."""
        with self._lock:
            manager = self._managers.get(project.db_path)
            if manager is None or (_settings(manager) != _settings(project) and manager.get_active_run() is None):
                manager = RunManager(
                    project.db_path,
                    doc_root=project.doc_root,
                    llm_provider=project.llm_provider,
                    llm_model=project.llm_model,
                    llm_base_url=project.llm_base_url,
                )
                self._managers[project.db_path] = manager
            return manager


def _settings(holder: RunManager | Project) -> list[str]:
    return [getattr(holder, name) for name in SETTINGS]
