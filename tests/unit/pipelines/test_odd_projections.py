"""X-rays that are odd, but occur: what is made of them, or why they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import BreastTomosynthesisImageStorage

from pipelines.errors import RefusalCode, Refused
from pipelines.input_reading import read_input
from pipelines.reading_policy import ReadingPolicy
from pipelines.selection import NoMatch, Selection, select_inputs
from pipelines.series_volume import SeriesVolume
from pipelines.study_folder import series_of_folder
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.mammograms import (
    VIEWS,
    classes,
    inputs,
    mammogram,
    write_mammography,
)
from tests.unit.pipelines.projections import chest, saved, write_x_ray, x_ray

STORED = ReadingPolicy(kind="projection")
DISPLAYED = ReadingPolicy(kind="projection", values="displayed")


def read(path: Path, image: Dataset, policy: ReadingPolicy = STORED) -> SeriesVolume:
    return read_input([saved(image, path / "1.dcm")], policy)


def refused(path: Path, image: Dataset, policy: ReadingPolicy = STORED) -> Refused:
    with pytest.raises(Refused) as caught:
        read(path, image, policy)
    return caught.value


def test_bits_above_those_stored_are_no_pixels(tmp_path: Path) -> None:
    image = x_ray((chest() | 0x7000).astype(np.uint16))
    assert np.array_equal(read(tmp_path, image).voxels[0], chest())


@pytest.mark.parametrize("extended", [False, True], ids=["bare", "sign extended"])
def test_signed_pixels_of_12_bits_keep_their_sign(tmp_path: Path, extended: bool) -> None:
    signed = chest().astype(np.int16) - 2048
    pixels = signed.view(np.uint16) if extended else signed.view(np.uint16) & np.uint16(0x0FFF)
    image = x_ray(pixels, PixelRepresentation=1)
    assert np.array_equal(read(tmp_path, image).voxels[0], signed)


POLARITY = [
    ("MONOCHROME1", "INVERSE", None),
    ("MONOCHROME1", None, None),
    ("MONOCHROME2", "IDENTITY", None),
    ("MONOCHROME1", "IDENTITY", RefusalCode.INVERTED_VALUES),
    ("MONOCHROME2", "INVERSE", RefusalCode.INVERTED_VALUES),
]


@pytest.mark.parametrize("policy", [STORED, DISPLAYED], ids=["modality", "displayed"])
@pytest.mark.parametrize(("kind", "shape", "code"), POLARITY, ids=lambda one: str(one))
def test_black_and_white_are_told_by_attributes_that_agree(
    tmp_path: Path, kind: str, shape: str | None, code: RefusalCode | None, policy: ReadingPolicy
) -> None:
    bright = np.where(np.indices(chest().shape)[0] < 20, chest(), 100).astype(np.uint16)
    pixels = bright if kind == "MONOCHROME2" else (4095 - bright).astype(np.uint16)
    image = x_ray(pixels, PhotometricInterpretation=kind)
    if shape:
        image.PresentationLUTShape = shape
    if code is not None:
        found = refused(tmp_path, image, policy)
        assert (found.code, shape in found.text if shape else False) == (code, True)
        return
    values = read(tmp_path, image, policy).voxels[0]
    assert values[:20].mean() > values[20:].mean()


def test_a_definition_may_follow_the_photometric_interpretation(tmp_path: Path) -> None:
    image = x_ray(chest(), PresentationLUTShape="INVERSE")
    policy = ReadingPolicy(kind="projection", allow_contradictory_polarity=True)
    assert np.array_equal(read(tmp_path, image, policy).voxels[0], chest())


def table(first: int, vr: str) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [4096, first, 12])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    return item


@pytest.mark.parametrize(("first", "vr"), [(-2048, "SS"), (63488, "US")], ids=["SS", "US"])
def test_a_voi_lut_that_begins_below_zero_is_looked_up_there(
    tmp_path: Path, first: int, vr: str
) -> None:
    image = x_ray(chest(), RescaleIntercept=-2048)
    image.VOILUTSequence = [table(first, vr)]
    found = read(tmp_path, image, DISPLAYED).voxels[0]
    assert np.array_equal(found, np.rint(255 * (chest() / 4095.0)))


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 4000), (4000, 15)], ids=str)
def test_a_picture_of_a_few_pixels_is_refused_with_its_size(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    pixels = (np.indices(shape).sum(axis=0) * 37 % 900).astype(np.uint16)
    found = refused(tmp_path, x_ray(pixels))
    assert found.code is RefusalCode.TOO_SMALL
    assert f"{shape[0]} x {shape[1]} pixels" in found.text


def test_pixel_aspect_ratio_stands_in_where_no_spacing_is_stated(tmp_path: Path) -> None:
    image = x_ray(chest(), ImagerPixelSpacing=None, PixelAspectRatio=[2, 1])
    assert read(tmp_path, image).spacing_mm == (1.0, 2.0, 1.0)
    both = x_ray(chest(), PixelSpacing=[0.2, 0.2], PixelAspectRatio=[2, 1])
    assert read(tmp_path / "both", both).spacing_mm == (1.0, 0.2, 0.2)


def test_an_enhanced_image_is_no_plain_picture(tmp_path: Path) -> None:
    image = x_ray(chest(), PerFrameFunctionalGroupsSequence=[Dataset()])
    assert refused(tmp_path, image).code is RefusalCode.NOT_A_PROJECTION


def chosen(folder: Path, **image: Any) -> Selection | NoMatch:
    told = {**classes(0.5, 0.5), "inputs": inputs(**image), "several_projections": "per_view"}
    return select_inputs(definition(**told), [one.candidate for one in series_of_folder(folder)])


def write_others(folder: Path) -> None:
    """Tomosynthesis, a screen capture and a colour picture of views that are there already."""
    others: list[dict[str, Any]] = [
        {"SOPClassUID": BreastTomosynthesisImageStorage, "NumberOfFrames": 40},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
    ]
    for number, changes in enumerate(others, start=20):
        image = mammogram("rcc", **changes, SeriesInstanceUID=f"2.25.4.{number}")
        image.SOPInstanceUID, image.SeriesNumber = f"2.25.5.{number}", number
        saved(image, folder / f"{number}.dcm")


def test_tomosynthesis_and_captures_are_no_second_view(tmp_path: Path) -> None:
    write_mammography(tmp_path)
    write_others(tmp_path)
    found = chosen(tmp_path)
    assert isinstance(found, Selection)
    assert list(found.inputs) == list(VIEWS)
    told = "; ".join(found.rejected)
    assert "series 20, rcc: its images have several frames" in told
    assert "series 21, rcc: its images are secondary captures" in told
    assert "series 22, rcc: its images have colour" in told


def test_a_picture_made_of_tomosynthesis_is_told_by_its_image_type(tmp_path: Path) -> None:
    write_mammography(tmp_path)
    made = mammogram("rcc", SeriesInstanceUID="2.25.4.9", SeriesNumber=9)
    made.ImageType = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]
    made.SOPInstanceUID = "2.25.5.9"
    saved(made, tmp_path / "9.dcm")
    doubled = chosen(tmp_path)
    assert isinstance(doubled, NoMatch)
    assert doubled.code is RefusalCode.SEVERAL_IMAGES
    where = [
        {"tag": "Modality", "equals": "MG"},
        {"tag": "ImageType", "not_contains": "GENERATED_2D"},
    ]
    assert isinstance(chosen(tmp_path, where=where), Selection)


def test_a_single_x_ray_goes_on_as_before(tmp_path: Path) -> None:
    found = read_input([write_x_ray(tmp_path)], DISPLAYED)
    assert (found.voxels.min(), found.voxels.max()) == (0, 255)
