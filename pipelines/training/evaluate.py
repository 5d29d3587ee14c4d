"""Measure a bundle the way it runs in production: its own files decide every step."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.training.bundle_config import (
    EVALUATION_FILE,
    METADATA_FILE,
    WEIGHTS_FILE,
    build,
    read_config,
    without,
)
from pipelines.training.datasets import Case, Report, read_label
from pipelines.training.export import load_weights

LabelMap = NDArray[np.uint8]
Predict = Callable[[Any], LabelMap]
DECIMALS = 4


@dataclass(frozen=True)
class CaseScore:
    """Dice per label value (1, 2, ...) of one case, each 0..1."""

    stem: str
    dice: dict[int, float]


def bundle_predictor(bundle_dir: Path, *, from_file: bool = True) -> Predict:
    """Return a function from an image to a label map uint8 [i, j, k] on the image's own grid.

    The image is a NIfTI path; with `from_file` false it is a MetaTensor [i, j, k] whose affine
    gives RAS millimetres, which is how a DICOM volume comes in.
    """
    config = without(read_config(bundle_dir), "SaveImaged", *([] if from_file else ["LoadImaged"]))
    # One parsed configuration: Invertd must hold the very transforms that ran before.
    chains = build(
        {**config, "chains": ["@preprocessing", "@inferer", "@postprocessing"]}, "chains"
    )
    network = build(config, "network_def").eval()
    load_weights(network, bundle_dir / WEIGHTS_FILE)
    return lambda image: _predict(image, network, *chains)


@torch.no_grad()
def _predict(image: Any, network: Any, preprocessing: Any, inferer: Any, after: Any) -> LabelMap:
    item = preprocessing({"image": image})
    batch = item["image"][None]
    prediction = inferer(batch.as_tensor(), network)[0]
    item["pred"] = MetaTensor(prediction, meta=dict(item["image"].meta))
    label_map: LabelMap = after(item)["pred"][0].numpy().astype(np.uint8)
    return label_map


def dice(first: LabelMap, second: LabelMap, value: int) -> float:
    """Return the Dice overlap of one label value in two maps of equal shape; both empty is 1."""
    one, two = first == value, second == value
    total = int(one.sum()) + int(two.sum())
    return 1.0 if total == 0 else 2.0 * int((one & two).sum()) / total


def score_cases(
    cases: Sequence[Case], predict: Predict, values: Sequence[int], report: Report = print
) -> list[CaseScore]:
    """Return the scores of `cases`, each predicted from its file and compared on its own grid."""
    scores = []
    for case in cases:
        predicted, truth = predict(str(case.image_path)), read_label(case.label_path)
        scores.append(CaseScore(case.stem, {v: dice(predicted, truth, v) for v in values}))
        report(f"{case.stem}: " + ", ".join(f"{d:.3f}" for d in scores[-1].dice.values()))
    return scores


def structure_names(bundle_dir: Path) -> dict[int, str]:
    """Return label value -> name of each structure, as the bundle's metadata declares them."""
    metadata = json.loads((bundle_dir / METADATA_FILE).read_text())
    channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    return {int(value): name for value, name in channels.items() if int(value) != 0}


def summarise(scores: Sequence[CaseScore], names: dict[int, str]) -> dict[str, dict[str, float]]:
    """Return per structure the mean, standard deviation, minimum and median of Dice."""
    return {name: _spread([score.dice[value] for score in scores]) for value, name in names.items()}


def _spread(values: Sequence[float]) -> dict[str, float]:
    figures = {
        "mean": mean(values),
        "std": pstdev(values),
        "min": min(values),
        "median": median(values),
    }
    return {name: round(value, DECIMALS) for name, value in figures.items()}


def evaluate_bundle(
    bundle_dir: Path, cases: Sequence[Case], report: Report = print
) -> dict[str, Any]:
    """Return the bundle's scores on `cases` as plain data, ready for its evaluation.json."""
    names = structure_names(bundle_dir)
    scores = score_cases(cases, bundle_predictor(bundle_dir), list(names), report)
    return {
        "metric": "Dice, on the voxel grid of the source image",
        "weights_sha256": weights_digest(bundle_dir),
        "cases": len(scores),
        "structures": summarise(scores, names),
        "per_case": {
            score.stem: {names[v]: round(d, DECIMALS) for v, d in score.dice.items()}
            for score in sorted(scores, key=lambda score: score.stem)
        },
    }


def weights_digest(bundle_dir: Path) -> str:
    """Return the hexadecimal SHA-256 of the weights, which ties a measure to what it measured."""
    return sha256((bundle_dir / WEIGHTS_FILE).read_bytes()).hexdigest()


def write_evaluation(bundle_dir: Path, evaluation: dict[str, Any]) -> None:
    """Write the bundle's evaluation.json."""
    path = bundle_dir / EVALUATION_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(evaluation, indent=2) + "\n")
