"""What the program imports, its own installation brings: nothing rests on the tests' packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from node.demo.studies import DATA_DIR

ROOT = Path(__file__).parents[2]

RUN_ONE_STUDY = """
import json, sys
from importlib.abc import MetaPathFinder
from pathlib import Path

blocked, folder, out = json.loads(sys.argv[1])

class Undeclared(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not declared", name=name)

sys.meta_path.insert(0, Undeclared())
import node.cli, node.service, node.worker, fhir.client, fhir.folder
from pipelines.run import run_study
print(run_study("hippocampus_mr", Path(folder), Path(out), device="cpu").outcome)
"""


def requirements(name: str, extras: frozenset[str] = frozenset()) -> Iterator[Requirement]:
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def declared() -> set[str]:
    """Names of all distributions that installing radnode, without extras, brings."""
    found: set[str] = set()
    waiting = [Requirement("radnode")]
    while waiting:
        requirement = waiting.pop()
        key = f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}"
        if key not in found:
            found.add(key)
            waiting.extend(requirements(requirement.name, frozenset(requirement.extras)))
    return {key.partition("[")[0] for key in found}


def undeclared_modules() -> list[str]:
    names = declared()
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if not any(canonicalize_name(owner) in names for owner in owners)
    )


def test_a_study_is_analysed_with_the_declared_packages_alone(tmp_path: Path) -> None:
    blocked = undeclared_modules()
    assert {"pytest", "hypothesis", "mypy"} <= set(blocked)
    told = json.dumps([blocked, str(DATA_DIR / "pgbm"), str(tmp_path / "out")])
    done = subprocess.run(
        [sys.executable, "-c", RUN_ONE_STUDY, told],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("findings")
