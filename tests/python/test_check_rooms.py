"""The check of the rooms of the Rust code finds what it is there for."""

import runpy
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CHECK: Any = runpy.run_path(str(PROJECT / "scripts/check_rooms.py"))["check"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A crate without a fault, in which every kind of path leads from a file to another one."""
    write(tmp_path, "lib.rs", "pub mod core;\nmod py;")
    write(tmp_path, "core/mod.rs", "pub mod log;\nmod id;\npub mod run;\npub use id::{Id as RunId, Other};\n")
    write(tmp_path, "core/id.rs", "pub struct Id;\npub struct Other;\n// use super::run::Run;\n")
    write(tmp_path, "core/log.rs", 'use super::RunId;\nuse std::io::Write;\nconst S: &str = "super::run::Run {";')
    write(tmp_path, "core/run.rs", "use super::{log::{self, Log}, id};\npub struct Run(crate::core::RunId);")
    write(tmp_path, "py/mod.rs", 'mod gate;\nmod loops;\nconst TARGET: &str = "";\nfn init() { gate::install() }')
    write(tmp_path, "py/gate.rs", "use pyo3::prelude::*;\nuse super::TARGET;\npub fn install() {}")
    write(tmp_path, "py/loops/mod.rs", "mod pipe;\npub use pipe::Pipe;")
    write(tmp_path, "py/loops/pipe.rs", "use super::super::gate;\npub struct Pipe;")
    return tmp_path


def write(source: Path, name: str, code: str) -> None:
    file = source / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code, encoding="utf-8")


def test_a_crate_without_a_fault(source: Path) -> None:
    assert CHECK(source) == []


@pytest.mark.parametrize(
    "code",
    [
        "use super::run::Run;",
        "use super::{Other, run::{self, Run}};",
        "fn f() { super::run::make() }\n",
        "mod tests { use super::super::run::Run; }",
        "fn f(run: &crate::core::run::Run) {}",
    ],
)
def test_two_files_that_use_each_other(source: Path, code: str) -> None:
    write(source, "core/run.rs", "use super::log::Log;\npub struct Run;\npub fn make() {}")
    write(source, "core/log.rs", f"pub struct Log;\n{code}")
    (fault,) = CHECK(source)
    assert fault == f"a circle: {source}/core/log.rs -> {source}/core/run.rs -> {source}/core/log.rs"


def test_a_circle_through_what_a_mod_file_passes_on(source: Path) -> None:
    write(source, "core/id.rs", "use super::log::Log;\npub struct Id;")
    write(source, "core/log.rs", "use super::RunId;\npub struct Log;")
    (fault,) = CHECK(source)
    assert fault.startswith("a circle: ")


def test_a_circle_across_a_folder(source: Path) -> None:
    write(source, "py/gate.rs", "use super::loops::Pipe;\npub fn install() {}")
    write(source, "py/loops/pipe.rs", "pub struct Pipe;\nfn f() { crate::py::gate::install() }")
    (fault,) = CHECK(source)
    assert "py/gate.rs" in fault
    assert "py/loops/pipe.rs" in fault


@pytest.mark.parametrize(
    "name", ["pyo3::prelude", "std::fs", "std::net::TcpStream", "std::process", "std::io::Read", "crate::py::gate"]
)
def test_what_the_core_may_not_use(source: Path, name: str) -> None:
    write(source, "core/log.rs", f"use {name};")
    assert any("the core may not use" in fault for fault in CHECK(source))


def test_what_the_core_may_not_use_by_its_full_name(source: Path) -> None:
    write(source, "core/log.rs", 'fn f() { std::fs::read("") }')
    assert CHECK(source) == [f"{source}/core/log.rs: the core may not use std::fs"]
