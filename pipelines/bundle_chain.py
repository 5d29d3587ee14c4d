"""What a bundle's postprocessing does, read from its configuration without making it.

The kind of the answer (classes that exclude each other, or structures that may overlap) decides
what a label value means; and a chain of known steps alone may be done in another, faster way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Head = Literal["softmax", "sigmoid", "unknown"]
NOT_STEPS = frozenset(
    {"SaveImage", "EnsureType", "Identity", "ToTensor", "ToDevice", "DeleteItems"}
)
LONGEST_TRAIL = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One transform: its name without the dictionary ending, and its settings, references
    resolved where they point at plain values."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps of a postprocessing in order; loading and saving left out.

    `is_known` is False where a step is an expression, so that its effect cannot be read.
    """

    steps: tuple[Step, ...]
    is_known: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the steps, such as ("Activations", "Invert", "AsDiscrete")."""
        return tuple(step.name for step in self.steps)

    @property
    def head(self) -> Head:
        """How the channels of the network's answer relate to each other."""
        for step in self.steps:
            settings = step.settings
            if step.name == "Activations" and settings.get("sigmoid") is True:
                return "sigmoid"
            if step.name == "Activations" and settings.get("softmax") is True:
                return "softmax"
            if step.name == "AsDiscrete" and settings.get("argmax") is True:
                return "softmax"
            if step.name == "AsDiscrete" and _number(settings.get("threshold")):
                return "sigmoid"
        return "unknown"


def postprocessing_chain(config: Mapping[str, Any], key: str = "postprocessing") -> Chain:
    """The chain that a configuration names under `key`; empty when there is none."""
    raw = plain(config, f"@{key}") if key else None
    if isinstance(raw, Mapping) and transform_name(raw) == "Compose":
        raw = plain(config, raw.get("transforms"))
    items = raw if isinstance(raw, list) else [raw] if raw is not None else []
    steps, known = [], True
    for item in _flat(config, items):
        if not isinstance(item, Mapping) or "_target_" not in item:
            known = False
            continue
        if item.get("_disabled_") is True or transform_name(item) in NOT_STEPS:
            continue
        settings = {name: plain(config, value) for name, value in item.items() if name[:1] != "_"}
        steps.append(Step(transform_name(item), settings))
    return Chain(tuple(steps), known)


def _flat(config: Mapping[str, Any], items: list[Any]) -> Iterator[Any]:
    for raw in items:
        item = plain(config, raw)
        if isinstance(item, Mapping) and transform_name(item) == "Compose":
            nested = plain(config, item.get("transforms"))
            yield from _flat(config, nested if isinstance(nested, list) else [nested])
        else:
            yield item


def transform_name(component: Mapping[str, Any]) -> str:
    """The class of a component without module and without the ending of dictionary transforms."""
    name = str(component.get("_target_", "")).rpartition(".")[2]
    for ending in ("Dict", "d", "D"):
        stem = name.removesuffix(ending)
        if stem != name and name not in ("Compose",):
            return stem
    return name


def plain(config: Mapping[str, Any], value: Any) -> Any:
    """A value with whole references (`@key`, `@key::0`) followed; expressions stay text."""
    for _ in range(LONGEST_TRAIL):
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        value = _at(config, value[1:])
    return value


def _at(config: Mapping[str, Any], name: str) -> Any:
    found: Any = config
    for part in name.replace("::", "#").split("#"):
        found = plain(config, found) if isinstance(found, str) else found
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
