"""How much of radnode's SEG is as in the label map of MONAI's own runner.

`python -m tests.benchmarks.infer_equal FOLDER` prints the share of equal voxels as JSON. The SEG
is read by other code than that which wrote it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from pipelines.series_volume import read_series
from tests.benchmarks.infer_case import value_of
from tests.unit.pipelines_objects.read_elsewhere import labels_on_grid


def main() -> None:
    """Compare once."""
    folder = Path(sys.argv[1])
    (path,) = (folder / "stock").rglob("*.nii.gz")
    stock = np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)
    equal = float(np.mean(stock == _labels_of_seg(folder)))
    sys.stdout.write(json.dumps({"equal": equal}) + "\n")


def _labels_of_seg(folder: Path) -> NDArray[np.int64]:
    seg = folder / "ours" / "seg.dcm"
    volume = read_series(sorted((folder / "dicom").iterdir()))
    numbers = labels_on_grid(seg, volume.affine_lps, volume.voxels.shape)
    segments = dcmread(seg, stop_before_pixels=True).SegmentSequence
    table = np.zeros(len(segments) + 1, dtype=np.int64)
    for segment in segments:
        table[int(segment.SegmentNumber)] = value_of(str(segment.SegmentLabel))
    result: NDArray[np.int64] = table[numbers]
    return result


if __name__ == "__main__":
    main()
