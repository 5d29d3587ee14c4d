"""The import name `fhir` is shared with the distribution `fhir.resources`; both must always work.

Tried are the source root, an editable install and a wheel, each from another working directory
and in either order of import. The environments are bare ones that see this environment's packages
through a .pth file, so that nothing is downloaded.
"""

from __future__ import annotations

import shutil
import subprocess
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPENDENCIES = Path(str(distribution("fhir.resources").locate_file("")))
PACKAGES = ("config", "fhir", "node", "pipelines", "storage")

OURS = [f"fhir.{path.stem}" for path in sorted((ROOT / "fhir").glob("[a-z]*.py"))]
THEIRS = ["fhir.resources", "fhir.resources.R4B.bundle", "fhir.resources.patient"]
ORDERS = {"ours first": [*OURS, *THEIRS], "theirs first": [*THEIRS, *OURS]}


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = (self.folder / "lib").glob("python*/site-packages")
        return found

    def pip(self, *arguments: str) -> None:
        """Run this environment's pip, offline."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def origin_of(self, modules: list[str], folder: Path) -> list[Path]:
        """Import these in this order from a working directory, and say where `fhir.*` came from."""
        script = "import importlib, sys\nfor name in sys.argv[1:]:\n"
        script += "    print(importlib.import_module(name).__file__)\n"
        command = [str(self.python), "-c", script, *modules]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [Path(line) for line in done.stdout.splitlines()]


def bare_environment(folder: Path) -> Environment:
    """An environment without our packages that sees the dependencies installed here."""
    venv.create(folder, with_pip=False, symlinks=True)
    environment = Environment(folder)
    (environment.site_packages / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    return environment


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged: building leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("source")
    unpackaged = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=unpackaged)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory that is not the source root."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("order", ORDERS)
def test_both_import_from_the_source_root(tmp_path: Path, order: str) -> None:
    environment = bare_environment(tmp_path / "environment")
    origins = environment.origin_of(ORDERS[order], ROOT)
    assert {path.parent for path in origins if path.parent.name == "fhir"} == {ROOT / "fhir"}


def test_both_import_from_an_editable_install(
    tmp_path: Path, source: Path, elsewhere: Path
) -> None:
    environment = bare_environment(tmp_path / "environment")
    environment.pip(
        "install", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed",
        "--editable", str(source),
    )  # fmt: skip
    for modules in ORDERS.values():
        origins = environment.origin_of(modules, elsewhere)
        assert {path.parent for path in origins if path.parent.name == "fhir"} == {source / "fhir"}


def test_both_import_from_a_wheel_and_theirs_still_after_its_removal(
    tmp_path: Path, source: Path, elsewhere: Path
) -> None:
    environment = bare_environment(tmp_path / "environment")
    wheels = tmp_path / "wheels"
    environment.pip(
        "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(wheels),
        str(source),
    )  # fmt: skip
    (wheel,) = wheels.glob("radnode-*.whl")
    shared = environment.site_packages / "fhir"
    _place_theirs(shared)
    environment.pip("install", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    for modules in ORDERS.values():
        origins = environment.origin_of(modules, elsewhere)
        assert {path.parent for path in origins if path.parent.name == "fhir"} == {shared}
    environment.pip("uninstall", "--yes", "radnode")
    assert not (shared / "bundle.py").exists()
    assert environment.origin_of(THEIRS, elsewhere)


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
