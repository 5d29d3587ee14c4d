"""Find, check, split and load pairs of an image and the label map drawn on it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from torch import Tensor

from pipelines.training.errors import TrainingError

SUFFIX = ".nii.gz"
HELD_OUT_PARTS = 5  # one part in five is never trained on
LARGEST_CROP_MM = 128  # a longer edge is a whole head, not a hippocampus crop

Report = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One subject's files: `stem` is the file name without .nii.gz."""

    stem: str
    image_path: Path
    label_path: Path


@dataclass(frozen=True)
class Split:
    """Which stems are trained on, and which are kept for the final measure alone."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class TrainingVolume:
    """A case in memory, axes (x, y, z) towards right, anterior, superior, 1 mm voxels.

    `image` is float32 [1, X, Y, Z] after the bundle's preprocessing; `label` is uint8 [X, Y, Z].
    """

    stem: str
    image: Tensor
    label: Tensor


def split_stems(stems: Iterable[str]) -> Split:
    """Split by file name alone: the order of the names' SHA-256 decides, not their order here."""
    ordered = sorted(set(stems), key=lambda stem: sha256(stem.encode()).hexdigest())
    count = len(ordered) // HELD_OUT_PARTS
    return Split(training=tuple(ordered[count:]), held_out=tuple(ordered[:count]))


def find_cases(data_dir: Path, report: Report = print) -> list[Case]:
    """Return the usable pairs under `data_dir`, by stem; each left out is reported with why."""
    images, labels = _stems(data_dir / "images"), _stems(data_dir / "labels")
    for stem in sorted(images ^ labels):
        report(f"{stem}: left out, no {'label' if stem in images else 'image'} of that name")
    cases = [_case(data_dir, stem) for stem in sorted(images & labels)]
    usable = [case for case in cases if _is_usable(case, report)]
    if not usable:
        raise TrainingError(
            f"{data_dir} holds no usable pair: give images/ and labels/ with "
            f"*{SUFFIX} files of the same names"
        )
    return usable


def choose(cases: Sequence[Case], stems: Iterable[str]) -> list[Case]:
    """Return the cases with these stems, in the order of `cases`."""
    wanted = set(stems)
    return [case for case in cases if case.stem in wanted]


def load_volume(case: Case, preprocessing: Callable[[dict[str, str]], Any]) -> TrainingVolume:
    """Load one case, its image through the bundle's own preprocessing (which ends in RAS, 1 mm)."""
    image = preprocessing({"image": str(case.image_path)})["image"].as_tensor()
    label = _label_in_ras(case.label_path)
    if tuple(image.shape[1:]) != label.shape:
        raise TrainingError(
            f"{case.stem}: the preprocessed image has shape "
            f"{tuple(image.shape[1:])}, its label {label.shape}; training needs "
            "1 mm voxels, so resample both first"
        )
    return TrainingVolume(case.stem, image.float().contiguous(), torch.from_numpy(label))


def read_label(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a label map as uint8 [i, j, k] on the grid it was stored on."""
    return np.asarray(nibabel.load(path).dataobj).astype(np.uint8)


def _label_in_ras(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    nearest = nibabel.as_closest_canonical(nibabel.load(path))
    return np.ascontiguousarray(np.asarray(nearest.dataobj).astype(np.uint8))


def _stems(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise TrainingError(
            f"{folder} is not a folder: --data must name a folder that holds images/ and labels/"
        )
    # Archives made on a Mac carry "._name" twins that are no images.
    return {p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}") if p.name[0] != "."}


def _case(data_dir: Path, stem: str) -> Case:
    name = stem + SUFFIX
    return Case(stem, data_dir / "images" / name, data_dir / "labels" / name)


def _is_usable(case: Case, report: Report) -> bool:
    reason = _reason_to_leave_out(case)
    if reason:
        report(f"{case.stem}: left out, {reason}")
    return not reason


def _reason_to_leave_out(case: Case) -> str:
    try:
        image, label = nibabel.load(case.image_path), nibabel.load(case.label_path)
    except (OSError, ImageFileError) as error:
        return f"not readable ({error})"
    if image.shape != label.shape:
        return f"image {image.shape} and label {label.shape} differ in shape"
    if len(image.shape) != 3 or max(image.shape) > LARGEST_CROP_MM:
        return f"shape {image.shape} is no crop around one hippocampus"
    if not np.allclose(image.affine, label.affine, atol=1e-3):
        return "image and label lie in different places (affines differ)"
    return ""
