"""The receiver's compiled module: made where there is a compiler, and else done without."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.acceptance.packaged_source import (
    NO_COMPILER,
    Environment,
    bare_environment,
    copy_of_source,
)

TOLD = "from node.receive import short_way; print(short_way.is_compiled(), short_way.__file__)"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Its own for each test: a build leaves what the next one would take."""
    return copy_of_source(tmp_path / "source")


def told_by(environment: Environment, folder: Path) -> list[str]:
    """Whether the package that is found there has the module, and where that package is."""
    return environment.output_of(TOLD, folder=folder).split()


def about_the_module(wheel: Path) -> set[str]:
    names = map(Path, ZipFile(wheel).namelist())
    return {name.suffix for name in names if name.name.startswith("usual_")}


@pytest.mark.peer("c_compiler")
def test_a_wheel_holds_the_compiled_module_and_not_what_was_compiled(
    tmp_path: Path, source: Path
) -> None:
    environment = bare_environment(tmp_path / "environment")

    wheel = environment.wheel_of(source)

    assert about_the_module(wheel) == {".so", ".pxd", ".pyi", ".pyx"}
    unpacked = tmp_path / "unpacked"
    ZipFile(wheel).extractall(unpacked)
    place = unpacked / "node" / "receive" / "short_way.py"
    assert told_by(environment, unpacked) == ["True", str(place)]


def test_without_a_compiler_it_is_installed_all_the_same(tmp_path: Path, source: Path) -> None:
    environment = bare_environment(tmp_path / "environment", **NO_COMPILER)

    environment.install("--editable", str(source))

    place = source / "node" / "receive" / "short_way.py"
    assert told_by(environment, tmp_path) == ["False", str(place)]
