"""From the network's answer back to a label map on the exact grid of the source series.

The bundle's postprocessing usually inverts its preprocessing. That is not taken on trust: shape
and affine are compared with the source, and an answer on another grid is resampled to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.errors import InferenceFailed
from pipelines.preprocessing import affine_ras
from pipelines.series_volume import SeriesVolume

SAME_AFFINE_MM = 1e-3
WHOLE_NUMBER_WITHIN = 1e-3

LabelMap = NDArray[np.uint8] | NDArray[np.uint16]


def restored_label_map(
    data: dict[str, Any], answer: MetaTensor, source: SeriesVolume, bundle: LoadedBundle
) -> LabelMap:
    """Label values [slice, row, column] on the grid of `source`, uint8 or uint16.

    Raises `InferenceFailed` when the bundle's postprocessing breaks or gives values that are
    no label values of the bundle.
    """
    try:
        with torch.inference_mode():
            processed = bundle.postprocessing({**data, "pred": answer})["pred"]
            on_grid = _on_source_grid(processed, source)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        text = f"the bundle's postprocessing broke ({type(error).__name__})"
        raise InferenceFailed(text) from error
    labels = _one_channel(on_grid, bundle)
    return _whole_numbers(labels.transpose(2, 1, 0), bundle)


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


def _one_channel(values: NDArray[Any], bundle: LoadedBundle) -> NDArray[Any]:
    channels = values.shape[0]
    if channels == 1:
        only: NDArray[Any] = values[0]
        return only
    if not bundle.metadata.has_background or channels != len(bundle.metadata.channels):
        raise InferenceFailed(
            f"the bundle answers {channels} channels that may overlap; its postprocessing must "
            "make one label map of them"
        )
    likeliest: NDArray[Any] = np.argmax(values, axis=0)
    return likeliest


def _whole_numbers(values: NDArray[Any], bundle: LoadedBundle) -> LabelMap:
    whole = np.rint(values)
    if not np.all(np.abs(values - whole) <= WHOLE_NUMBER_WITHIN):
        raise InferenceFailed("the bundle's answer is no label map: its values are not whole")
    found = {int(value) for value in np.unique(whole)}
    lowest, highest = min(found), max(found)
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise InferenceFailed(f"label values from {lowest} to {highest} cannot be kept")
    unknown = sorted(found - set(bundle.metadata.channels))
    if bundle.metadata.has_background and unknown:
        raise InferenceFailed(f"label values {unknown} are not in the bundle's channel_def")
    dtype = np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16
    labels: LabelMap = np.ascontiguousarray(whole.astype(dtype))
    return labels
