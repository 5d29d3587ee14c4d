"""Compare a SEG with the truth: each voxel is placed by the SEG's own tags, in the world.

Neither the node nor the wrapping is asked where a voxel lies, so a flip, a shift or a swapped
slice anywhere on the way shows as a bad Dice or as an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.demo.errors import InvalidSeg
from node.demo.grid import RAS_TO_LPS
from node.demo.nifti import NiftiVolume

OFF_GRID_TOLERANCE = 0.01
"""In voxels: a SEG on the source grid hits the truth's voxel centres, rounding aside."""


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return 2 |A and B| / (|A| + |B|); 1.0 when both are empty."""
    size = int(mask.sum()) + int(truth.sum())
    return 2.0 * int((mask & truth).sum()) / size if size else 1.0


def masks_on(truth: NiftiVolume, seg: Dataset) -> Mapping[str, NDArray[np.bool_]]:
    """Return one mask [i, j, k] on the truth's grid for each segment, by its Tracking UID.

    Raises `InvalidSeg` when a voxel falls beside the grid or between its voxels.
    """
    to_index = np.linalg.inv(RAS_TO_LPS @ truth.affine_ras).astype(np.float64)
    tracking = {item.SegmentNumber: str(item.TrackingUID) for item in seg.SegmentSequence}
    masks = {uid: np.zeros(truth.voxels.shape, bool) for uid in tracking.values()}
    frames = np.reshape(seg.pixel_array, (-1, seg.Rows, seg.Columns))
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = _group(seg, groups, "SegmentIdentificationSequence").ReferencedSegmentNumber
        index = _indices(_places(seg, groups, frame), to_index, truth.voxels.shape)
        masks[tracking[number]][tuple(index.T)] = True
    return masks


def _places(seg: Dataset, groups: Dataset, frame: NDArray[Any]) -> NDArray[np.float64]:
    """LPS mm [n, 3] of the set pixels of one frame (PS3.3 C.7.6.2.1.1)."""
    orientation = _group(seg, groups, "PlaneOrientationSequence").ImageOrientationPatient
    along_a_row, down_a_column = np.reshape(np.array(orientation, dtype=float), (2, 3))
    measures = _group(seg, groups, "PixelMeasuresSequence")
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    position = _group(seg, groups, "PlanePositionSequence").ImagePositionPatient
    rows, columns = np.nonzero(frame)
    places: NDArray[np.float64] = (
        np.array(position, dtype=float)
        + columns[:, None] * column_mm * along_a_row
        + rows[:, None] * row_mm * down_a_column
    )
    return places


def _indices(
    places: NDArray[np.float64], to_index: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.int_]:
    index = places @ to_index[:3, :3].T + to_index[:3, 3]
    nearest = np.rint(index).astype(int)
    if np.abs(index - nearest).max(initial=0.0) > OFF_GRID_TOLERANCE:
        raise InvalidSeg("a voxel of the SEG lies between the voxels of the truth")
    if ((nearest < 0) | (nearest >= shape)).any():
        raise InvalidSeg("a voxel of the SEG lies outside the truth's volume")
    return nearest


def _group(seg: Dataset, groups: Dataset, keyword: str) -> Dataset:
    """One functional group of a frame: its own, or the one that all frames share."""
    for source in (groups, seg.SharedFunctionalGroupsSequence[0]):
        if keyword in source:
            return source[keyword].value[0]  # type: ignore[no-any-return]
    raise InvalidSeg(f"the SEG has no {keyword}")
