"""What kind of model a definition names, what it says of itself, and its files; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipelines.bundle_files import bundle_digests, bundle_metadata, file_digest, folder_digests
from pipelines.bundle_metadata import BundleMetadata
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle
from pipelines.nnunet_files import is_nnunet_folder, nnunet_metadata
from pipelines.torchscript_model import torchscript_metadata


class ModelKind(StrEnum):
    """How a model is packed."""

    BUNDLE = "MONAI bundle"
    TORCHSCRIPT = "TorchScript"
    NNUNET = "nnU-Net v2"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model where it lies. `files` holds the digest of each file by relative path."""

    kind: ModelKind
    metadata: BundleMetadata
    files: Mapping[str, str]


def kind_of(place: Path) -> ModelKind:
    """How the model at `place` is packed."""
    if place.is_file():
        return ModelKind.TORCHSCRIPT
    return ModelKind.NNUNET if is_nnunet_folder(place) else ModelKind.BUNDLE


def model_files(place: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file of the model that decides what it does, by relative path.

    Raises `InvalidBundle`.
    """
    match kind_of(place):
        case ModelKind.TORCHSCRIPT:
            return {place.name: file_digest(place)}
        case ModelKind.NNUNET:
            return folder_digests(place)
        case ModelKind.BUNDLE:
            return bundle_digests(place)


def model_source(place: Path, definition: PipelineDefinition | None) -> ModelSource:
    """Read what the model at `place`, or its definition, says of it. Raises `InvalidBundle`."""
    kind = kind_of(place)
    return ModelSource(kind, _metadata(kind, place, definition), model_files(place))


def _metadata(
    kind: ModelKind, place: Path, definition: PipelineDefinition | None
) -> BundleMetadata:
    match kind:
        case ModelKind.BUNDLE:
            return bundle_metadata(place)
        case ModelKind.NNUNET:
            return nnunet_metadata(place)
        case ModelKind.TORCHSCRIPT:
            if definition is None or definition.network is None:
                raise InvalidBundle(
                    f"{place}: a TorchScript file without a configuration of its own; write a "
                    f"definition with `bundle: {place.name}`, and say under `network` what it "
                    "takes and gives"
                )
            return torchscript_metadata(
                definition.title,
                definition.version,
                definition.network,
                judges_whole=bool(definition.classes),
            )
