"""From a projection to what a bundle's transforms expect of its own loader.

A bundle for X-rays is made for pictures (PNG, JPEG), which MONAI loads as [column, row], a colour
picture as [column, row, channel]. A projection is handed over in the same way, upright.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.channel_roles import is_colour
from pipelines.errors import RefusalCode, Refused
from pipelines.projection import pixel_spacing_mm
from pipelines.projection_views import turn_of
from pipelines.series_volume import SeriesVolume

SQUARE_WITHIN = 0.01
CHANNEL_LAST = -1


def projection_tensor(
    projection: SeriesVolume, bundle: LoadedBundle, *, is_stacked: bool = False
) -> MetaTensor:
    """The pixels as a MetaTensor [column, row], with channels where the bundle wants them.

    Its affine holds the spacing alone, in mm from the first pixel. One that is stacked with others
    is grey, whatever the count of channels.
    """
    upright = turn_of(projection.source.first).upright(projection.voxels[0])
    array: NDArray[np.float32] = np.ascontiguousarray(upright.T)
    channel_dim = float("nan")
    if is_colour(bundle.metadata) and not bundle.repeats_channel and not is_stacked:
        axis = CHANNEL_LAST if bundle.adds_channel else 0
        array = np.stack([array] * bundle.metadata.input_channels, axis=axis)
        channel_dim = axis
    elif not bundle.adds_channel:
        array, channel_dim = array[np.newaxis], 0
    affine = torch.from_numpy(upright_affine(projection))
    meta = {
        "original_channel_dim": channel_dim,
        "original_affine": affine.clone(),
        "spatial_shape": np.asarray(upright.T.shape),
        "space": "RAS",
        "filename_or_obj": "image",
    }
    return MetaTensor(torch.from_numpy(array), affine=affine, meta=meta)


def upright_affine(projection: SeriesVolume) -> NDArray[np.float64]:
    """4x4 from (column, row, 0, 1) of the upright picture to mm from its first pixel."""
    _, row_mm, column_mm = projection.spacing_mm
    if turn_of(projection.source.first).transposed:
        row_mm, column_mm = column_mm, row_mm
    return np.diag([column_mm, row_mm, 1.0, 1.0])


def refuse_strange_pixels(projection: SeriesVolume, bundle: LoadedBundle) -> None:
    """Raise `Refused` where pixels are not what the model takes them for.

    non_square_pixels, unless the model resamples to millimetres itself; no_geometry if it does and
    the image does not state any.
    """
    _, row_mm, column_mm = projection.spacing_mm
    if bundle.resamples_to_mm:
        if pixel_spacing_mm(projection.source.first) is None:
            text = "the model resamples to millimetres; Pixel Spacing or Imager Pixel Spacing lack"
            raise Refused(RefusalCode.NO_GEOMETRY, text)
    elif abs(row_mm / column_mm - 1.0) > SQUARE_WITHIN:
        text = f"pixels are {row_mm:g} high and {column_mm:g} wide; the model takes them for square"
        raise Refused(RefusalCode.NON_SQUARE_PIXELS, text)
