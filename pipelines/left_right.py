"""Left/right test of a model: a case and its mirror image must give mirrored labels.

Every product has shipped a mask on the wrong side once, and a model whose training mixed up
left and right does so on every patient. The mirror image of a patient is the same voxels with the
left-right axis reversed; there, what was the left kidney is a right one at the mirrored place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from pipelines.labels import Labels, mask_of
from pipelines.series_volume import SeriesVolume

FEWEST_VOXELS = 50
LARGEST_SHARE = 0.9
LEAST_DICE = 0.5
SIDES = (("left", "right"), ("right", "left"))


class Verdict(StrEnum):
    """What the test said."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_MEANINGFUL = "not meaningful"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class LeftRightResult:
    """The verdict and its figures: Dice overlap by label, 1 for a perfect mirror image."""

    verdict: Verdict
    detail: str
    dice: Mapping[str, float]


def left_right_test(
    volumes: Mapping[str, SeriesVolume],
    label_names: Mapping[int, str],
    run: Callable[[Mapping[str, SeriesVolume]], Labels],
) -> LeftRightResult:
    """Compare the labels of a case with those of its mirror image.

    `run` gives the labels of volumes. Labels that fill nearly everything or nothing say nothing:
    a model with random weights is `not meaningful` or `failed`, never passed by chance.
    """
    axis = left_right_axis(next(iter(volumes.values())))
    straight = run(volumes)
    mirrored = run({role: _mirrored(volume, axis) for role, volume in volumes.items()})
    partner = mirror_partners(label_names)
    dice: dict[str, float] = {}
    for value, name in label_names.items():
        here = mask_of(straight, value)
        if FEWEST_VOXELS <= here.sum() <= LARGEST_SHARE * here.size:
            there = np.flip(mask_of(mirrored, partner[value]), axis)
            dice[name] = float(2 * (here & there).sum() / (here.sum() + there.sum()))
    return _judged(dice)


def _judged(dice: Mapping[str, float]) -> LeftRightResult:
    if not dice:
        text = "no label has enough voxels, or one fills nearly everything"
        return LeftRightResult(Verdict.NOT_MEANINGFUL, text, dice)
    low = {name: value for name, value in dice.items() if value < LEAST_DICE}
    mean = sum(dice.values()) / len(dice)
    told = f"{len(dice)} labels, mean Dice with the mirrored answer {mean:.2f}"
    if low:
        worst = ", ".join(
            f"{name} {low[name]:.2f}" for name in sorted(low, key=lambda n: low[n])[:5]
        )
        text = f"{told}; {len(low)} below {LEAST_DICE:g}: {worst}"
        return LeftRightResult(Verdict.FAILED, text, dice)
    return LeftRightResult(Verdict.PASSED, told, dice)


def left_right_axis(volume: SeriesVolume) -> int:
    """The array axis (slice, row, column) that runs nearest to the patient's left-right."""
    columns = volume.affine_lps[:3, :3]
    along = np.abs(columns[0]) / np.linalg.norm(columns, axis=0)
    return int(np.argmax(along))


def _mirrored(volume: SeriesVolume, axis: int) -> SeriesVolume:
    return replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))


def mirror_partners(label_names: Mapping[int, str]) -> dict[int, int]:
    """The label that each becomes in a mirror: the other side's, or itself."""
    by_words = {_words(name): value for value, name in label_names.items()}
    partners = {}
    for value, name in label_names.items():
        words = _words(name)
        other = next((words.replace(a, b) for a, b in SIDES if a in words), words)
        partners[value] = by_words.get(other, value)
    return partners


def _words(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
