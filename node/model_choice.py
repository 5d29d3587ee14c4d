"""The model that a command names, read but not loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.errors import Problem
from config.settings import Settings
from node.offered_pipelines import UNPACKED_MODELS
from pipelines.acceptance import AcceptedModel, read_acceptances
from pipelines.bundle_metadata import BundleMetadata
from pipelines.definition import load_definition
from pipelines.definition_proposal import proposed_definition
from pipelines.definition_schema import PipelineDefinition, Precision
from pipelines.errors import InvalidDefinition
from pipelines.model_place import model_dir
from pipelines.model_source import ModelSource, model_source
from pipelines.registry import SHIPPED_BUNDLES, SHIPPED_DEFINITIONS, RegisteredPipeline, register

PROPOSED_NAME = "proposed"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model with the definition that names it, or with a proposed one.

    `defined_by` is the name of the definition, '' for the proposal. `precisions` are those that
    any of the site's definitions wants of it. `problems` are those of definitions that name it,
    too, but cannot be used.
    """

    name: str
    place: Path
    source: ModelSource
    registered: RegisteredPipeline
    proposal: Mapping[str, Any]
    defined_by: str
    acceptance: AcceptedModel | None
    precisions: tuple[Precision, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def metadata(self) -> BundleMetadata:
        """What the model says of itself."""
        return self.source.metadata

    @property
    def is_pinned(self) -> bool:
        """Whether its definition names exactly these files."""
        return dict(self.registered.definition.model_files) == dict(self.registered.files)


def chosen_model(settings: Settings, bundle: str) -> ModelChoice:
    """Find the model by name or path, and a definition for it. Raises `InvalidBundle`."""
    unpack_dir = settings.node.data_dir / UNPACKED_MODELS
    bundles_dir, name = _place(settings, bundle)
    place = model_dir(bundles_dir, name, unpack_dir)
    definitions, problems = _definitions_of(settings, name)
    definition = definitions[0] if definitions else None
    source = model_source(place, definition)
    proposal = proposed_definition(PROPOSED_NAME, name, source.metadata)
    used = definition or PipelineDefinition.model_validate(proposal)
    registered = register(used, bundles_dir, unpack_dir)
    return ModelChoice(
        name=name,
        place=place,
        source=source,
        registered=registered,
        proposal={**proposal, "model_files": dict(source.files)},
        defined_by=definition.name if definition else "",
        acceptance=read_acceptances(settings.node.data_dir).of(registered.model_digest),
        precisions=tuple(dict.fromkeys(one.precision for one in definitions)),
        problems=tuple(problems),
    )


def _place(settings: Settings, bundle: str) -> tuple[Path, str]:
    path = Path(bundle)
    if path.exists() and (path.is_absolute() or len(path.parts) > 1):
        absolute = path.resolve()
        return absolute.parent, absolute.name
    return settings.pipelines.bundles_dir or SHIPPED_BUNDLES, bundle


def _definitions_of(
    settings: Settings, bundle: str
) -> tuple[list[PipelineDefinition], list[Problem]]:
    """The definitions of the site, by name, that name this model, and what is wrong with others."""
    folder = settings.pipelines.definitions_dir or SHIPPED_DEFINITIONS
    found: list[PipelineDefinition] = []
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            definition = load_definition(path)
        except InvalidDefinition as error:
            problems += error.problems if _names(path, bundle) else ()
            continue
        if definition.bundle == bundle:
            found.append(definition)
    return found, problems


def _names(path: Path, bundle: str) -> bool:
    """Whether a file that is no definition has a line that names the model."""
    line = rf"^bundle:\s*['\"]?{re.escape(bundle)}['\"]?\s*(#.*)?$"
    try:
        return bool(re.search(line, path.read_text(encoding="utf-8"), re.MULTILINE))
    except (OSError, UnicodeDecodeError):
        return False
