"""A model that knows left from right passes, one that does not is found out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pipelines.labels import Labels
from pipelines.left_right import Verdict, left_right_axis, left_right_test, mirror_partners
from pipelines.series_volume import SeriesVolume
from tests.unit.pipelines.label_map_cases import axial

NAMES = {1: "kidney_left", 2: "kidney_right", 3: "liver"}


def patient() -> SeriesVolume:
    """Bright body with an organ of its own brightness at the patient's right (low columns)."""
    voxels = np.zeros((8, 20, 30))
    voxels[2:6, 5:15, 3:8] = 100
    voxels[2:6, 5:15, 20:26] = 100
    voxels[2:6, 2:5, 4:12] = 300
    return axial(voxels)


def by_place(volumes: Mapping[str, SeriesVolume]) -> Labels:
    """Names sides by where they lie in the patient, as a sound model does."""
    voxels = volumes["image"].voxels
    labels = np.zeros(voxels.shape, dtype=np.uint8)
    middle = voxels.shape[2] // 2
    labels[..., middle:][voxels[..., middle:] == 100] = 1
    labels[..., :middle][voxels[..., :middle] == 100] = 2
    labels[voxels == 300] = 3
    return labels


def test_a_sound_model_passes() -> None:
    result = left_right_test({"image": patient()}, NAMES, by_place)
    assert result.verdict is Verdict.PASSED
    assert result.dice == {"kidney_left": 1.0, "kidney_right": 1.0, "liver": 1.0}


def test_a_model_that_goes_by_form_and_not_by_side_fails() -> None:
    def by_size(volumes: Mapping[str, SeriesVolume]) -> Labels:
        labels = by_place(volumes)
        assert isinstance(labels, np.ndarray)
        larger = 1 if (labels == 1).sum() > (labels == 2).sum() else 2
        named = labels.copy()
        named[labels == larger], named[labels == 3 - larger] = 1, 2
        return named

    result = left_right_test({"image": patient()}, NAMES, by_size)
    assert result.verdict is Verdict.FAILED
    assert "kidney_left 0.00" in result.detail


def test_an_answer_that_does_not_see_the_image_fails() -> None:
    def fixed(volumes: Mapping[str, SeriesVolume]) -> Labels:
        labels = np.zeros(volumes["image"].voxels.shape, dtype=np.uint8)
        labels[:, :, :9] = 3
        return labels

    assert left_right_test({"image": patient()}, NAMES, fixed).verdict is Verdict.FAILED


@pytest.mark.parametrize("value", [0, 3])
def test_nothing_or_everything_says_nothing(value: int) -> None:
    def flat(volumes: Mapping[str, SeriesVolume]) -> Labels:
        return np.full(volumes["image"].voxels.shape, value, dtype=np.uint8)

    assert left_right_test({"image": patient()}, NAMES, flat).verdict is Verdict.NOT_MEANINGFUL


def test_partners_are_found_by_the_words_for_sides() -> None:
    names = {1: "Left Kidney", 2: "right_kidney ", 3: "spleen", 4: "lung_left"}
    assert mirror_partners(names) == {1: 2, 2: 1, 3: 3, 4: 4}
    assert mirror_partners(NAMES) == {1: 2, 2: 1, 3: 3}


def test_the_axis_is_that_of_the_patient() -> None:
    assert left_right_axis(patient()) == 2
