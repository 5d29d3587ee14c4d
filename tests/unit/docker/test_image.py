"""docker/Dockerfile: what its stages hold of what the installation of radnode needs."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[3]


def stages() -> list[list[str]]:
    """The instructions of each stage, a line each."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    at = [place for place, line in enumerate(lines) if line.startswith("FROM ")]
    return [lines[begin:end] for begin, end in zip(at, [*at[1:], None], strict=True)]


def place_of(stage: list[str], pattern: str) -> int:
    (place,) = (at for at, line in enumerate(stage) if re.search(pattern, line))
    return place


def test_radnode_is_installed_where_there_is_a_compiler_and_its_headers() -> None:
    build, _ = stages()
    compiler = place_of(build, r"^RUN apt-get .*install .*--no-install-recommends gcc libc6-dev ")
    assert compiler < place_of(build, r"^RUN .*pip install .* '\.\[postgresql\]'$")
    assert "rm -rf /var/lib/apt/lists/*" in build[compiler]


def test_the_image_itself_has_no_compiler() -> None:
    _, final = stages()
    assert not any("apt-get" in line for line in final)


def test_all_packages_are_in_the_build_and_nothing_that_was_compiled_elsewhere() -> None:
    build, _ = stages()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name in project["tool"]["setuptools"]["packages"]["find"]["include"]:
        package = name.rstrip("*")
        assert f"COPY {package} {package}" in build
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    modules = [module["name"] for module in project["tool"]["setuptools"]["ext-modules"]]
    written = {str(Path(*name.split("."))) + ".c" for name in modules}
    assert {"**/*.so", "build"} <= set(ignored)
    assert written
    for name in written:
        assert any(fnmatch(name, pattern) for pattern in ignored), name
