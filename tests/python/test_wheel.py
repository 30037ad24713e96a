"""The wheel has the package, and nothing that only this repository needs."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from programs import cannot_test, need

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[PurePosixPath]:
    """The names of the files in the wheel."""
    need("cargo")
    maturin = shutil.which("maturin", path=str(Path(sys.executable).parent))
    if maturin is None:
        cannot_test(f"maturin is missing: {sys.executable} -m pip install maturin")
    folder = tmp_path_factory.mktemp("wheel")
    command = [maturin, "build", "--release", "--quiet", "--interpreter", sys.executable, "--out", str(folder)]
    built = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]


def test_the_workflow_builds_with_the_locked_maturin() -> None:
    workflow = (PROJECT / ".github/workflows/wheels.yml").read_text(encoding="utf-8")
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert re.findall(r"MATURIN: v([\d.]+)", workflow) == re.findall(r"^maturin==(.+)$", lock, re.MULTILINE)


@pytest.mark.timeout(900)
def test_the_wheel_has_the_whole_package_and_no_more(names: list[PurePosixPath]) -> None:
    package = PROJECT / "python"
    sources = {
        PurePosixPath(path.relative_to(package).as_posix())
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyc")
    }
    (extension,) = (name for name in names if name.suffix == ".so")
    assert extension.parent == PurePosixPath("genglossary_runs")
    rest = {name for name in names if ".dist-info" not in name.parts[0]} - {extension}
    assert rest == sources


@pytest.mark.timeout(900)
def test_the_wheel_lists_what_it_is_made_of(names: list[PurePosixPath]) -> None:
    assert any(name.name.endswith(".cyclonedx.json") for name in names)


@pytest.mark.timeout(900)
def test_the_wheel_has_the_licences_of_everything_in_it(names: list[PurePosixPath]) -> None:
    licences = {name.name for name in names if name.parent.name == "licenses"}
    assert licences == {"LICENSE", "THIRD_PARTY_LICENSES.txt"}


@pytest.mark.timeout(900)
def test_the_wheel_has_no_demo_and_no_tests(names: list[PurePosixPath]) -> None:
    assert {name.parts[0] for name in names if ".dist-info" not in name.parts[0]} == {"genglossary_runs"}
    assert not {"demo", "glossary", "examples", "tests"} & {part for name in names for part in name.parts}
