"""The same image as other senders would store it; the answer must not depend on that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.training.datasets import Case, read_label
from pipelines.training.evaluate import DECIMALS, Predict, bundle_predictor, dice, structure_names

Volume = NDArray[np.float32]
INT16_SPAN = 4000  # of the kind that a scanner writes


@dataclass(frozen=True)
class Variant:
    """`axis_codes` says where axes i, j, k point; `change` acts on the stored values.

    `border` voxels of the lowest value surround the image, as where a crop left the scan.
    """

    name: str
    axis_codes: str
    change: Callable[[Volume], Volume]
    border: int = 0


def _unchanged(values: Volume) -> Volume:
    return values


def _as_int16(values: Volume) -> Volume:
    low, high = float(values.min()), float(values.max())
    whole = np.round((values - low) / max(high - low, 1e-6) * INT16_SPAN)
    return whole.astype(np.int16).astype(np.float32)


def _surrounded(values: Volume, border: int) -> Volume:
    return np.pad(values, border, constant_values=values.min())


def _scaled_and_shifted(values: Volume) -> Volume:
    return values * np.float32(0.37) - np.float32(1024)


VARIANTS = (
    Variant("as read from the file", "RAS", _unchanged),
    Variant("intensities times 0.37 minus 1024", "RAS", _scaled_and_shifted),
    Variant("rounded to 16-bit integers", "RAS", _as_int16),
    Variant("axial slices, axes towards left, posterior, superior", "LPS", _as_int16),
    Variant("sagittal slices, axes towards posterior, inferior, left", "PIL", _as_int16),
    Variant("coronal slices, axes towards left, inferior, posterior", "LIP", _as_int16),
    Variant("a black border of 12 voxels on every side", "LPS", _as_int16, border=12),
)


def score_variants(
    bundle_dir: Path, cases: Sequence[Case], variants: Sequence[Variant] = VARIANTS
) -> dict[str, dict[str, float]]:
    """Return the mean Dice per structure for each way of storing the same cases."""
    names, predict = structure_names(bundle_dir), bundle_predictor(bundle_dir, from_file=False)
    return {variant.name: _mean_dice(cases, variant, predict, names) for variant in variants}


def store_as(
    array: NDArray[Any], affine: NDArray[np.float64], axis_codes: str
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the same voxels [i, j, k] with their axes turned to `axis_codes`, and the affine."""
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.axcodes2ornt(axis_codes)
    )
    back = orientations.inv_ornt_aff(turn, array.shape)
    return np.ascontiguousarray(orientations.apply_orientation(array, turn)), affine @ back


def _mean_dice(
    cases: Sequence[Case], variant: Variant, predict: Predict, names: dict[int, str]
) -> dict[str, float]:
    scores = [_score(case, variant, predict, list(names)) for case in cases]
    return {
        name: round(mean(score[value] for score in scores), DECIMALS)
        for value, name in names.items()
    }


def _score(
    case: Case, variant: Variant, predict: Predict, values: Sequence[int]
) -> dict[int, float]:
    source = nibabel.load(case.image_path)
    image, affine = store_as(source.get_fdata(dtype=np.float32), source.affine, variant.axis_codes)
    truth, _ = store_as(read_label(case.label_path), source.affine, variant.axis_codes)
    image = _surrounded(variant.change(image), variant.border)
    truth = np.pad(truth, variant.border)
    tensor = torch.from_numpy(image)[None]
    predicted = predict(_volume(tensor, affine))
    return {value: dice(predicted, truth, value) for value in values}


def _volume(tensor: torch.Tensor, affine: NDArray[np.float64]) -> MetaTensor:
    """Return [1, i, j, k] as a loader would hand it on: channel first, affine in RAS mm."""
    meta = {"original_channel_dim": 0, "space": "RAS"}
    return MetaTensor(tensor, affine=torch.from_numpy(affine), meta=meta)
