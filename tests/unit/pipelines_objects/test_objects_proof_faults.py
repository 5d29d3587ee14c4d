"""Every fault that a written segmentation can have is caught and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from pipelines.errors import ProofFailed
from pipelines.objects.proof import prove_segmentation
from tests.unit.pipelines_objects.proved_objects import Mutation, proved
from tests.unit.pipelines_objects.result_requests import label_map, segmentation_request
from tests.unit.pipelines_objects.synthetic_series import (
    classic_series,
    enhanced_series,
)


def repacked(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Mutation:
    """Change the voxels [frame, row, column] of a BINARY SEG."""

    def mutate(seg: Dataset) -> None:
        shape = int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns)
        bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
        changed = change(bits[: int(np.prod(shape))].reshape(shape))
        seg.PixelData = np.packbits(changed.ravel(), bitorder="little").tobytes()

    return mutate


def moved(offset_mm: tuple[float, float, float]) -> Mutation:
    def mutate(seg: Dataset) -> None:
        for frame in seg.PerFrameFunctionalGroupsSequence:
            (place,) = frame.PlanePositionSequence
            place.ImagePositionPatient = [
                float(value) + step
                for value, step in zip(place.ImagePositionPatient, offset_mm, strict=True)
            ]

    return mutate


def turned(seg: Dataset) -> None:
    (place,) = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    cosines = list(place.ImageOrientationPatient)
    place.ImageOrientationPatient = [-value for value in cosines[:3]] + cosines[3:]


def wider(seg: Dataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.9, 0.9]


def renumbered(seg: Dataset) -> None:
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (item,) = frame.SegmentIdentificationSequence
        item.ReferencedSegmentNumber = 3 - item.ReferencedSegmentNumber


def undescribed(seg: Dataset) -> None:
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 3


def misreferenced(seg: Dataset) -> None:
    first, second = (
        frame.DerivationImageSequence[0].SourceImageSequence[0]
        for frame in seg.PerFrameFunctionalGroupsSequence[:2]
    )
    first.ReferencedSOPInstanceUID = second.ReferencedSOPInstanceUID


def shortened(seg: Dataset) -> None:
    seg.PerFrameFunctionalGroupsSequence = seg.PerFrameFunctionalGroupsSequence[:-1]
    seg.NumberOfFrames -= 1


def repeated(seg: Dataset) -> None:
    frames = seg.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence
    frames[1].DerivationImageSequence = frames[0].DerivationImageSequence


def retracked(seg: Dataset) -> None:
    first, second = seg.SegmentSequence
    first.TrackingUID, second.TrackingUID = second.TrackingUID, first.TrackingUID


def forgetful(seg: Dataset) -> None:
    (series,) = seg.ReferencedSeriesSequence
    series.ReferencedInstanceSequence = series.ReferencedInstanceSequence[1:]


def of_another_series(seg: Dataset) -> None:
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = "2.25.7"


def unplaced(seg: Dataset) -> None:
    del seg.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def with_value(keyword: str, value: Any) -> Mutation:
    return lambda seg: setattr(seg, keyword, value)


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "shifted by one column": (repacked(lambda v: np.roll(v, 1, axis=2)), "differs in"),
    "shifted by one row": (repacked(lambda v: np.roll(v, 1, axis=1)), "differs in"),
    "mirrored left and right": (repacked(lambda v: v[:, :, ::-1]), "differs in"),
    "mirrored up and down": (repacked(lambda v: v[:, ::-1]), "differs in"),
    "transposed blocks": (repacked(lambda v: v[::-1]), "differs in"),
    "moved by half a pixel": (moved((0.4, 0.0, 0.0)), "off every slice"),
    "moved by one slice": (moved((0.463, 1.587, 1.875)), "off every slice|another image|lacks"),
    "orientation turned": (turned, "off every slice"),
    "pixels too wide": (wider, "off every slice"),
    "segments swapped": (renumbered, "differs in|lacks|twice"),
    "an undescribed segment": (undescribed, "undescribed"),
    "a frame that names another image": (misreferenced, "references another image"),
    "a frame is missing": (shortened, "lacks slice"),
    "a slice is there twice": (repeated, "twice"),
    "tracking swapped": (retracked, "Tracking UID"),
    "an image is not referenced": (forgetful, "other instances"),
    "another series is referenced": (of_another_series, "other series"),
    "no segments": (lambda seg: delattr(seg, "SegmentSequence"), "cannot be read back"),
    "a frame without a place": (unplaced, "cannot be read back"),
    "another frame of reference": (with_value("FrameOfReferenceUID", "2.25.5"), "FrameOfReference"),
    "another study": (with_value("StudyInstanceUID", "2.25.5"), "StudyInstanceUID"),
    "another patient": (with_value("PatientID", "PID-8"), "PatientID"),
    "another name": (with_value("PatientName", "Gruen^Zoe"), "PatientName"),
    "pixel data cut short": (lambda seg: setattr(seg, "PixelData", b"\0\0"), "cannot be read back"),
    "another object": (with_value("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"), "cannot be read"),
}


@pytest.mark.parametrize(("mutate", "message"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_fault_is_caught_and_named(tmp_path: Path, mutate: Mutation, message: str) -> None:
    with pytest.raises(ProofFailed, match=message) as failed:
        proved(tmp_path, classic_series(), label_map(), mutate)
    assert "2.25." not in str(failed.value)
    assert "PID" not in str(failed.value)
    assert "Zo" not in str(failed.value)


def test_a_frame_that_names_another_frame_of_an_enhanced_image_is_caught(tmp_path: Path) -> None:
    def mutate(seg: Dataset) -> None:
        derivation = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
        image = derivation.SourceImageSequence[0]
        image.ReferencedFrameNumber = 7 - image.ReferencedFrameNumber

    with pytest.raises(ProofFailed, match="references another image"):
        proved(tmp_path, enhanced_series(), label_map(), mutate)


def test_values_between_none_and_all_are_caught(tmp_path: Path) -> None:
    def mutate(seg: Dataset) -> None:
        seg.PixelData = seg.PixelData.replace(b"\x01", b"\x02", 1)

    shape = (5, 23, 29)
    with pytest.raises(ProofFailed, match="cannot be read back"):
        proved(tmp_path, classic_series(shape), label_map(shape), mutate)


def test_another_transfer_syntax_is_caught(tmp_path: Path) -> None:
    def mutate(seg: Dataset) -> None:
        seg.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    with pytest.raises(ProofFailed, match="cannot be read back"):
        proved(tmp_path, classic_series(), label_map(), mutate)


def test_a_file_that_is_no_dicom_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    path.write_bytes(b"nothing of the kind")
    source, labels = classic_series(), label_map()
    with pytest.raises(ProofFailed, match="cannot be read back"):
        prove_segmentation(path, labels, source, segmentation_request(source, labels).structures)
