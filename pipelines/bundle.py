"""A MONAI bundle made ready to run: its network, and its own pre- and postprocessing.

The bundle stays as it was published. Its loading and saving of files is switched off with
MONAI's own `_disabled_`; `bundle_root` and `device` are overridden; everything else (spacing,
intensities, inferer, inversion, argmax) is taken from its configuration. Expressions in a
configuration, and modules in its folder, are code: only bundles that an operator accepted by
their digest are loaded (`pipelines.acceptance`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer
from monai.transforms import Randomizable
from torch import nn

from pipelines.bundle_chain import Chain, postprocessing_chain
from pipelines.bundle_config import (
    adds_channel,
    checkpoint_path,
    image_keys,
    joined_keys,
    place_of,
    prepared,
    prepares_by,
    read_configuration,
)
from pipelines.bundle_files import bundle_metadata, inference_config
from pipelines.bundle_macros import BROKEN_CONFIG, invalid
from pipelines.bundle_metadata import BundleMetadata
from pipelines.bundle_modules import bundle_modules
from pipelines.bundle_weights import (
    chosen_weights,
    is_torchscript,
    load_torchscript,
    load_weights,
    numpy_is_data,
)
from pipelines.device_errors import told_of_device
from pipelines.errors import InvalidBundle
from pipelines.network_call import with_channels_last
from pipelines.own_evaluator import refuse_own_ways

SAME_DRAW = 0
EVALUATOR_KEY = "image"  # where MONAI's evaluators look for the network's input


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A bundle on its device, in evaluation mode.

    `adds_channel` says that the bundle's own transforms give the image its channel axis, as
    they would after its loader. `load_keys` are the keys that its loader fills; the network's
    input lies under `metadata.input_key`; `joined_keys` are those that become its channels, in
    this order, where a transform joins them. `chain` is its postprocessing as configured.
    `repeats_channel` says that its transforms make colour of grey, `resamples_to_mm` that they
    bring images to a voxel size.
    """

    metadata: BundleMetadata
    device: torch.device
    network: nn.Module
    inferer: Callable[..., Any]
    preprocessing: Callable[..., Any]
    postprocessing: Callable[..., Any]
    adds_channel: bool
    load_keys: tuple[str, ...]
    chain: Chain
    joined_keys: tuple[str, ...] = ()
    repeats_channel: bool = False
    resamples_to_mm: bool = False

    def prepared(self, data: dict[str, Any]) -> dict[str, Any]:
        """The preprocessing applied. Transforms that draw at random, as a training leaves them
        behind, draw the same for every image: a job that runs twice writes the same bytes.
        """
        if isinstance(self.preprocessing, Randomizable):
            self.preprocessing.set_random_state(seed=SAME_DRAW)
        result: dict[str, Any] = self.preprocessing(data)
        return result


@dataclass(frozen=True)
class _Recipe:
    """A configuration and where it came from."""

    bundle_dir: Path
    path: Path
    config: Mapping[str, Any]
    parser: Any

    def made(self, part: str, default: Any = None) -> Any:
        """Make a part of the configuration. Raises `InvalidBundle`."""
        place = place_of(self.config, part)
        if place is None:
            if default is None:
                raise InvalidBundle(f"{self.path}: no {part} is in it; mend the bundle")
            return default
        return self.resolved(place)

    def resolved(self, place: str) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about MONAI's own deprecations
                return self.parser.get_parsed_content(place)
        except BROKEN_CONFIG as error:
            raise invalid(self.path, f"{place} cannot be made", error) from error


def load_bundle(bundle_dir: Path, device: torch.device) -> LoadedBundle:
    """Read configuration and weights. Raises `InvalidBundle`, `InferenceFailed`."""
    metadata = bundle_metadata(bundle_dir)
    path = inference_config(bundle_dir)
    return made_bundle(bundle_dir, path, read_configuration(path), metadata, device)


def made_bundle(
    bundle_dir: Path,
    path: Path,
    config: Mapping[str, Any],
    metadata: BundleMetadata,
    device: torch.device,
) -> LoadedBundle:
    """Make the parts of a configuration; `path` is the file that errors name."""
    parser = ConfigParser(prepared({**config, "bundle_root": str(bundle_dir)}))
    parser["device"] = device
    recipe = _Recipe(bundle_dir, path, config, parser)
    keys = image_keys(config) or tuple(image.key for image in metadata.inputs)
    modules = bundle_modules(bundle_dir) if bundle_dir.is_dir() else nullcontext()
    with modules, numpy_is_data():
        refuse_own_ways(path, config)
        return LoadedBundle(
            metadata=replace(metadata, input_key=keys[0] if len(keys) == 1 else EVALUATOR_KEY),
            device=device,
            network=_on_device(_network(recipe), device),
            inferer=_callable(recipe, "inferer", SimpleInferer()),
            preprocessing=_callable(recipe, "preprocessing", _unchanged),
            postprocessing=_callable(recipe, "postprocessing", _unchanged),
            adds_channel=adds_channel(config),
            load_keys=keys,
            joined_keys=joined_keys(config),
            chain=postprocessing_chain(config, place_of(config, "postprocessing") or ""),
            repeats_channel=prepares_by(config, "RepeatChannel"),
            resamples_to_mm=prepares_by(config, "Spacing"),
        )


def _unchanged(data: Any) -> Any:
    return data


def _on_device(network: nn.Module, device: torch.device) -> nn.Module:
    try:
        return with_channels_last(network.to(device))
    except RuntimeError as error:
        broken = f"the model does not fit onto {device} now ({type(error).__name__})"
        raise told_of_device(error, device, "as the model was put there", broken) from None


def _network(recipe: _Recipe) -> nn.Module:
    weights = chosen_weights(recipe.bundle_dir, _named_weights(recipe))
    if is_torchscript(weights):
        return load_torchscript(weights).eval()
    network = recipe.made("network")
    if not isinstance(network, nn.Module):
        raise InvalidBundle(f"{recipe.path}: network_def is not a torch module")
    load_weights(network, weights)
    return network.eval().requires_grad_(False)


def _named_weights(recipe: _Recipe) -> str | None:
    """The file that the checkpoint loader reads, relative to the bundle or absolute."""
    place = checkpoint_path(recipe.config)
    return str(recipe.resolved(place)) if place else None


def _callable(recipe: _Recipe, part: str, default: Any) -> Callable[..., Any]:
    value: Callable[..., Any] = recipe.made(part, default)
    if not callable(value):
        place = place_of(recipe.config, part)
        raise InvalidBundle(f"{recipe.path}: {place} is not something that can be called")
    return value
