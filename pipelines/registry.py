"""The pipelines that this node offers: each definition pinned to the files of its model.

A changed bundle or definition has another digest and is another pipeline: jobs queued for the
old one are refused (`pipeline_changed`). Nothing here imports torch, so routing can use it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import config
from config.errors import Problem
from config.settings import PipelineSettings
from pipelines.bundle_files import bundle_digests, bundle_metadata
from pipelines.bundle_metadata import BundleMetadata
from pipelines.channel_roles import roles_by_channel
from pipelines.definition import load_definition
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle, InvalidDefinition
from pipelines.objects.uids import device_uid
from storage.records import AlgorithmIdentity

SHIPPED_DEFINITIONS = Path(config.__file__).parent / "pipelines"
SHIPPED_BUNDLES = Path(__file__).parent / "bundles"
WITHOUT_EFFECT_ON_RESULTS = {"priority", "destinations"}


@dataclass(frozen=True, slots=True)
class RegisteredPipeline:
    """One offered pipeline; digests are SHA-256 in hex.

    `model_digest` covers the bundle's files, `pipeline_digest` those and the definition.
    `files` holds the digest of each file of the bundle by its relative path; `channel_roles` are
    the definition's inputs in the order of the network's channels.
    """

    definition: PipelineDefinition
    bundle_dir: Path
    pipeline_digest: str
    model_digest: str
    algorithm: AlgorithmIdentity
    channel_roles: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


Registry = Mapping[str, RegisteredPipeline]


def load_registry(settings: PipelineSettings) -> Registry:
    """Every enabled pipeline by name.

    Raises `InvalidDefinition` for a missing or wrong definition file and `InvalidBundle` for
    a bundle that is missing, broken, or lacks a label value that the definition describes.
    """
    definitions_dir = settings.definitions_dir or SHIPPED_DEFINITIONS
    bundles_dir = settings.bundles_dir or SHIPPED_BUNDLES
    registry = {}
    for name in settings.enabled:
        path = definitions_dir / f"{name}.yaml"
        if not path.is_file():
            raise InvalidDefinition((_not_there(name, definitions_dir),))
        registry[name] = register(load_definition(path), bundles_dir)
    return registry


def _not_there(name: str, folder: Path) -> Problem:
    there = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
    return Problem("pipelines.enabled", name, str(folder), f"no such definition; there are {there}")


def register(definition: PipelineDefinition, bundles_dir: Path) -> RegisteredPipeline:
    """Pin one definition to the bundle it names. Raises `InvalidBundle`."""
    bundle_dir = bundles_dir / definition.bundle
    metadata = bundle_metadata(bundle_dir)
    roles = _channel_roles(definition, metadata)
    if metadata.has_background:  # otherwise label values are not channel indices
        _check_labels(definition, metadata)
    digests = bundle_digests(bundle_dir)
    model_digest = digest_of(digests)
    told = definition.model_dump(mode="json", exclude=WITHOUT_EFFECT_ON_RESULTS)
    return RegisteredPipeline(
        definition=definition,
        bundle_dir=bundle_dir,
        pipeline_digest=digest_of({"definition": told, "bundle": digests}),
        model_digest=model_digest,
        algorithm=AlgorithmIdentity(
            name=metadata.name or definition.title,
            version=metadata.version,
            model_digest=model_digest,
            device_uid=device_uid(model_digest),
        ),
        channel_roles=roles,
        files=digests,
    )


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _channel_roles(definition: PipelineDefinition, metadata: BundleMetadata) -> tuple[str, ...]:
    named = {role: criteria.channel for role, criteria in definition.inputs.items()}
    try:
        return roles_by_channel(named, metadata)
    except InvalidBundle as error:
        text = f"bundle {definition.bundle}, definition {definition.name}: {error}"
        raise InvalidBundle(text) from None


def _check_labels(definition: PipelineDefinition, metadata: BundleMetadata) -> None:
    described = {segment.label_value for segment in definition.segments}
    unknown = sorted(described - set(metadata.channels))
    if unknown:
        there = ", ".join(f"{value} {text}" for value, text in sorted(metadata.channels.items()))
        raise InvalidBundle(
            f"bundle {definition.bundle}: definition {definition.name} describes label values "
            f"{unknown}, which configs/metadata.json (channel_def) does not have; there are {there}"
        )
