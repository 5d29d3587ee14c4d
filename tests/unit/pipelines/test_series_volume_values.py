"""Stored values become the values of the volume; what has none is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.series_volume import read_series
from tests.unit.pipelines.ramps import changed, ramp, refusal
from tests.unit.pipelines.volume_files import write_enhanced, write_series


def test_one_lossy_slice_makes_the_volume_lossy(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", ramp(), edit=changed("LossyImageCompression", "01", at=3))
    assert read_series(paths).is_lossy
    paths = write_series(tmp_path / "b", ramp(), edit=changed("LossyImageCompression", "00"))
    assert not read_series(paths).is_lossy


@pytest.mark.parametrize("value", [0, 700])
def test_a_blank_series_is_refused_with_its_figures(tmp_path: Path, value: int) -> None:
    paths = write_series(tmp_path, np.full((5, 6, 8), value, dtype=np.uint16))
    with pytest.raises(Refused, match=f"240 of 240 voxels have the same value, {value}") as caught:
        read_series(paths)
    assert caught.value.code is RefusalCode.NO_CONTRAST


def test_a_blank_enhanced_image_is_refused(tmp_path: Path) -> None:
    blank = np.zeros((5, 6, 8), dtype=np.uint16)
    path = write_enhanced(tmp_path / "e.dcm", blank, slice_of_frame=range(5))
    assert refusal([path]) is RefusalCode.NO_CONTRAST


def test_some_noise_does_not_make_an_image_and_a_small_object_does(tmp_path: Path) -> None:
    stored = np.full((5, 40, 40), 9, dtype=np.uint16)
    stored[2, 0, :7] = 1000
    assert refusal(write_series(tmp_path / "noise", stored)) is RefusalCode.NO_CONTRAST
    stored[2, 0, :8] = 1000
    assert read_series(write_series(tmp_path / "object", stored)).voxels.max() == 1000


def test_a_high_bit_that_is_not_the_highest_stored_one_is_refused(tmp_path: Path) -> None:
    def shifted(image: Dataset, _: int) -> None:
        image.BitsStored, image.HighBit = 12, 15

    paths = write_series(tmp_path, ramp() << 4, edit=shifted)
    with pytest.raises(Refused, match="HighBit is 15, and with BitsStored 12 must be 11") as caught:
        read_series(paths)
    assert caught.value.code is RefusalCode.UNREADABLE_PIXELS


def test_a_negative_slope_is_refused_for_mr_only(tmp_path: Path) -> None:
    edit = changed("RescaleSlope", "-1.5")
    with pytest.raises(Refused, match=r"RescaleSlope is -1\.5") as caught:
        read_series(write_series(tmp_path / "mr", ramp(), edit=edit))
    assert caught.value.code is RefusalCode.INVERTED_VALUES
    ct = read_series(write_series(tmp_path / "ct", ramp(), modality="CT", edit=edit))
    assert np.array_equal(ct.voxels, -1.5 * ramp())


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("RescaleSlope", "1E38"), ("RescaleSlope", "nan"), ("RescaleIntercept", "inf")],
)
def test_values_that_are_not_finite_are_refused_with_their_number(
    tmp_path: Path, keyword: str, value: str
) -> None:
    paths = write_series(tmp_path, ramp(), edit=changed(keyword, value))
    with pytest.raises(Refused, match=r"\d+ of 48 rescaled values are not finite") as caught:
        read_series(paths)
    assert caught.value.code is RefusalCode.UNREADABLE_PIXELS


def test_ct_padding_becomes_air(tmp_path: Path) -> None:
    stored = ramp(dtype=np.int16)
    stored[:, 0, 0] = -2000
    volume = read_series(write_series(tmp_path, stored, modality="CT"))
    assert volume.voxels[:, 0, 0].tolist() == [-1024] * 5
    assert np.array_equal(volume.voxels[:, 1:], stored[:, 1:])


def test_inverted_mr_values_are_turned_and_hounsfield_values_are_not(tmp_path: Path) -> None:
    edit = changed("PhotometricInterpretation", "MONOCHROME1")
    mr = read_series(write_series(tmp_path / "mr", ramp(), edit=edit))
    ct = read_series(write_series(tmp_path / "ct", ramp(), modality="CT", edit=edit))
    signed = read_series(write_series(tmp_path / "s", ramp(dtype=np.int16), edit=edit))
    assert np.array_equal(mr.voxels, 65535 - ramp().astype(np.int64))
    assert np.array_equal(ct.voxels, ramp())
    assert np.array_equal(signed.voxels, -1 - ramp().astype(np.int64))


def test_a_modality_lookup_table_is_applied(tmp_path: Path) -> None:
    def looked_up(image: Dataset, _: int) -> None:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [240, 0, 16], "US"
        table.LUTData = (3 * np.arange(240, dtype=np.uint16)).tobytes()
        image.ModalityLUTSequence = [table]
        image["ModalityLUTSequence"].value[0]["LUTDescriptor"].VR = "US"
        image["ModalityLUTSequence"].value[0]["LUTData"].VR = "OW"

    volume = read_series(write_series(tmp_path, ramp(), edit=looked_up))
    assert np.array_equal(volume.voxels, ramp() * 3)
