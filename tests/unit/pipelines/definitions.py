"""Definitions made up for the tests."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from pipelines.definition_schema import PipelineDefinition

ANATOMY = {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}
LIVER = {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}
SPLEEN = {"value": "78961009", "scheme": "SCT", "meaning": "Spleen"}


def values(**changes: Any) -> dict[str, Any]:
    """A definition of two segments (label values 1 and 2) for one MR series, as plain values."""
    definition: dict[str, Any] = {
        "name": "two_levels",
        "version": "1",
        "title": "Two levels",
        "bundle": "two_levels",
        "inputs": {"image": {"where": [{"tag": "Modality", "equals": "MR"}], "slices": {"min": 3}}},
        "series_description": "AI levels",
        "procedure_reported": {"value": "24590-2", "scheme": "LN", "meaning": "Brain MRI"},
        "segments": [
            segment(1, "Low", LIVER, [200, 0, 0]),
            segment(2, "High", SPLEEN, [0, 0, 200]),
        ],
    }
    return {**deepcopy(definition), **changes}


def segment(value: int, label: str, kind: dict[str, str], colour: list[int]) -> dict[str, Any]:
    """One segment of a definition, as plain values."""
    return {
        "label_value": value,
        "label": label,
        "tracking_id": label.lower(),
        "category": ANATOMY,
        "type": kind,
        "color_rgb": colour,
    }


def definition(**changes: Any) -> PipelineDefinition:
    """The same, checked."""
    return PipelineDefinition.model_validate(values(**changes))


def write_definition(folder: Path, **changes: Any) -> Path:
    """The same, as a file named for the pipeline."""
    content = values(**changes)
    path = folder / f"{content['name']}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
