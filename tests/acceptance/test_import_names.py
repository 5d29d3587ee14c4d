"""The import name `fhir` is shared with the distribution `fhir.resources`; both must always work.

Tried are the source root, an editable install and a wheel, each from another working directory
and in either order of import. The environments are bare ones that see this environment's packages
through a .pth file, so that nothing is downloaded. Nothing is compiled: that takes long.
"""

from __future__ import annotations

import shutil
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from tests.acceptance.packaged_source import (
    DEPENDENCIES,
    NO_COMPILER,
    PACKAGES,
    ROOT,
    Environment,
    bare_environment,
    copy_of_source,
)

OURS = [f"fhir.{path.stem}" for path in sorted((ROOT / "fhir").glob("[a-z]*.py"))]
THEIRS = ["fhir.resources", "fhir.resources.R4B.bundle", "fhir.resources.patient"]
ORDERS = {"ours first": [*OURS, *THEIRS], "theirs first": [*THEIRS, *OURS]}


def origins(environment: Environment, modules: list[str], folder: Path) -> list[Path]:
    """Import these in this order from a working directory, and say where `fhir.*` came from."""
    script = "import importlib, sys\nfor name in sys.argv[1:]:\n"
    script += "    print(importlib.import_module(name).__file__)\n"
    told = environment.output_of(script, *modules, folder=folder)
    return [Path(line) for line in told.splitlines()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that is not the source root."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("order", ORDERS)
def test_both_import_from_the_source_root(tmp_path: Path, order: str) -> None:
    environment = bare_environment(tmp_path / "environment")
    found = origins(environment, ORDERS[order], ROOT)
    assert {path.parent for path in found if path.parent.name == "fhir"} == {ROOT / "fhir"}


def test_both_import_from_an_editable_install(
    tmp_path: Path, source: Path, elsewhere: Path
) -> None:
    environment = bare_environment(tmp_path / "environment", **NO_COMPILER)
    environment.install("--editable", str(source))
    for modules in ORDERS.values():
        found = origins(environment, modules, elsewhere)
        assert {path.parent for path in found if path.parent.name == "fhir"} == {source / "fhir"}


def test_both_import_from_a_wheel_and_theirs_still_after_its_removal(
    tmp_path: Path, source: Path, elsewhere: Path
) -> None:
    environment = bare_environment(tmp_path / "environment", **NO_COMPILER)
    wheel = environment.wheel_of(source)
    shared = environment.site_packages / "fhir"
    _place_theirs(shared)
    environment.install(str(wheel))
    for modules in ORDERS.values():
        found = origins(environment, modules, elsewhere)
        assert {path.parent for path in found if path.parent.name == "fhir"} == {shared}
    environment.pip("uninstall", "--yes", "radnode")
    assert not (shared / "bundle.py").exists()
    assert origins(environment, THEIRS, elsewhere)


def _place_theirs(shared: Path) -> None:
    """Lay `fhir.resources` where the wheel goes, as when pip has installed both side by side."""
    shared.mkdir()
    shutil.copy(DEPENDENCIES / "fhir" / "__init__.py", shared)
    (shared / "resources").symlink_to(DEPENDENCIES / "fhir" / "resources")


def _top_levels(distribution: Distribution) -> set[str]:
    files = (Path(str(file)) for file in distribution.files or ())
    modules = [file for file in files if file.suffix in (".py", ".so")]
    return {file.parts[0].partition(".")[0] for file in modules}


def test_no_dependency_ships_a_package_of_our_names() -> None:
    owners: dict[str, set[str]] = {name: set() for name in (*PACKAGES, "tests")}
    for package in distributions(path=[str(DEPENDENCIES)]):
        for name in _top_levels(package) & set(owners):
            owners[name].add(package.metadata["Name"].lower())
    others = {name: found - {"radnode"} for name, found in owners.items()}
    assert others == {**{name: set() for name in owners}, "fhir": {"fhir.resources"}}
