from collections.abc import Callable
from pathlib import Path

import pytest

TEXTS = {
    "runs.md": "A run is one background execution. Every run has a run log. The run log is a bounded list of events.",
    "読者.txt": "実行ログとは、一つの実行のイベントの列である。購読者は実行ログを読む者を指す。購読者は位置を持つ。",
}


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder `texts` of files, by default two with texts in English and Japanese."""

    def make(files: dict[str, str | bytes] | None = None) -> Path:
        folder = tmp_path / "texts"
        folder.mkdir()
        for name, content in (TEXTS if files is None else files).items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return make
