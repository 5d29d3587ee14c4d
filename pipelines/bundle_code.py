"""What in a model is code, for a person to read before it is accepted; nothing is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LONGEST = 110
CONFIGS = ("*.json", "*.yaml", "*.yml")


def code_of(place: Path) -> tuple[str, ...]:
    """Python files of the model, then the expressions (`$...`) of its configurations."""
    if not place.is_dir():
        return (f"{place.name}: TorchScript",)
    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.py"))
    expressions = (
        f"{path.name}: {' '.join(text.split())[:LONGEST]}"
        for pattern in CONFIGS
        for path in sorted((place / "configs").glob(pattern))
        for text in _expressions(_read(path))
    )
    return (*files, *dict.fromkeys(expressions))


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _expressions(item)
    elif isinstance(value, str) and value.startswith("$"):
        yield value
