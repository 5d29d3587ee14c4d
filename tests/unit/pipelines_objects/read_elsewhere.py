"""A written SEG as another library places it in the patient, from the tags of the file alone."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray

WHOLE_WITHIN = 0.05


def labels_on_grid(
    path: Path, affine_lps: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Segment numbers of the SEG at `path` on a grid given by others; 0 where there is none.

    `affine_lps` takes (slice, row, column, 1) of the array to LPS mm. A voxel that the SEG places
    between the grid's voxels, outside the grid, or where another one lies, is an AssertionError.
    """
    segmentation = hd.seg.segread(path)
    volume = segmentation.get_volume(rescale_fractional=True)
    *index, segment = np.nonzero(volume.array)
    places = np.c_[np.stack(index, axis=1), np.ones(len(segment))] @ volume.affine.T
    found = (places @ np.linalg.inv(affine_lps).T)[:, :3]
    whole = np.rint(found).astype(int)
    assert np.abs(found - whole).max() < WHOLE_WITHIN, "voxels lie between those of the grid"
    assert whole.min() >= 0, "voxels lie before the first of the grid"
    assert (whole.max(axis=0) < shape).all(), "voxels lie beyond the last of the grid"
    labels = np.zeros(shape, dtype=np.uint8)
    np.add.at(labels, tuple(whole.T), segment.astype(np.uint8) + 1)
    assert np.count_nonzero(labels) == len(segment), "voxels lie on each other"
    return labels
