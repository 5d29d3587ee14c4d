"""The pipelines of this node, checked against its destinations."""

from __future__ import annotations

from collections.abc import Iterator, Set

from config.errors import InvalidConfig, Problem
from config.settings import Settings
from pipelines.errors import InvalidBundle, InvalidDefinition
from pipelines.registry import RegisteredPipeline, Registry, load_registry


def offered_pipelines(settings: Settings) -> Registry:
    """Load every enabled pipeline.

    Raises:
        InvalidDefinition: a definition is missing or wrong.
        InvalidBundle: a model bundle is missing or broken.
        InvalidConfig: a definition names a destination that is not configured; its results
            would go nowhere.
    """
    registry = load_registry(settings.pipelines)
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
    for name in dict.fromkeys(settings.pipelines.enabled):
        alone = settings.pipelines.model_copy(update={"enabled": (name,)})
        try:
            registry |= load_registry(alone)
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
