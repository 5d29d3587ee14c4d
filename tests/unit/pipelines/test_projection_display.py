"""An X-ray as a screen shows it, and as the model sees it: windows, tables, orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode
from pipelines.input_reading import read_input
from tests.unit.pipelines.projections import chest, saved, x_ray
from tests.unit.pipelines.read_x_rays import DISPLAYED, read, refused


def shown(tmp_path: Path, **attributes: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = read(tmp_path, DISPLAYED, **attributes).voxels[0]
    return found


def test_a_window_is_applied_as_a_screen_does(tmp_path: Path) -> None:
    found = shown(tmp_path, WindowCenter=2000, WindowWidth=1001)
    expected = np.rint(255 * np.clip((chest() - 1999.5) / 1000 + 0.5, 0, 1))
    assert np.array_equal(found, expected)
    several = shown(tmp_path, WindowCenter=[2000, 50], WindowWidth=[1001, 10])
    assert np.array_equal(several, expected)


def test_exact_and_sigmoid_windows_have_their_own_functions(tmp_path: Path) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    exact = shown(tmp_path, **window, VOILUTFunction="LINEAR_EXACT")
    assert np.array_equal(exact, np.rint(255 * np.clip((chest() - 2000.0) / 1000 + 0.5, 0, 1)))
    sigmoid = shown(tmp_path, **window, VOILUTFunction="SIGMOID")
    assert np.array_equal(sigmoid, np.rint(255 / (1 + np.exp(-4 * (chest() - 2000.0) / 1000))))


def test_a_table_is_looked_up(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 8], [n // 16 for n in range(4096)]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    assert np.array_equal(shown(tmp_path, VOILUTSequence=[item]), chest() // 16)


def test_a_monochrome1_image_looks_the_same_on_the_screen(tmp_path: Path) -> None:
    window: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 1000}
    window["VOILUTFunction"] = "LINEAR_EXACT"
    plain = shown(tmp_path, **window)
    turned = {**window, "WindowCenter": 4095 - 2000}
    other = x_ray(4095 - chest(), PhotometricInterpretation="MONOCHROME1", **turned)
    found = read_input([saved(other, tmp_path / "other")], DISPLAYED).voxels[0]
    assert np.abs(found - plain).max() <= 1  # halves are rounded the other way


def test_padding_is_black_on_the_screen_whichever_way_round(tmp_path: Path) -> None:
    pixels = chest()
    pixels[:5] = 4095
    for kind, padding in (("MONOCHROME2", 4095), ("MONOCHROME1", 4095)):
        image = x_ray(pixels, PhotometricInterpretation=kind)
        image.PixelPaddingValue = padding
        image["PixelPaddingValue"].VR = "US"
        found = read_input([saved(image, tmp_path / kind)], DISPLAYED).voxels[0]
        assert found[:5].max() == 0, kind
        assert found[5:].max() == 255, kind


def test_without_a_window_the_whole_range_is_shown_and_a_picture_stays_as_it_is(
    tmp_path: Path,
) -> None:
    found = shown(tmp_path)
    assert (found.min(), found.max()) == (0, 255)
    picture = x_ray((chest() // 20).astype(np.uint16), BitsStored=8, HighBit=7)
    path = saved(picture, tmp_path / "picture")
    assert np.array_equal(read_input([path], DISPLAYED).voxels[0], chest() // 20)


@pytest.mark.parametrize(
    "broken",
    [
        {"WindowCenter": 10, "WindowWidth": 0},
        {"WindowCenter": 10, "WindowWidth": -5},
        {"WindowCenter": 10, "WindowWidth": 5, "VOILUTFunction": "CUBIC"},
        {"VOILUTSequence": [Dataset()]},
    ],
)
def test_a_window_that_nobody_can_apply_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    assert refused(tmp_path, DISPLAYED, **broken).code is RefusalCode.UNREADABLE_PIXELS
