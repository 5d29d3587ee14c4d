"""The pipelines of this node, checked against its destinations."""

from __future__ import annotations

from collections.abc import Iterator, Set

from config.errors import InvalidConfig, Problem
from config.settings import Settings
from pipelines.acceptance import read_acceptances
from pipelines.errors import InvalidBundle, InvalidDefinition
from pipelines.registry import RegisteredPipeline, Registry, load_registry

UNPACKED_MODELS = "models"
"""Folder of the data directory where models that come as one file are unpacked."""


def offered_pipelines(settings: Settings) -> Registry:
    """Load every enabled pipeline.

    Raises:
        InvalidDefinition: a definition is missing or wrong.
        InvalidBundle: a model bundle is missing, broken, changed, or not accepted.
        InvalidConfig: a definition names a destination that is not configured; its results
            would go nowhere.
    """
    data_dir = settings.node.data_dir
    acceptances = read_acceptances(data_dir)
    registry = load_registry(settings.pipelines, acceptances, data_dir / UNPACKED_MODELS)
    problems = tuple(_unknown_destinations(registry, settings))
    if problems:
        raise InvalidConfig(problems)
    return registry


def pipeline_problems(settings: Settings, unsure: Set[str] = frozenset()) -> tuple[object, ...]:
    """Return every problem of every enabled pipeline, where `offered_pipelines` raises the first.

    `unsure` are sections of the settings that are at fault themselves and judge nothing.
    """
    if "pipelines" in unsure:
        return ()
    registry: dict[str, RegisteredPipeline] = {}
    problems: list[object] = []
    data_dir = settings.node.data_dir
    for name in dict.fromkeys(settings.pipelines.enabled):
        alone = settings.pipelines.model_copy(update={"enabled": (name,)})
        try:
            acceptances = read_acceptances(data_dir)
            registry |= load_registry(alone, acceptances, data_dir / UNPACKED_MODELS)
        except InvalidDefinition as error:
            problems += error.problems
        except InvalidBundle as error:
            problems.append(error)
    if "destinations" not in unsure:
        problems += _unknown_destinations(registry, settings)
    return tuple(problems)


def _unknown_destinations(registry: Registry, settings: Settings) -> Iterator[Problem]:
    known = sorted(destination.name for destination in settings.destinations)
    for name, registered in registry.items():
        for wanted in registered.definition.destinations:
            if wanted not in known:
                there = ", ".join(known) or "none"
                message = f"no such destination is configured; there are {there}"
                yield Problem("destinations", wanted, f"pipeline {name}", message)
