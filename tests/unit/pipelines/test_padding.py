"""Pixels that the scanner never measured do not count as dark tissue, or as bright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.series_volume import read_series
from tests.unit.pipelines.volume_files import write_series


def stored(padding: int, dtype: Any) -> NDArray[Any]:
    values = np.arange(100, 100 + 5 * 6 * 8).reshape(5, 6, 8).astype(dtype)
    values[:, 0, :3] = padding
    return values


def read(folder: Path, pixels: NDArray[Any], modality: str, **attributes: Any) -> NDArray[Any]:
    def edit(image: Dataset, _: int) -> None:
        for keyword, value in attributes.items():
            setattr(image, keyword, value)

    return read_series(write_series(folder, pixels, modality=modality, edit=edit)).voxels


@pytest.mark.parametrize("told", [-2000, 63536], ids=["signed", "told unsigned"])
def test_padding_of_a_ct_is_air(tmp_path: Path, told: int) -> None:
    pixels = stored(-2000, np.int16)

    def edit(image: Dataset, _: int) -> None:
        image.RescaleIntercept, image.RescaleSlope = 1000, 1  # -2000 would become -1000
        image.add_new("PixelPaddingValue", "US" if told > 0 else "SS", told)

    paths = write_series(tmp_path, pixels, modality="CT", edit=edit)
    voxels = read_series(paths).voxels
    assert np.all(voxels[:, 0, :3] == -1024)
    assert np.array_equal(voxels[:, 1:], pixels[:, 1:] + np.float32(1000))


def test_padding_of_an_mr_is_as_dark_as_the_darkest_tissue(tmp_path: Path) -> None:
    voxels = read(tmp_path, stored(65535, np.uint16), "MR", PixelPaddingValue=65535)
    for number, values in enumerate(voxels):
        assert np.all(values[0, :3] == stored(0, np.uint16)[number, 0, 3])


def test_a_range_of_padding_is_padding_from_end_to_end(tmp_path: Path) -> None:
    pixels = stored(0, np.uint16)
    pixels[:, 0, 1], pixels[:, 0, 2] = 30, 60
    voxels = read(tmp_path, pixels, "MR", PixelPaddingValue=60, PixelPaddingRangeLimit=0)
    assert np.all(voxels[:, 0, :3] == voxels[:, 0, 3:4])


def test_an_empty_padding_value_names_no_padding(tmp_path: Path) -> None:
    pixels = stored(0, np.uint16)
    voxels = read(tmp_path, pixels, "MR", PixelPaddingValue=None)
    assert np.array_equal(voxels, pixels)


def test_a_padding_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    def edit(image: Dataset, _: int) -> None:
        image.add_new("PixelPaddingValue", "LO", "none")

    paths = write_series(tmp_path, stored(0, np.uint16), edit=edit)
    with pytest.raises(Refused) as caught:
        read_series(paths)
    assert caught.value.code is RefusalCode.UNREADABLE_PIXELS
