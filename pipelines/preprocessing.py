"""From a volume to what the bundle's transforms expect of its own loader.

A bundle is made for NIfTI files: arrays [x, y, z] with an affine to RAS millimetres (x to the
right, y to the front, z to the head). Ours are [slice, row, column] with an affine to LPS. The
axes are handed over as [column, row, slice] and the affine says which way they run, so that the
bundle's Orientation and Spacing transforms do the rest for any plane and patient position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.bundle import LoadedBundle
from pipelines.channel_roles import is_colour, keys_by_channel
from pipelines.device_errors import told_of_device
from pipelines.errors import RefusalCode, Refused
from pipelines.projection_tensor import projection_tensor, refuse_strange_pixels
from pipelines.series_volume import SeriesVolume

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SLICE_ROW_COLUMN_FROM_COLUMN_ROW_SLICE = np.eye(4)[[2, 1, 0, 3]]
SAME_GRID_MM = 1e-2
BROKEN_PREPROCESSING = (
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def affine_ras(affine_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """4x4 from (column, row, slice, 1) to RAS mm, of one from (slice, row, column, 1) to LPS."""
    result: NDArray[np.float64] = RAS_FROM_LPS @ affine_lps @ SLICE_ROW_COLUMN_FROM_COLUMN_ROW_SLICE
    return result


def preprocessed(
    volumes: Mapping[str, SeriesVolume], bundle: LoadedBundle, roles: Sequence[str] = ()
) -> dict[str, Any]:
    """The bundle's preprocessing applied; the image lies under the bundle's input key.

    `roles` gives the order of the channels, by default that of `volumes`, whose first is the one
    that all lie on. Raises `Refused` when they do not share one grid: different_grids or
    mixed_frames_of_reference.
    """
    first, *others = volumes.values()
    for other in others:
        _refuse_other_grid(first, other)
    if first.is_projection:
        refuse_strange_pixels(first, bundle)
    ordered = [volumes[role] for role in roles or volumes]
    with told_preprocessing(bundle, first):
        return bundle.prepared(_loaded(ordered, bundle))


@contextmanager
def told_preprocessing(bundle: LoadedBundle, source: SeriesVolume) -> Iterator[None]:
    """Translate what a bundle's preprocessing raises."""
    shape = source.voxels.shape
    try:
        yield
    except BROKEN_PREPROCESSING as error:
        reason = type(error.__cause__ or error).__name__  # MONAI wraps what went wrong
        broken = f"the bundle's preprocessing broke on an image of {shape} ({reason})"
        where = "in the bundle's preprocessing"
        raise told_of_device(error, bundle.device, where, broken) from error


def _loaded(volumes: Sequence[SeriesVolume], bundle: LoadedBundle) -> dict[str, Any]:
    """What the bundle's loader would have given: a key for each volume, or channels of one."""
    with_channel = not bundle.adds_channel
    key = bundle.load_keys[0] if bundle.load_keys else bundle.metadata.input_key
    if volumes[0].is_projection:
        return {key: projection_tensor(volumes[0], bundle)}
    if len(volumes) == 1 and is_colour(bundle.metadata) and not bundle.repeats_channel:
        volumes = [volumes[0]] * bundle.metadata.input_channels
    if len(bundle.load_keys) == len(volumes):
        pairs = zip(_keys_by_channel(bundle), volumes, strict=True)
        return {key: image_tensor([volume], with_channel=with_channel) for key, volume in pairs}
    return {key: image_tensor(volumes, with_channel=with_channel or len(volumes) > 1)}


def _keys_by_channel(bundle: LoadedBundle) -> tuple[str, ...]:
    return keys_by_channel(bundle.load_keys, bundle.joined_keys, bundle.metadata)


def image_tensor(volumes: Sequence[SeriesVolume], *, with_channel: bool) -> MetaTensor:
    """The volumes as a MetaTensor [column, row, slice], with a first channel axis if asked."""
    first = volumes[0]
    arrays = [volume.voxels.transpose(2, 1, 0) for volume in volumes]
    array = np.stack(arrays) if with_channel else arrays[0]
    affine = torch.from_numpy(affine_ras(first.affine_lps))
    meta = {
        "original_channel_dim": 0 if with_channel else float("nan"),
        "original_affine": affine.clone(),
        "spatial_shape": np.asarray(arrays[0].shape),
        "space": "RAS",
        "filename_or_obj": "image",
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=affine, meta=meta)


def _refuse_other_grid(first: SeriesVolume, other: SeriesVolume) -> None:
    frames = {volume.headers[0].FrameOfReferenceUID for volume in (first, other)}
    if len(frames) > 1:
        text = "the series that the model needs have different frames of reference"
        raise Refused(RefusalCode.MIXED_FRAMES_OF_REFERENCE, text)
    same_shape = first.voxels.shape == other.voxels.shape
    if not same_shape or not np.allclose(first.affine_lps, other.affine_lps, atol=SAME_GRID_MM):
        text = f"grids {first.voxels.shape} and {other.voxels.shape} do not coincide"
        raise Refused(RefusalCode.DIFFERENT_GRIDS, text)
