"""Loads the model of a registered pipeline, however it is packed."""

from __future__ import annotations

from typing import Any

import torch

from pipelines.bundle import LoadedBundle, load_bundle, made_bundle
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.model_source import ModelKind, kind_of
from pipelines.nnunet_model import load_nnunet
from pipelines.registry import RegisteredPipeline
from pipelines.slicewise import fit_for_volumes
from pipelines.torchscript_model import torchscript_config, torchscript_metadata


def load_model(registered: RegisteredPipeline, device: torch.device) -> LoadedBundle:
    """Load network and transforms onto the device. Raises `InvalidBundle`, `InferenceFailed`."""
    match kind_of(registered.bundle_dir):
        case ModelKind.BUNDLE:
            return fit_for_volumes(load_bundle(registered.bundle_dir, device))
        case ModelKind.NNUNET:
            return load_nnunet(registered.bundle_dir, device)
        case ModelKind.TORCHSCRIPT:
            return _load_torchscript(registered, device)


def _load_torchscript(registered: RegisteredPipeline, device: torch.device) -> LoadedBundle:
    path, definition = registered.bundle_dir, registered.definition
    network, judges_whole = _network_of(definition), bool(definition.classes)
    metadata = torchscript_metadata(
        definition.title, definition.version, network, judges_whole=judges_whole
    )
    config = torchscript_config(
        network, judges_whole=judges_whole, is_flat=definition.is_of_projections
    )
    return made_bundle(path, path, config, metadata, device)


def _network_of(definition: PipelineDefinition) -> Any:
    if definition.network is None:
        raise InvalidBundle(f"definition {definition.name}: `network` is missing")
    return definition.network
