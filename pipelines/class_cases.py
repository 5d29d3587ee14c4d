"""What a classifier is shown: one image, several projections one by one, or stacked to one.

Projections have no frame of reference, so nothing brings them onto one grid. Each goes through the
bundle's preprocessing by itself, and comes back by it; where they are stacked, they become the
channels of one image in the order of the bundle's channel_def, whatever the order of the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ConcatItemsd

from pipelines.bundle import LoadedBundle
from pipelines.channel_roles import keys_by_channel
from pipelines.common_grid import on_one_grid
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle, RefusalCode, Refused
from pipelines.preprocessing import preprocessed, told_preprocessing
from pipelines.projection_tensor import projection_tensor, refuse_strange_pixels
from pipelines.series_volume import SeriesVolume

Data = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Picture:
    """One image on which a heat map lies.

    `source` is as it was read, `upright` as it was prepared; `data[key]` is what the bundle made of
    it, and `channels` of the network's image show it, all of them where it is None.
    """

    role: str
    source: SeriesVolume
    upright: SeriesVolume
    data: Data
    key: str
    channels: slice | None = None


@dataclass(frozen=True, eq=False)
class ClassCase:
    """One image of the network, and the pictures that it is made of."""

    data: Data
    pictures: tuple[Picture, ...]


def class_cases(
    definition: PipelineDefinition,
    volumes: Mapping[str, SeriesVolume],
    bundle: LoadedBundle,
    channel_roles: Sequence[str],
) -> tuple[ClassCase, ...]:
    """The images that the network judges, of inputs by role.

    Raises `Refused`, `InferenceFailed` and, where pictures cannot be stacked, `InvalidBundle`.
    """
    if definition.several_projections == "per_view":
        return tuple(_single(role, volume, bundle) for role, volume in volumes.items())
    if definition.several_projections == "stacked":
        return (_stacked({role: volumes[role] for role in channel_roles}, bundle),)
    upright = on_one_grid(volumes)
    data = preprocessed(upright, bundle, channel_roles)
    role, main = next(iter(upright.items()))
    key = bundle.metadata.input_key
    return (ClassCase(data, (Picture(role, volumes[role], main, data, key),)),)


def refuse_same_picture(volumes: Mapping[str, SeriesVolume]) -> None:
    """Raise `Refused` (several_images) where one projection fills two inputs."""
    roles: dict[str, str] = {}
    for role, volume in volumes.items():
        if not volume.is_projection:
            continue
        other = roles.setdefault(str(volume.source.first.SOPInstanceUID), role)
        if other != role:
            text = f"{other} and {role} are one and the same image; views, laterality or where of "
            raise Refused(RefusalCode.SEVERAL_IMAGES, f"{text}the definition must tell them apart")


def _single(role: str, volume: SeriesVolume, bundle: LoadedBundle) -> ClassCase:
    data = preprocessed({role: volume}, bundle, (role,))
    return ClassCase(data, (Picture(role, volume, volume, data, bundle.metadata.input_key),))


def _stacked(volumes: Mapping[str, SeriesVolume], bundle: LoadedBundle) -> ClassCase:
    for volume in volumes.values():
        refuse_strange_pixels(volume, bundle)
    if len(bundle.load_keys) == len(volumes) > 1:
        return _stacked_by_bundle(volumes, bundle)
    key = bundle.load_keys[0] if bundle.load_keys else bundle.metadata.input_key
    prepared = {role: _prepared({key: volume}, bundle) for role, volume in volumes.items()}
    own = bundle.metadata.input_key
    images: list[MetaTensor] = [data[own] for data in prepared.values()]
    _refuse_shapes(dict(zip(volumes, images, strict=True)))
    stacked = torch.cat([image.as_tensor() for image in images])
    data = {**next(iter(prepared.values())), own: MetaTensor(stacked, meta=images[0].meta)}
    slices = _slices([len(image) for image in images])
    return ClassCase(
        data,
        tuple(
            Picture(role, volumes[role], volumes[role], prepared[role], own, channels)
            for role, channels in zip(volumes, slices, strict=True)
        ),
    )


def _stacked_by_bundle(volumes: Mapping[str, SeriesVolume], bundle: LoadedBundle) -> ClassCase:
    """A bundle that loads a key for each picture, and puts them together itself."""
    keys = keys_by_channel(bundle.load_keys, bundle.joined_keys, bundle.metadata)
    by_key = dict(zip(keys, volumes, strict=True))
    data = _prepared({key: volumes[role] for key, role in by_key.items()}, bundle)
    order = _concatenated(bundle)
    if bundle.metadata.input_key not in data or set(order) != set(by_key):
        raise InvalidBundle(
            "the bundle loads several pictures, and its preprocessing does not put them together "
            "(ConcatItemsd) under the key that the network reads"
        )
    slices = dict(zip(order, _slices([len(data[key]) for key in order]), strict=True))
    return ClassCase(
        data,
        tuple(
            Picture(role, volumes[role], volumes[role], data, key, slices[key])
            for key, role in by_key.items()
        ),
    )


def _concatenated(bundle: LoadedBundle) -> tuple[str, ...]:
    chain = bundle.preprocessing
    steps = chain.flatten().transforms if isinstance(chain, Compose) else (chain,)
    return next((tuple(step.keys) for step in steps if isinstance(step, ConcatItemsd)), ())


def _prepared(volumes: Mapping[str, SeriesVolume], bundle: LoadedBundle) -> Data:
    with told_preprocessing(bundle, next(iter(volumes.values()))):
        loaded = {
            key: projection_tensor(volume, bundle, is_stacked=True)
            for key, volume in volumes.items()
        }
        return bundle.prepared(loaded)


def _refuse_shapes(images: Mapping[str, MetaTensor]) -> None:
    shapes = {role: tuple(image.shape[1:]) for role, image in images.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{role} {' x '.join(map(str, shape))}" for role, shape in shapes.items())
        raise InvalidBundle(
            f"pictures of different size cannot be stacked ({told}): the bundle's preprocessing "
            "has to bring them to one size (Resized)"
        )


def _slices(counts: Sequence[int]) -> Iterator[slice]:
    begin = 0
    for count in counts:
        yield slice(begin, begin + count)
        begin += count
