"""The pipelines that this node offers: each definition pinned to the files of its model.

A changed bundle or definition has another digest and is another pipeline: jobs queued for the
old one are refused (`pipeline_changed`). Nothing here imports torch, so routing can use it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import config
from config.errors import Problem
from config.settings import PipelineSettings
from pipelines.acceptance import Acceptances, require_accepted
from pipelines.agreement import required_agreements
from pipelines.bundle_metadata import BundleMetadata
from pipelines.channel_roles import roles_by_channel
from pipelines.definition import load_definition
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidBundle, InvalidDefinition
from pipelines.model_place import model_dir
from pipelines.model_source import model_source
from pipelines.objects.uids import device_uid
from storage.records import AlgorithmIdentity

SHIPPED_DEFINITIONS = Path(config.__file__).parent / "pipelines"
SHIPPED_BUNDLES = Path(__file__).parent / "bundles"
WITHOUT_EFFECT_ON_RESULTS = {
    "priority",
    "time_limit_s",
    "destinations",
    "model_files",
    "least_agreement",
}


@dataclass(frozen=True, slots=True)
class RegisteredPipeline:
    """One offered pipeline; digests are SHA-256 in hex.

    `model_digest` covers the bundle's files, `pipeline_digest` those and the definition.
    `files` holds the digest of each file of the bundle by its relative path; `channel_roles` are
    the definition's inputs in the order of the network's channels. `agreements` says how far the
    definition's precision agreed with float32, by kind of device; None where a person vouches for
    the model and nothing is on record.
    """

    definition: PipelineDefinition
    bundle_dir: Path
    pipeline_digest: str
    model_digest: str
    algorithm: AlgorithmIdentity
    channel_roles: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    agreements: Mapping[str, float] | None = None


Registry = Mapping[str, RegisteredPipeline]


def load_registry(
    settings: PipelineSettings,
    acceptances: Acceptances | None = None,
    unpack_dir: Path | None = None,
) -> Registry:
    """Every enabled pipeline by name; models that come as one file are unpacked in `unpack_dir`.

    Raises `InvalidDefinition` for a missing or wrong definition file and `InvalidBundle` for
    a bundle that is missing, broken, not accepted, changed since it was accepted, or lacks a
    label value that the definition describes.
    """
    return {
        name: accepted_pipeline(
            named_definition(settings, name), settings, acceptances or Acceptances(), unpack_dir
        )
        for name in settings.enabled
    }


def accepted_pipeline(
    definition: PipelineDefinition,
    settings: PipelineSettings,
    acceptances: Acceptances,
    unpack_dir: Path | None = None,
) -> RegisteredPipeline:
    """One definition with its model, which somebody has accepted. Raises `InvalidBundle`."""
    bundles_dir = settings.bundles_dir or SHIPPED_BUNDLES
    registered = register(definition, bundles_dir, unpack_dir)
    require_accepted(
        definition.bundle,
        registered.model_digest,
        registered.files,
        definition.model_files,
        acceptances,
    )
    agreements = required_agreements(definition, registered.model_digest, acceptances)
    return replace(registered, agreements=agreements)


def named_definition(settings: PipelineSettings, name: str) -> PipelineDefinition:
    """The definition of that name. Raises `InvalidDefinition`."""
    definitions_dir = settings.definitions_dir or SHIPPED_DEFINITIONS
    path = definitions_dir / f"{name}.yaml"
    if not path.is_file():
        raise InvalidDefinition((_not_there(name, definitions_dir),))
    return load_definition(path)


def _not_there(name: str, folder: Path) -> Problem:
    there = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
    return Problem("pipelines.enabled", name, str(folder), f"no such definition; there are {there}")


def register(
    definition: PipelineDefinition, bundles_dir: Path, unpack_dir: Path | None = None
) -> RegisteredPipeline:
    """Pin one definition to the model it names. Raises `InvalidBundle`.

    Whether the model was accepted is not asked here: see `load_registry`.
    """
    place = model_dir(bundles_dir, definition.bundle, unpack_dir)
    source = model_source(place, definition)
    metadata, files = source.metadata, source.files
    if metadata.kind == "classification" and not definition.classes:
        raise InvalidBundle(
            f"bundle {definition.bundle}: it gives classes, not labels of voxels; describe them "
            f"under `classes` of the definition {definition.name} instead of `segments`"
        )
    roles = _channel_roles(definition, metadata)
    if definition.classes:
        _check_known(definition, metadata, {one.output for one in definition.classes})
    else:
        _check_label_values(definition, metadata)
    model_digest = digest_of(files)
    told = definition.model_dump(mode="json", exclude=WITHOUT_EFFECT_ON_RESULTS)
    return RegisteredPipeline(
        definition=definition,
        bundle_dir=place,
        pipeline_digest=digest_of({"definition": told, "bundle": files}),
        model_digest=model_digest,
        algorithm=AlgorithmIdentity(
            name=metadata.name or definition.title,
            version=metadata.version,
            model_digest=model_digest,
            device_uid=device_uid(model_digest),
        ),
        channel_roles=roles,
        files=files,
    )


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _channel_roles(definition: PipelineDefinition, metadata: BundleMetadata) -> tuple[str, ...]:
    named = {role: criteria.channel for role, criteria in definition.inputs.items()}
    if definition.several_projections == "per_view":
        named = dict(list(named.items())[:1])  # the model takes one picture at a time
    try:
        return roles_by_channel(named, metadata)
    except InvalidBundle as error:
        text = f"bundle {definition.bundle}, definition {definition.name}: {error}"
        raise InvalidBundle(text) from None


def _check_label_values(definition: PipelineDefinition, metadata: BundleMetadata) -> None:
    """A bundle whose channel 0 is no background may give any values; a network's own are known."""
    described = {segment.label_value for segment in definition.segments}
    network = definition.network
    if metadata.has_background or (network and network.output == "softmax"):
        _check_known(definition, metadata, described)
    elif network:  # structures that may overlap, counted from 1
        _check_known(definition, metadata, described, first=1)


def _check_known(
    definition: PipelineDefinition,
    metadata: BundleMetadata,
    described: set[int],
    first: int = 0,
) -> None:
    known = {index + first: text for index, text in metadata.channels.items()}
    unknown = sorted(described - set(known))
    if unknown:
        there = ", ".join(f"{value} {text}" for value, text in sorted(known.items()))
        place = "network.labels" if definition.network else "configs/metadata.json (channel_def)"
        raise InvalidBundle(
            f"bundle {definition.bundle}: definition {definition.name} describes "
            f"{'outputs' if definition.classes else 'label values'} "
            f"{unknown}, which {place} does not have; there are {there}"
        )
