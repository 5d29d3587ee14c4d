"""The gate before a SEG leaves: read the file back and compare it with what was computed.

Each frame is placed by its own tags on the planes that the source images state, and compared
voxel by voxel with the label map. A result on the wrong slice or side never gets past here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.labels import Labels, slice_counts, slice_mask
from pipelines.objects.decoded_segmentation import (
    UNREADABLE,
    DecodedSegmentation,
    SegmentationFrame,
    decode_segmentation,
)
from pipelines.objects.description import SegmentDescription
from pipelines.objects.source_header import patient_and_study
from pipelines.objects.source_series import SourcePlane, SourceSeries

PLACE_TOLERANCE = 0.1
"""How far, in pixels, a frame may lie from its source plane: digits lost in decimal strings."""

AFFINE_TOLERANCE = 0.5
"""How far, in voxels, the regular grid may lie from an image's own position."""


def prove_segmentation(
    path: Path,
    label_map: Labels,
    source: SourceSeries,
    structures: Sequence[SegmentDescription],
    *,
    affine_lps: NDArray[np.float64] | None = None,
) -> DecodedSegmentation:
    """Prove the SEG at `path` equal to `label_map` [slice, row, column] on the source grid.

    With `affine_lps` (index [slice, row, column] to LPS mm) also prove that the grid on which
    the model's answer was brought back is the grid of the images. Raises `ProofFailed`.
    """
    planes = source.planes()
    if affine_lps is not None:
        _prove_affine(affine_lps, planes, label_map.shape)
    with readable("SEG"):
        decoded = decode_segmentation(path)
        _prove_header(decoded, source)
        _prove_descriptions(decoded, structures)
        _prove_references(decoded, source)
        _prove_frames(decoded, label_map, planes, structures)
    return decoded


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn whatever an incomplete or broken file provokes into `ProofFailed`."""
    try:
        yield
    except UNREADABLE as error:
        # The error's own text may quote a value of the file.
        raise ProofFailed(f"{what} cannot be read back: {type(error).__name__}") from None


def _prove_header(decoded: DecodedSegmentation, source: SourceSeries) -> None:
    written, expected = decoded.dataset, source.first
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"):
        if written.get(keyword) != expected.get(keyword):
            raise ProofFailed(f"SEG has another {keyword} than the source")
    keyword = differing_attribute(written, expected)
    if keyword:
        raise ProofFailed(f"SEG has another {keyword} than the source")


def differing_attribute(written: Dataset, source: Dataset) -> str:
    """Name the first patient or study attribute that is not as in the source, '' if none."""
    for element in patient_and_study(source):
        if element.VR != "SQ" and str(written.get(element.keyword) or "") != str(
            element.value or ""
        ):
            return str(element.keyword)
    return ""


def _prove_descriptions(
    decoded: DecodedSegmentation, structures: Sequence[SegmentDescription]
) -> None:
    written = [
        (
            int(item.SegmentNumber),
            str(item.get("TrackingUID", "")),
            str(item.SegmentedPropertyTypeCodeSequence[0].CodeValue),
        )
        for item in decoded.dataset.SegmentSequence
    ]
    expected = [
        (item.segment_number, item.tracking_uid, item.property_type.value) for item in structures
    ]
    if written != expected:
        raise ProofFailed(
            "SEG describes other segments: number, Tracking UID or property type differ"
        )


def _prove_references(decoded: DecodedSegmentation, source: SourceSeries) -> None:
    series = decoded.dataset.get("ReferencedSeriesSequence") or []
    uids = [str(item.SeriesInstanceUID) for item in series]
    if uids != [str(source.first.SeriesInstanceUID)]:
        raise ProofFailed("SEG references other series than the source")
    written = {str(item.ReferencedSOPInstanceUID) for item in series[0].ReferencedInstanceSequence}
    if written != {str(header.SOPInstanceUID) for header in source.headers}:
        raise ProofFailed("SEG references other instances than the source series")


def _prove_frames(
    decoded: DecodedSegmentation,
    label_map: Labels,
    planes: Sequence[SourcePlane],
    structures: Sequence[SegmentDescription],
) -> None:
    values = {item.segment_number: item.label_value for item in structures}
    seen: set[tuple[int, int]] = set()
    _, rows, columns = label_map.shape
    places = np.stack([plane.corners(rows, columns) for plane in planes])
    for frame in decoded.frames:
        index = _slice_of(frame, planes, places)
        _prove_source(frame, planes[index])
        if frame.segment_number not in values:
            raise ProofFailed(f"frame {frame.number} belongs to an undescribed segment")
        if (frame.segment_number, index) in seen:
            raise ProofFailed(f"segment {frame.segment_number} has slice {index} twice")
        seen.add((frame.segment_number, index))
        expected = slice_mask(label_map, values[frame.segment_number], index)
        differing = int(np.count_nonzero(frame.mask != expected))
        if differing:
            raise ProofFailed(
                f"segment {frame.segment_number} differs in {differing} voxels of slice {index}"
            )
    for number, index in _slices_with_voxels(label_map, values):
        if (number, index) not in seen:
            raise ProofFailed(f"segment {number} lacks slice {index}")


def _slices_with_voxels(label_map: Labels, values: dict[int, int]) -> Iterator[tuple[int, int]]:
    counts = slice_counts(label_map, values.values())
    for number, value in values.items():
        yield from ((number, int(index)) for index in np.flatnonzero(counts[value]))


def _slice_of(
    frame: SegmentationFrame, planes: Sequence[SourcePlane], places: NDArray[np.float64]
) -> int:
    """Find the slice on which the frame lies by its own place, corner by corner.

    `places` holds the corners of all planes, (slice, 3, 3).
    """
    corners = frame.plane.corners(frame.pixels.rows, frame.pixels.columns)
    distances = np.abs(places - corners).max(axis=(1, 2))
    nearest = int(distances.argmin())
    if distances[nearest] > PLACE_TOLERANCE * min(planes[nearest].spacing_mm):
        raise ProofFailed(
            f"frame {frame.number} lies {distances[nearest]:.3f} mm off every slice of the source"
        )
    return nearest


def _prove_source(frame: SegmentationFrame, plane: SourcePlane) -> None:
    """A viewer draws the frame on the image it references, whatever its position says."""
    written = frame.plane.sop_instance_uid, frame.plane.frame_number
    if written != (plane.sop_instance_uid, plane.frame_number):
        raise ProofFailed(f"frame {frame.number} references another image than the one it lies on")


def _prove_affine(
    affine_lps: NDArray[np.float64], planes: Sequence[SourcePlane], shape: tuple[int, ...]
) -> None:
    _, rows, columns = shape
    for index, plane in enumerate(planes):
        corners = np.asarray(
            [[index, 0, 0, 1], [index, 0, columns - 1, 1], [index, rows - 1, 0, 1]], dtype=float
        )
        placed = (corners @ affine_lps.T)[:, :3]
        off = float(np.abs(placed - plane.corners(rows, columns)).max())
        if off > AFFINE_TOLERANCE * min(plane.spacing_mm):
            raise ProofFailed(f"the grid lies {off:.3f} mm off slice {index} of the source")
