"""PET counts to uptake: figures worked out by hand, and a code where the header lacks one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.series_volume import read_series
from pipelines.suv import suv_factor
from tests.unit.pipelines.volume_files import write_series

HALF_LIFE_S = 6600.0
DOSE_BQ, WEIGHT_KG = 370e6, 74.0
FULL = WEIGHT_KG * 1000 / DOSE_BQ  # 0.0002 g/Bq


def pet(drug: dict[str, Any] | None = None, **changes: Any) -> Dataset:
    """Injected at 10:00, scanned one half-life later; `None` takes an attribute away."""
    item = Dataset()
    values = {
        "RadiopharmaceuticalStartTime": "100000",
        "RadionuclideTotalDose": DOSE_BQ,
        "RadionuclideHalfLife": HALF_LIFE_S,
    }
    _put(item, {**values, **(drug or {})})
    image = Dataset()
    header = {
        "Modality": "PT",
        "Units": "BQML",
        "CorrectedImage": ["ATTN", "DECY", "SCAT"],
        "DecayCorrection": "START",
        "SeriesDate": "20240115",
        "SeriesTime": "115000",
        "AcquisitionDate": "20240115",
        "AcquisitionTime": "115200",
        "PatientWeight": WEIGHT_KG,
        "RadiopharmaceuticalInformationSequence": [item],
    }
    _put(image, {**header, **changes})
    return image


def _put(item: Dataset, values: dict[str, Any]) -> None:
    for keyword, value in values.items():
        if value is not None:
            setattr(item, keyword, value)


def private(image: Dataset, group: int, creator: str, vr: str, **elements: Any) -> Dataset:
    block = image.private_block(group, creator, create=True)
    for offset, value in elements.items():
        block.add_new(int(offset.removeprefix("x"), 16), vr, value)
    return image


def test_a_dose_that_waited_one_half_life_counts_half() -> None:
    assert suv_factor(pet()) == pytest.approx(2 * FULL)


def test_images_corrected_to_the_injection_take_the_whole_dose() -> None:
    assert suv_factor(pet(DecayCorrection="ADMIN")) == pytest.approx(FULL)


def test_an_injection_before_midnight_is_of_the_day_before() -> None:
    image = pet({"RadiopharmaceuticalStartTime": "231000"}, SeriesTime="010000")
    assert suv_factor(image) == pytest.approx(2 * FULL)


def test_the_full_time_of_injection_wins_over_its_hour() -> None:
    drug = {"RadiopharmaceuticalStartDateTime": "20240115095000+0100"}
    assert suv_factor(pet(drug, SeriesTime="114000")) == pytest.approx(2 * FULL)


def test_a_series_made_again_later_takes_the_scan_start_of_the_manufacturer() -> None:
    image = pet(SeriesTime="180000")
    private(image, 0x0009, "GEMS_PETD_01", "DT", x0D="20240115115000.00")
    assert suv_factor(image) == pytest.approx(2 * FULL)


def test_uptake_is_taken_as_it_is() -> None:
    assert suv_factor(pet(Units="GML", PatientWeight=None)) == 1.0
    assert suv_factor(pet(Units="GML", SUVType="BW")) == 1.0


def test_counts_take_the_factors_of_the_manufacturer() -> None:
    group, creator = 0x7053, "Philips PET Private Group"
    direct = private(pet(Units="CNTS"), group, creator, "DS", x00="0.00042", x09="1.7")
    assert suv_factor(direct) == pytest.approx(0.00042)
    concentration = private(pet(Units="CNTS"), group, creator, "DS", x00="0", x09="1.5")
    assert suv_factor(concentration) == pytest.approx(3 * FULL)


@pytest.mark.parametrize(
    ("drug", "changes", "told"),
    [
        ({}, {"Units": None}, "Units is missing"),
        ({}, {"Units": "PROPCPS"}, "Units PROPCPS"),
        ({}, {"Units": "CNTS"}, "no factor of the manufacturer"),
        ({}, {"Units": "GML", "SUVType": "LBM"}, "SUVType is not BW"),
        ({}, {"CorrectedImage": ["ATTN"]}, "CorrectedImage"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection"),
        ({}, {"PatientWeight": None}, "PatientWeight is missing"),
        ({}, {"PatientWeight": 0}, "PatientWeight is 0, not positive"),
        ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose is missing"),
        ({"RadionuclideHalfLife": None}, {}, "RadionuclideHalfLife is missing"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartDateTime"),
        ({}, {"SeriesTime": "180000"}, "do not tell when the scan started"),
        ({}, {"SeriesTime": None}, "do not tell when the scan started"),
        (
            {"RadiopharmaceuticalStartDateTime": "20240113100000"},
            {},
            "the scan starts 49.8 h after the injection",
        ),
        ({"RadiopharmaceuticalStartTime": "130000"}, {}, r"22\.8 h .* which is 12\.5 half-lives"),
        ({"RadionuclideTotalDose": 370}, {}, "RadionuclideTotalDose is 370 Bq"),
        ({}, {"RadiopharmaceuticalInformationSequence": []}, "0 items, 1 is needed"),
    ],
)
def test_what_the_header_lacks_is_named(
    drug: dict[str, Any], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refused, match=told) as caught:
        suv_factor(pet(drug, **changes))
    assert caught.value.code is RefusalCode.NO_SUV


def test_a_pet_series_is_read_as_uptake_with_the_slope_of_each_slice(tmp_path: Path) -> None:
    stored = np.arange(5 * 6 * 8, dtype=np.uint16).reshape(5, 6, 8)

    def edit(image: Dataset, index: int) -> None:
        image.update(pet())
        image.RescaleSlope, image.RescaleIntercept = index + 1, 0

    volume = read_series(write_series(tmp_path, stored, modality="PT", edit=edit))
    slopes = np.arange(1, 6)[:, None, None]
    assert np.allclose(volume.voxels, stored * slopes * 2 * FULL, rtol=1e-6)
