"""Reads one series of CT or MR images into a volume on its own grid, or refuses it.

Headers are read and judged before pixels are decoded: images that are no slices are left out, the
slices of several volumes are told apart, and the volume that the policy wants must be regular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused
from pipelines.frames import frames_of
from pipelines.geometry import VolumeGeometry
from pipelines.image_kinds import slices_only
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.uids import frame_of_reference_uid
from pipelines.pixel_values import (
    frame_values,
    is_lossy,
    read_file,
    refuse_blank,
    refuse_lossy,
    refuse_unidentified,
    slice_values,
)
from pipelines.reading_policy import STRICT, ReadingPolicy
from pipelines.volume_choice import FoundVolume, chosen_volume
from pipelines.volume_split import stacks_of

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """One series as a volume.

    `voxels` is float32 [slice, row, column] in modality units (HU for CT). `affine_lps` takes
    (slice, row, column, 1) to LPS mm. `headers` hold no pixels: one per slice in slice order,
    or the single header of an enhanced image with `frame_numbers` (from 1) in slice order.
    """

    voxels: NDArray[np.float32]
    geometry: VolumeGeometry
    source: SourceSeries

    @property
    def headers(self) -> tuple[Dataset, ...]:
        """The source headers."""
        return self.source.headers

    @property
    def frame_numbers(self) -> tuple[int, ...]:
        """Frame number of each slice of an enhanced image; () for classic images."""
        return self.source.frame_numbers

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """4x4, (slice, row, column, 1) to LPS mm."""
        return self.geometry.affine_lps

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between (slices, rows, columns)."""
        return self.geometry.spacing_mm

    @property
    def orientation(self) -> str:
        """`axial`, `coronal`, `sagittal` or `oblique`; `projection` for a single X-ray."""
        return self.geometry.plane

    @property
    def is_projection(self) -> bool:
        """Whether it is one image without a place in the patient, its own affine in mm alone."""
        return self.source.is_projection

    @property
    def is_lossy(self) -> bool:
        """Whether any image was ever compressed with loss (0028,2110, or by its encoding)."""
        return any(is_lossy(header) for header in self.headers)


def read_series(paths: Sequence[Path], policy: ReadingPolicy = STRICT) -> SeriesVolume:
    """Read the one volume that `policy` wants of the files of one series, in any order.

    Raises `Refused` with the code and figures of the first gate that does not let it pass, and
    `InferenceFailed` when the disk does not give a file.
    """
    images = [(path, read_file(path, with_pixels=False)) for path in paths]
    if not images:
        raise Refused(RefusalCode.TOO_FEW_SLICES, "the series has no images")
    kept = slices_only(images, policy)
    refuse_unidentified([header for _, header in kept])
    _refuse_mixtures([header for _, header in kept], policy)
    frames = [frame for path, header in kept for frame in frames_of(path, header)]
    found = chosen_volume(stacks_of(frames), policy)
    volume = _read(found)
    if volume.is_lossy and not policy.allow_lossy:
        refuse_lossy()
    refuse_blank(volume.voxels)
    if len(found.frames) < len(frames) or len(kept) < len(images):
        log.info(
            "images_left_out",
            no_slices=len(images) - len(kept),
            other_volumes=len(frames) - len(found.frames),
            slices=len(found.frames),
        )
    return volume


def _read(found: FoundVolume) -> SeriesVolume:
    first = found.frames[0]
    if first.number is not None:
        numbers = tuple(frame.number for frame in found.frames if frame.number is not None)
        voxels = frame_values(first.path, numbers)
        return SeriesVolume(voxels, found.geometry, SourceSeries((first.header,), numbers))
    shape = len(found.frames), first.plane.rows, first.plane.columns
    voxels = np.empty(shape, dtype=np.float32)
    for number, frame in enumerate(found.frames):
        voxels[number] = slice_values(frame.path)
    source = SourceSeries(tuple(frame.header for frame in found.frames))
    return SeriesVolume(voxels, found.geometry, source)


def _refuse_mixtures(headers: Sequence[Dataset], policy: ReadingPolicy) -> None:
    series = {str(header.get("SeriesInstanceUID", "")) for header in headers}
    if len(series) > 1:
        raise Refused(RefusalCode.MIXED_SERIES, f"images of {len(series)} series")
    frames = {str(header.get("FrameOfReferenceUID") or "") for header in headers}
    if frames == {""} and policy.allow_no_frame_of_reference:
        for header in headers:
            header.FrameOfReferenceUID = frame_of_reference_uid(*series)
        return
    if "" in frames:
        text = (
            "FrameOfReferenceUID is missing; the definition can allow that for a series of its "
            "own (allow_no_frame_of_reference)"
        )
        raise Refused(RefusalCode.NO_GEOMETRY, text)
    if len(frames) > 1:
        text = f"images of {len(frames)} frames of reference"
        raise Refused(RefusalCode.MIXED_FRAMES_OF_REFERENCE, text)
