"""From the network's answer back to a label map on the exact grid of the source series.

The bundle's postprocessing usually inverts its preprocessing. That is not taken on trust: shape
and affine are compared with the source, and an answer on another grid is resampled to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.device_errors import told_of_device
from pipelines.errors import InferenceFailed
from pipelines.label_decision import decided_labels
from pipelines.labels import Labels
from pipelines.preprocessing import affine_ras
from pipelines.series_volume import SeriesVolume

SAME_AFFINE_MM = 1e-3
BROKEN_POSTPROCESSING = (
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def restored_label_map(
    data: dict[str, Any], answer: MetaTensor, source: SeriesVolume, bundle: LoadedBundle
) -> Labels:
    """Labels [slice, row, column] on the grid of `source`.

    Raises `InferenceFailed` when the bundle's postprocessing breaks or gives values that are
    no label values of the bundle.
    """
    with told_postprocessing(bundle), torch.inference_mode():
        processed = bundle.postprocessing({**data, "pred": answer})["pred"]
    return labels_after(processed, source, bundle)


@contextmanager
def told_postprocessing(bundle: LoadedBundle) -> Iterator[None]:
    """Translate what a bundle's postprocessing raises."""
    try:
        yield
    except BROKEN_POSTPROCESSING as error:
        broken = f"the bundle's postprocessing broke ({type(error).__name__})"
        where = "in the bundle's postprocessing"
        raise told_of_device(error, bundle.device, where, broken) from error


def labels_after(processed: MetaTensor, source: SeriesVolume, bundle: LoadedBundle) -> Labels:
    """Labels of a postprocessed answer [channel, x, y, z], put on the grid of `source`.

    Raises `InferenceFailed`.
    """
    try:
        on_grid = _on_source_grid(processed, source)
    except BROKEN_POSTPROCESSING as error:
        text = f"the postprocessed answer has no place in the series ({type(error).__name__})"
        raise InferenceFailed(text) from error
    return decided_labels(on_grid.transpose(0, 3, 2, 1), bundle)


def _on_source_grid(processed: MetaTensor, source: SeriesVolume) -> NDArray[Any]:
    shape, affine = source.voxels.shape[::-1], affine_ras(source.affine_lps)
    same_shape = tuple(processed.shape[1:]) == shape
    found = np.asarray(processed.affine.cpu(), dtype=np.float64)
    if not same_shape or not np.allclose(found, affine, atol=SAME_AFFINE_MM):
        # Labels must not be blended; probabilities are, and decided afterwards.
        mode = "nearest" if processed.shape[0] == 1 else "bilinear"
        resample = SpatialResample(mode=mode, padding_mode="zeros", dtype=torch.float64)
        processed = resample(
            processed, dst_affine=torch.from_numpy(affine), spatial_size=shape, mode=mode
        )
    values: NDArray[Any] = processed.as_tensor().cpu().numpy()
    return values
