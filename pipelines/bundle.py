"""A MONAI bundle made ready to run: its network, and its own pre- and postprocessing.

The bundle stays as it was published. Its loading and saving of files is switched off with
MONAI's own `_disabled_`; `bundle_root` and `device` are overridden; everything else (spacing,
intensities, inferer, inversion, argmax) is taken from its configuration. Expressions in a
configuration are code: install only bundles that you trust.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipelines.bundle_files import (
    BundleMetadata,
    bundle_metadata,
    inference_config,
    weights_file,
)
from pipelines.errors import InferenceFailed, InvalidBundle

LOADERS = frozenset({"LoadImage", "LoadImaged", "LoadImageD", "LoadImageDict"})
SAVERS = frozenset({"SaveImage", "SaveImaged", "SaveImageD", "SaveImageDict"})
CHANNEL_MAKERS = ("EnsureChannelFirst", "AddChannel", "AsChannelFirst")
NESTED_WEIGHTS = ("model", "state_dict", "network")

# What a wrong configuration makes MONAI's parser, or an expression in it, raise.
BROKEN_CONFIG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
BROKEN_WEIGHTS = (*BROKEN_CONFIG, EOFError, pickle.UnpicklingError, SafetensorError)


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A bundle on its device, in evaluation mode.

    `adds_channel` says that the bundle's own transforms give the image its channel axis, as
    they would after its loader.
    """

    metadata: BundleMetadata
    device: torch.device
    network: nn.Module
    inferer: Callable[..., Any]
    preprocessing: Callable[..., Any]
    postprocessing: Callable[..., Any]
    adds_channel: bool


def load_bundle(bundle_dir: Path, device: torch.device) -> LoadedBundle:
    """Read configuration and weights. Raises `InvalidBundle`, `InferenceFailed`."""
    metadata = bundle_metadata(bundle_dir)
    path = inference_config(bundle_dir)
    config = _configuration(path)
    components = list(_components(config))
    for component in components:
        if _class_name(component) in LOADERS | SAVERS:
            component["_disabled_"] = True
    parser = ConfigParser({**config, "bundle_root": str(bundle_dir)})
    parser["device"] = device
    return LoadedBundle(
        metadata=metadata,
        device=device,
        network=_on_device(_network(parser, config, path, weights_file(bundle_dir)), device),
        inferer=_resolved(parser, path, "inferer"),
        preprocessing=_resolved(parser, path, "preprocessing"),
        postprocessing=_resolved(parser, path, "postprocessing"),
        adds_channel=_adds_channel(components),
    )


def _on_device(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    try:
        return network.to(device)
    except RuntimeError as error:  # CUDA out of memory, driver away
        text = f"the model does not fit onto {device} now ({type(error).__name__})"
        raise InferenceFailed(text) from None


def _configuration(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = ConfigParser.load_config_file(path)
    except BROKEN_CONFIG as error:
        raise _invalid(path, "cannot be read", error) from error
    return config


def _network(parser: Any, config: dict[str, Any], path: Path, weights: Path) -> nn.Module:
    network = _resolved(parser, path, "network_def" if "network_def" in config else "network")
    if not isinstance(network, nn.Module):
        raise InvalidBundle(f"{path}: network_def is not a torch module")
    _load_weights(network, weights)
    return network.eval().requires_grad_(False)


def _components(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if isinstance(config.get("_target_"), str):
            yield config
        for value in config.values():
            yield from _components(value)
    elif isinstance(config, list):
        for value in config:
            yield from _components(value)


def _class_name(component: dict[str, Any]) -> str:
    return str(component["_target_"]).rpartition(".")[2]


def _adds_channel(components: list[dict[str, Any]]) -> bool:
    by_loader = any(
        component.get("ensure_channel_first")
        for component in components
        if _class_name(component) in LOADERS
    )
    named = any(_class_name(component).startswith(CHANNEL_MAKERS) for component in components)
    return named and not by_loader


def _resolved(parser: Any, path: Path, key: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about MONAI's own deprecations, not for operators
            value = parser.get_parsed_content(key)
    except BROKEN_CONFIG as error:
        raise _invalid(path, f"{key} cannot be made", error) from error
    if not callable(value):
        raise InvalidBundle(f"{path}: {key} is not something that can be called")
    return value


def _load_weights(network: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:  # weights_only: a pickle must not run code
            state = torch.load(path, map_location="cpu", weights_only=True)
        nested = [state[key] for key in NESTED_WEIGHTS if isinstance(state.get(key), dict)]
        network.load_state_dict(nested[0] if nested else state, strict=True)
    except BROKEN_WEIGHTS as error:
        raise _invalid(path, "does not load into network_def", error) from error


def _invalid(path: Path, what: str, error: BaseException) -> InvalidBundle:
    while error.__cause__ is not None:  # MONAI wraps what went wrong in what it was doing
        error = error.__cause__
    reason = " ".join(str(error).split())[:300]
    text = f"{path}: {what} ({type(error).__name__}: {reason}); mend the bundle or fetch it again"
    return InvalidBundle(text)
