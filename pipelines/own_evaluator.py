"""A bundle whose evaluator does something of its own around the network is not run without it.

Here the network runs through the bundle's inferer on the preprocessed image. An evaluator that
prepares prompts, other inputs or several passes would be left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

from monai.engines import Evaluator, SupervisedEvaluator

from pipelines.bundle_chain import plain
from pipelines.errors import InvalidBundle

STEPS = ("prepare_batch", "iteration_update")
ITERATION = "_iteration"
ENSEMBLE = "EnsembleEvaluator"


def refuse_own_ways(path: Path, config: Mapping[str, Any]) -> None:
    """Raise `InvalidBundle`, naming what of the evaluator is the bundle's own.

    To be called while the bundle's modules can be imported.
    """
    evaluator = plain(config, "@evaluator")
    if not isinstance(evaluator, Mapping):
        return
    own = [step for step in STEPS if evaluator.get(step) is not None]
    name = str(evaluator.get("_target_") or "")
    is_foreign = "." in name and not name.startswith("monai.")
    if name.rpartition(".")[2] == ENSEMBLE or (is_foreign and _differs(name)):
        own.append(name)
    if own:
        raise InvalidBundle(
            f"{path}: evaluator has ways of its own ({', '.join(own)}), and radnode runs a network "
            "through the bundle's inferer alone; its answer would not be that of the bundle"
        )


def _differs(name: str) -> bool:
    """Whether the class does in an iteration what MONAI's evaluator does not, or cannot be read."""
    try:
        found = locate(name)
    except ErrorDuringImport:
        return True
    if not (isinstance(found, type) and issubclass(found, Evaluator)):
        return True
    return getattr(found, ITERATION) is not getattr(SupervisedEvaluator, ITERATION)
