"""A proof that lets a wrong SEG pass is worse than none: every fault here must be caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from pipelines.errors import ProofFailed
from pipelines.objects.decoded_segmentation import DecodedSegmentation, decode_segmentation
from pipelines.objects.proof import prove_segmentation
from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import label_map, segmentation_request
from tests.unit.pipelines_objects.synthetic_series import (
    AXIAL,
    OBLIQUE,
    STEP_MM,
    classic_series,
    enhanced_series,
    regular_positions,
    tilted_positions,
)

Labels = NDArray[np.uint8]
Mutation = Callable[[Dataset], None]
SHAPE = (6, 24, 32)
GAPPED = [regular_positions(9)[index] for index in (0, 1, 2, 4, 5, 8)]


def affine(slices: int = 6) -> NDArray[np.float64]:
    """Grid of the regular oblique series: (slice, row, column, 1) to LPS mm."""
    positions = regular_positions(slices)
    matrix = np.eye(4)
    matrix[:3, 0] = positions[1] - positions[0]
    matrix[:3, 1] = np.asarray(OBLIQUE[3:]) * 0.9
    matrix[:3, 2] = np.asarray(OBLIQUE[:3]) * 0.8
    matrix[:3, 3] = positions[0]
    return matrix


def proved(
    folder: Path,
    source: SourceSeries,
    labels: Labels,
    mutate: Mutation | None = None,
    **options: Any,
) -> DecodedSegmentation:
    request = segmentation_request(source, labels)
    path = folder / "seg.dcm"
    write_object(build_segmentation(request), path)
    if mutate is not None:
        written = dcmread(path)
        mutate(written)
        written.save_as(path, enforce_file_format=True)
    return prove_segmentation(path, labels, source, request.structures, **options)


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        (classic_series(), label_map()),
        (classic_series(), np.where(label_map() == 2, 2, 0).astype(np.uint8)),
        (enhanced_series(), label_map()),
        (enhanced_series(per_frame=True, reverse=False), label_map()),
        (classic_series(orientation=AXIAL, positions=tilted_positions(6)), label_map()),
        (classic_series(positions=GAPPED), label_map()),
        (classic_series((5, 23, 29)), label_map((5, 23, 29))),
        (classic_series((3, 5, 7)), label_map((3, 5, 7))),
    ],
    ids=[
        "two segments",
        "one segment",
        "enhanced",
        "enhanced, geometry per frame",
        "tilted",
        "gapped",
        "odd matrix",
        "tiny odd matrix",
    ],
)
def test_what_was_written_is_what_was_computed(
    tmp_path: Path, source: SourceSeries, labels: Labels
) -> None:
    decoded = proved(tmp_path, source, labels)
    assert sum(int(frame.mask.sum()) for frame in decoded.frames) == np.count_nonzero(labels)


def test_the_grid_of_the_volume_is_proved_too(tmp_path: Path) -> None:
    proved(tmp_path, classic_series(), label_map(), affine_lps=affine())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_label_map_on_any_matrix_passes_and_counts_the_same(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.tuples(st.integers(2, 4), st.integers(1, 9), st.integers(1, 9))))
    voxels = data.draw(
        st.lists(st.integers(0, 3), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    labels = np.asarray(voxels, dtype=np.uint8).reshape(shape)
    labels[0, 0, 0] = 1
    with TemporaryDirectory() as folder:
        decoded = proved(Path(folder), classic_series((shape[0], shape[1], shape[2])), labels)
    values = [value for value in (1, 2) if (labels == value).any()]
    for number, value in enumerate(values, 1):
        assert decoded.voxel_count(number) == np.count_nonzero(labels == value)


@settings(max_examples=25, deadline=None)
@given(bit=st.integers(min_value=0))
def test_a_single_voxel_too_many_or_too_few_is_caught(bit: int) -> None:
    def flip(seg: Dataset) -> None:
        voxels = bytearray(seg.PixelData)
        place = bit % (int(seg.NumberOfFrames) * SHAPE[1] * SHAPE[2])
        voxels[place // 8] ^= 1 << place % 8
        seg.PixelData = bytes(voxels)

    with TemporaryDirectory() as folder, pytest.raises(ProofFailed, match="differs in 1 voxels"):
        proved(Path(folder), classic_series(), label_map(), flip)


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


@pytest.mark.parametrize(
    "change",
    [
        lambda grid: grid @ np.diag([1.0, 1.0, -1.0, 1.0]),
        lambda grid: grid @ np.diag([-1.0, 1.0, 1.0, 1.0]),
        lambda grid: grid[:, [0, 2, 1, 3]],
        lambda grid: np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid,
        lambda grid: grid + np.asarray([[0, 0, 0, 1.0]] * 3 + [[0, 0, 0, 0]]),
    ],
    ids=["mirrored columns", "reversed slices", "rows for columns", "RAS for LPS", "shifted"],
)
def test_a_volume_on_another_grid_than_its_images_is_caught(
    tmp_path: Path, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    with pytest.raises(ProofFailed, match="the grid lies"):
        proved(tmp_path, classic_series(), label_map(), affine_lps=change(affine()))


def test_volume_and_count_come_from_the_file_alone(tmp_path: Path) -> None:
    labels = label_map()
    proved(tmp_path, classic_series(), labels)
    decoded = decode_segmentation(tmp_path / "seg.dcm")
    assert decoded.voxel_volume_ml == pytest.approx(0.9 * 0.8 * STEP_MM / 1000)
    assert decoded.voxel_count(1) == np.count_nonzero(labels == 1)
