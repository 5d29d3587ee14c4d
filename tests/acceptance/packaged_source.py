"""What is packaged, and bare environments to install it in without downloading anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPENDENCIES = Path(str(distribution("fhir.resources").locate_file("")))
PACKAGES = ("config", "fhir", "node", "pipelines", "storage")

NO_COMPILER = {"CC": "/nonexistent/compiler"}

_OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")
_BUILT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "usual_*.c")


@dataclass(frozen=True)
class Environment:
    """A virtual environment; `variables` are set while its pip runs."""

    folder: Path
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = (self.folder / "lib").glob("python*/site-packages")
        return found

    def pip(self, *arguments: str) -> None:
        """Run this environment's pip."""
        self._run("-m", "pip", "--disable-pip-version-check", *arguments, folder=self.folder)

    def install(self, *arguments: str) -> None:
        """Install without the network."""
        self.pip("install", *_OFFLINE, "--ignore-installed", *arguments)

    def wheel_of(self, source: Path) -> Path:
        """Build a wheel, and return its file."""
        wheels = self.folder / "wheels"
        self.pip("wheel", *_OFFLINE, "--wheel-dir", str(wheels), str(source))
        (wheel,) = wheels.glob("radnode-*.whl")
        return wheel

    def output_of(self, script: str, *arguments: str, folder: Path) -> str:
        """Run a script in a working directory."""
        return self._run("-c", script, *arguments, folder=folder)

    def _run(self, *arguments: str, folder: Path) -> str:
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=folder,
            env={**_surroundings(), **dict(self.variables)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _surroundings() -> dict[str, str]:
    """Variables without the one by which everything would come from the source root."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def bare_environment(folder: Path, **variables: str) -> Environment:
    """An environment without our packages that sees the dependencies installed here."""
    venv.create(folder, with_pip=False, symlinks=True)
    environment = Environment(folder, tuple(variables.items()))
    (environment.site_packages / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    return environment


def copy_of_source(folder: Path) -> Path:
    """A copy of what is packaged: building leaves files beside the sources."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=_BUILT)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder
