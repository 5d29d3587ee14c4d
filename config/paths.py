"""Relative paths in settings count from one folder; here they become absolute."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from config.settings import Settings

M = TypeVar("M", bound=BaseModel)


def resolve_paths(settings: Settings, base: Path) -> Settings:
    """The same settings with every relative path made absolute under `base`."""
    return _resolved(settings, base)


def _resolved(model: M, base: Path) -> M:
    found = {name: _value(getattr(model, name), base) for name in type(model).model_fields}
    changed = {name: value for name, value in found.items() if value is not getattr(model, name)}
    return model.model_copy(update=changed) if changed else model


def _value(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return base / value
    if isinstance(value, BaseModel):
        return _resolved(value, base)
    if isinstance(value, tuple):
        items = tuple(_value(item, base) for item in value)
        is_same = all(new is old for new, old in zip(items, value, strict=True))
        return value if is_same else items
    return value
