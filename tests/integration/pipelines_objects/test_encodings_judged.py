"""Re-encoded results before independent judges: dicom3tools and dcmqi."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pipelines.objects.encoding import SegmentationForm
from pipelines.objects.reencode import reencode
from tests.peers.dicom_checkers import (
    dciodvfy,
    dsrdump,
    inflated,
    segimage2itkimage,
    tid1500reader,
)
from tests.unit.pipelines_objects.kept_result import Kept, kept_result
from tests.unit.pipelines_objects.synthetic_series import classic_series

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
READ_BY_DCMQI = (*NATIVE, RLELossless)
"""It takes JPEG-LS and JPEG 2000 for lossy in segmentations, and refuses them."""
SYNTAXES = (*READ_BY_DCMQI, JPEGLSLossless, JPEG2000Lossless)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept_result(tmp_path_factory.mktemp("kept"), classic_series((6, 40, 48)))


@pytest.mark.peer("dicom3tools")
@pytest.mark.parametrize("keeps_empty_frames", [False, True], ids=["omit", "keep"])
@pytest.mark.parametrize(
    "form", [SegmentationForm.BINARY, SegmentationForm.FRACTIONAL], ids=lambda form: form.value
)
def test_other_forms_are_without_fault_and_have_the_same_voxels(
    kept: Kept, form: SegmentationForm, keeps_empty_frames: bool, tmp_path: Path
) -> None:
    made = kept.made(form, keeps_empty_frames=keeps_empty_frames)
    path = kept.folder / "out" / made[0].path
    assert dciodvfy(path) == ()
    assert _voxels(path, tmp_path) == _expected(kept)


@pytest.mark.parametrize("syntax", READ_BY_DCMQI, ids=lambda uid: uid.keyword)
def test_dcmqi_reads_a_label_map_with_the_right_segments(
    kept: Kept, syntax: UID, tmp_path: Path
) -> None:
    made = kept.made(SegmentationForm.LABELMAP, segmentation_transfer_syntax=syntax)
    assert _voxels(kept.folder / "out" / made[0].path, tmp_path) == _expected(kept)


@pytest.mark.peer("dicom3tools", "dcmtk")
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_fractions_are_without_fault_in_every_transfer_syntax(
    kept: Kept, syntax: UID, tmp_path: Path
) -> None:
    made = kept.made(SegmentationForm.FRACTIONAL, segmentation_transfer_syntax=syntax)
    path = kept.folder / "out" / made[0].path
    assert dciodvfy(inflated(path, tmp_path)) == ()
    if syntax in READ_BY_DCMQI:
        assert _voxels(path, tmp_path) == _expected(kept)


@pytest.mark.peer("dicom3tools", "dcmtk")
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_bits_and_reports_are_without_fault_in_every_transfer_syntax(
    kept: Kept, syntax: UID, tmp_path: Path
) -> None:
    made = kept.made(
        SegmentationForm.BINARY, segmentation_transfer_syntax=syntax, report_transfer_syntax=syntax
    )
    seg, report = (kept.folder / "out" / each.path for each in made)
    for path in (seg, report):
        assert dciodvfy(inflated(path, tmp_path)) == ()
    assert dsrdump(report)[1] == ()
    assert _voxels(seg, tmp_path) == _expected(kept)
    groups = tid1500reader(report, tmp_path)["Measurements"]
    assert [group["ReferencedSegment"] for group in groups] == [1, 2]


@pytest.mark.peer("dicom3tools")
def test_the_report_of_a_split_result_is_read_with_its_parts(kept: Kept, tmp_path: Path) -> None:
    *parts, report = kept.made(SegmentationForm.BINARY, most_segments=1)
    paths = [kept.folder / "out" / part.path for part in parts]
    assert [dciodvfy(path) for path in paths] == [(), ()]
    path = kept.folder / "out" / report.path
    assert dciodvfy(path) == ()
    assert dsrdump(path)[1] == ()
    read = tid1500reader(path, tmp_path)
    uids = [group["segmentationSOPInstanceUID"] for group in read["Measurements"]]
    assert uids == [str(dcmread(each).SOPInstanceUID) for each in paths]


@pytest.mark.peer("dicom3tools")
def test_a_report_that_stands_alone_is_read_without_segments(kept: Kept, tmp_path: Path) -> None:
    request = kept.request(SegmentationForm.AUTO)
    (report,) = reencode(replace(request, segmentation=None, out_dir=tmp_path))
    path = tmp_path / report.path

    assert dciodvfy(path) == ()
    assert dsrdump(path)[1] == ()
    alone, whole = tid1500reader(path, tmp_path), tid1500reader(kept.folder / "sr.dcm", tmp_path)
    assert _measured(alone) == _measured(whole)
    assert [group.get("segmentationSOPInstanceUID") for group in alone["Measurements"]] == [
        None for _ in whole["Measurements"]
    ]


def _measured(read: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (group["TrackingUniqueIdentifier"], group["Finding"], group["measurementItems"])
        for group in read["Measurements"]
    ]


def _voxels(path: Path, folder: Path) -> dict[int, int]:
    images = segimage2itkimage(path, folder)
    return {number: int(np.count_nonzero(image.values)) for number, (image, _) in images.items()}


def _expected(kept: Kept) -> dict[int, int]:
    return {number: int((kept.labels == number).sum()) for number in (1, 2)}
