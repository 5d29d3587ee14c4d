"""A series that holds more than one volume: told apart, chosen from, or refused with figures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.criteria import Criterion
from pipelines.errors import RefusalCode, Refused
from pipelines.reading_policy import ReadingPolicy, SeveralVolumes
from pipelines.series_volume import SeriesVolume, read_series
from tests.unit.pipelines.volume_files import write_enhanced, write_series

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SHAPE = (5, 6, 8)

Edit = Callable[[Dataset, int], None]


def ramp(first: int = 0, slices: int = 5) -> NDArray[np.uint16]:
    return np.arange(first, first + slices * 48, dtype=np.uint16).reshape(slices, 6, 8)


def having(**attributes: Any) -> Edit:
    def edit(image: Dataset, _: int) -> None:
        for keyword, value in attributes.items():
            setattr(image, keyword, value)

    return edit


def mixed(folder: Path, *parts: tuple[NDArray[Any], dict[str, Any]]) -> list[Path]:
    """One series of several stacks, its files in no order; each part may have its own geometry."""
    paths = []
    for number, (stored, options) in enumerate(parts):

        def edit(image: Dataset, index: int, number: int = number, **_: Any) -> None:
            image.SOPInstanceUID = f"2.25.77.{number}.{index}"

        own = options.get("edit")

        def both(image: Dataset, index: int, own: Edit | None = own, edit: Edit = edit) -> None:
            edit(image, index)
            if own is not None:
                own(image, index)

        paths += write_series(folder / str(number), stored, **{**options, "edit": both})
    random.Random(3).shuffle(paths)
    return paths


def refused(paths: Sequence[Path], policy: ReadingPolicy | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        read_series(paths, policy or ReadingPolicy())
    return caught.value


def chosen(
    paths: Sequence[Path], several_volumes: SeveralVolumes = "refuse", *tests: Criterion
) -> SeriesVolume:
    return read_series(paths, ReadingPolicy(several_volumes=several_volumes, where=tests))


TOLD_APART: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "echo": ({"EchoNumbers": 1, "EchoTime": 10}, {"EchoNumbers": 2, "EchoTime": 80}),
    "echo by its time": ({"EchoTime": 2.4}, {"EchoTime": 4.8}),
    "b-value": ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}),
    "image type": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "M"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
    ),
    "temporal position": ({"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}),
    "cardiac phase": ({"TriggerTime": 0}, {"TriggerTime": 300}),
    "acquisition number": ({"AcquisitionNumber": 2}, {"AcquisitionNumber": 10}),
    "acquisition time": ({"AcquisitionTime": "093000"}, {"AcquisitionTime": "093200"}),
    "convolution kernel": ({"ConvolutionKernel": "B20f"}, {"ConvolutionKernel": "B70f"}),
}


@pytest.mark.parametrize(("first", "second"), TOLD_APART.values(), ids=TOLD_APART)
def test_slices_at_the_same_places_are_told_apart(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    parts = (ramp(500), {"edit": having(**second)}), (ramp(), {"edit": having(**first)})
    paths = mixed(tmp_path, *parts)
    refusal = refused(paths)
    assert refusal.code is RefusalCode.SEVERAL_VOLUMES
    assert "2 volumes that fit, of 5, 5 slices, each with its own" in refusal.text
    assert np.array_equal(chosen(paths, "first").voxels, ramp())
    assert np.array_equal(chosen(paths[::-1], "first").voxels, ramp())


def test_the_criteria_choose_among_the_volumes_of_a_series(tmp_path: Path) -> None:
    paths = mixed(
        tmp_path,
        (ramp(), {"edit": having(DiffusionBValue=0.0)}),
        (ramp(500), {"edit": having(DiffusionBValue=1000.0)}),
    )
    wanted = Criterion.model_validate({"tag": "DiffusionBValue", "equals": 1000})
    assert np.array_equal(chosen(paths, "refuse", wanted).voxels, ramp(500))
    absent = Criterion.model_validate({"tag": "DiffusionBValue", "equals": 50})
    assert refused(paths, ReadingPolicy(where=(absent,))).code is RefusalCode.NO_PIPELINE_MATCHES


def test_the_longest_volume_can_be_wanted(tmp_path: Path) -> None:
    paths = mixed(
        tmp_path,
        (ramp(), {"edit": having(AcquisitionNumber=1)}),
        (ramp(500, 7), {"edit": having(AcquisitionNumber=2)}),
    )
    volume = chosen(paths, "most_slices")
    assert np.array_equal(volume.voxels, ramp(500, 7))
    assert {int(header.AcquisitionNumber) for header in volume.headers} == {2}


def test_an_acquisition_number_of_its_own_for_each_slice_is_one_volume(tmp_path: Path) -> None:
    def numbered(image: Dataset, index: int) -> None:
        image.AcquisitionNumber, image.AcquisitionTime = index + 1, f"0930{index:02d}"

    paths = write_series(tmp_path, ramp(), edit=numbered)
    assert np.array_equal(read_series(paths).voxels, ramp())


def test_a_slice_sent_twice_is_no_second_volume(tmp_path: Path) -> None:
    def timed(image: Dataset, index: int) -> None:
        image.AcquisitionTime = f"0930{index:02d}"

    paths = mixed(tmp_path, (ramp(), {"edit": timed}), (ramp(500, 1), {}))
    refusal = refused(paths)
    assert refusal.code is RefusalCode.DUPLICATE_POSITIONS
    assert "6 slices lie at 5 positions" in refusal.text


def test_a_stray_slice_of_another_direction_is_left_out(tmp_path: Path) -> None:
    paths = mixed(tmp_path, (ramp(), {}), (ramp(500, 1), {"orientation": CORONAL}))
    volume = read_series(paths)
    assert np.array_equal(volume.voxels, ramp())
    assert len(volume.headers) == 5


def test_localizers_and_captures_among_the_slices_are_left_out(tmp_path: Path) -> None:
    scout = having(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    capture = having(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None)
    paths = mixed(
        tmp_path,
        (ramp(), {}),
        (ramp(500, 2), {"edit": scout}),
        (ramp(600, 1), {"edit": capture}),
    )
    assert np.array_equal(read_series(paths).voxels, ramp())


def test_derived_images_are_read_where_the_policy_allows_them(tmp_path: Path) -> None:
    edit = having(ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    paths = write_series(tmp_path, ramp(), edit=edit)
    refusal = refused(paths)
    assert refusal.code is RefusalCode.DERIVED
    assert "5 of 5 images are derived" in refusal.text
    assert "allow_derived" in refusal.text
    volume = read_series(paths, ReadingPolicy(allow_derived=True))
    assert np.array_equal(volume.voxels, ramp())


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"spacing_mm": (1.0, 1.0, 1.5)}, RefusalCode.MIXED_SPACING),
        ({"orientation": (0.999, 0.0447, 0.0, -0.0447, 0.999, 0.0)}, RefusalCode.MIXED_ORIENTATION),
    ],
    ids=["spacing", "orientation"],
)
def test_a_slice_that_the_volume_may_lack_is_not_left_out(
    tmp_path: Path, options: dict[str, Any], code: RefusalCode
) -> None:
    stray = {**options, "origin": (-20.0, -30.0, 15.0)}
    assert refused(mixed(tmp_path, (ramp(), {}), (ramp(500, 1), stray))).code is code


def test_two_stacks_of_different_directions_are_two_volumes(tmp_path: Path) -> None:
    paths = mixed(tmp_path, (ramp(), {}), (ramp(500), {"orientation": CORONAL}))
    assert refused(paths).code is RefusalCode.SEVERAL_VOLUMES
    volume = read_series(paths, ReadingPolicy(orientations=("coronal",)))
    assert np.array_equal(volume.voxels, ramp(500))


def enhanced(path: Path, keyword: str, group: str, values: Sequence[Any]) -> Path:
    """Frames that alternate between the values, each value at all five places."""
    frames = [number for number in range(5) for _ in values]

    def edit(image: Dataset) -> None:
        for index, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
            item = Dataset()
            setattr(item, keyword, values[index % len(values)])
            setattr(frame, group, [item])
            frame.PixelValueTransformationSequence[0].RescaleSlope = 1 + index % len(values)

    return write_enhanced(path, ramp(), slice_of_frame=frames, edit=edit)


@pytest.mark.parametrize(
    ("keyword", "group", "values"),
    [
        ("DiffusionBValue", "MRDiffusionSequence", [0.0, 800.0]),
        ("EffectiveEchoTime", "MREchoSequence", [4.6, 9.2]),
        ("TemporalPositionIndex", "FrameContentSequence", [1, 2]),
        ("StackID", "FrameContentSequence", ["1", "2"]),
        (
            "FrameType",
            "MRImageFrameTypeSequence",
            [["ORIGINAL", "PRIMARY", "M", "NONE"], ["ORIGINAL", "PRIMARY", "P", "NONE"]],
        ),
    ],
)
def test_frames_of_an_enhanced_image_are_told_apart_by_their_groups(
    tmp_path: Path, keyword: str, group: str, values: list[Any]
) -> None:
    path = enhanced(tmp_path / "e.dcm", keyword, group, values)
    assert refused([path]).code is RefusalCode.SEVERAL_VOLUMES
    volume = chosen([path], "first")
    assert volume.frame_numbers == (1, 3, 5, 7, 9)
    assert np.array_equal(volume.voxels, ramp())


def test_a_series_without_frame_of_reference_counts_as_its_own_where_allowed(
    tmp_path: Path,
) -> None:
    paths = write_series(tmp_path, ramp(), edit=having(FrameOfReferenceUID=None))
    assert refused(paths).code is RefusalCode.NO_GEOMETRY
    policy = ReadingPolicy(allow_no_frame_of_reference=True)
    uids = {str(header.FrameOfReferenceUID) for header in read_series(paths, policy).headers}
    assert len(uids) == 1
    assert uids.pop().startswith("2.25.")
