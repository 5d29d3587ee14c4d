"""A first pipeline definition made from what a bundle says of itself, for a person to finish."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.bundle_metadata import BundleMetadata
from pipelines.channel_roles import is_colour
from pipelines.label_codes import ANATOMY, TISSUE, ProposedCode, proposed_code
from storage.dicom_records import CodedConcept

NO_PROPOSAL = ProposedCode(ANATOMY, TISSUE)
GOLDEN_RATIO = 0.618034
PROCEDURES: Mapping[str, CodedConcept] = {
    "CT": CodedConcept("25045-6", "LN", "CT unspecified body region"),
    "MR": CodedConcept("25056-3", "LN", "MRI unspecified body region"),
}
MODALITY_WORDS: Mapping[str, str] = {
    "mammo": "MG",
    "radiograph": "DX",
    "x-ray": "DX",
    "xray": "DX",
    "cxr": "DX",
    "mri": "MR",
    "pet": "PT",
}
"""How bundles call a modality, and its code; others by their first two letters."""

MAMMOGRAM = re.compile(r"(?i)(?P<side>[LR])[ _-]?(?P<view>CC|MLO|ML|LM)")
RADIOGRAPHS = ("CR", "DX")
X_RAYS = (*RADIOGRAPHS, "MG")
ANY_PROCEDURE = CodedConcept("18748-4", "LN", "Diagnostic imaging study")
ANY_FINDING = CodedConcept("404684003", "SCT", "Clinical finding")
EVEN_ODDS = 0.5
LONGEST = 64


def proposed_definition(name: str, bundle: str, metadata: BundleMetadata) -> dict[str, Any]:
    """The values of a definition file; `name` of the pipeline, `bundle` as it lies in the models
    folder. Labels without a code are told as tissue, and stand in `labels_without_code`.
    """
    modality = _modality(metadata)
    inputs = _inputs(metadata, modality)
    several = len(inputs) > 1 and all(one.get("kind") == "projection" for one in inputs.values())
    return {
        "name": name,
        "version": "1",
        "title": (metadata.name or name)[:LONGEST],
        "bundle": bundle,
        "inputs": inputs,
        **({"several_projections": "stacked"} if several else {}),
        "series_description": f"AI {metadata.name or name}"[:LONGEST],
        "procedure_reported": _code(PROCEDURES.get(modality, ANY_PROCEDURE)),
        **_results(metadata),
    }


def _modality(metadata: BundleMetadata) -> str:
    told = metadata.inputs[0].modality if metadata.inputs else ""
    named = (code for word, code in MODALITY_WORDS.items() if word in told.lower())
    return next(named, told.upper()[:2])


def _results(metadata: BundleMetadata) -> dict[str, Any]:
    """Segments, or classes where the model judges the whole image."""
    if metadata.kind == "classification":
        return {"classes": [_class(*named) for named in metadata.channels.items()]}
    values = enumerate(label_values(metadata).items())
    return {"segments": [_segment(number, *named) for number, named in values]}


def _class(output: int, label: str) -> dict[str, Any]:
    """What a class means in codes, and from where on it counts, a person has to say."""
    return {
        "output": output,
        "label": label[:LONGEST],
        "tracking_id": label[:LONGEST],
        "category": _code(ANY_FINDING),
        "type": _code(ANY_FINDING),
        "operating_point": EVEN_ODDS,
    }


def label_values(metadata: BundleMetadata) -> dict[int, str]:
    """Labels by the value that they have in an answer: background left out, counted from 1."""
    if metadata.has_background:
        return {value: label for value, label in metadata.channels.items() if value > 0}
    return {index + 1: label for index, label in metadata.channels.items()}


def labels_without_code(metadata: BundleMetadata) -> tuple[str, ...]:
    """Labels for which there is no proposal."""
    labels = label_values(metadata).values()
    return tuple(label for label in labels if proposed_code(label) is None)


def _inputs(metadata: BundleMetadata, modality: str) -> dict[str, Any]:
    names = ("image",) if is_colour(metadata) else metadata.channel_names
    if len(set(names)) < len(names) or len(names) == 1:
        names = tuple(f"image_{i + 1}" for i in range(len(names))) if len(names) > 1 else ("image",)
    if metadata.is_of_pictures and metadata.kind == "classification":
        if len(names) == 1:
            return {"image": _projection(modality)}
        return {
            role: {**_projection(modality), "channel": name, **_named_view(name)}
            for role, name in zip(_roles(names), names, strict=True)
        }
    where = [{"tag": "Modality", "equals": modality or "CT"}]
    where.append({"tag": "ImageType", "not_contains": "LOCALIZER"})
    return {
        role: {
            "where": [*where, *_told_apart(name, len(names))],
            **({"channel": name} if len(names) > 1 else {}),
        }
        for role, name in zip(_roles(names), names, strict=True)
    }


def _projection(modality: str) -> dict[str, Any]:
    """X-rays as a viewer shows them; of which view, a person has to say."""
    if modality in X_RAYS and modality not in RADIOGRAPHS:
        test: dict[str, Any] = {"tag": "Modality", "equals": modality}
    else:
        test = {"tag": "Modality", "one_of": list(RADIOGRAPHS)}
    return {"kind": "projection", "where": [test], "values": "displayed"}


def _named_view(name: str) -> dict[str, Any]:
    """View and side of a mammogram by its usual name; nothing where the name is another."""
    found = MAMMOGRAM.fullmatch(name)
    if found is None:
        return {}
    return {"views": [found["view"].lower()], "laterality": found["side"].upper()}


def _roles(names: tuple[str, ...]) -> Iterator[str]:
    for index, name in enumerate(names):
        plain = "".join(sign if sign.isalnum() else "_" for sign in name.lower()).strip("_")
        yield plain if plain[:1].isalpha() else f"image_{index + 1}"


def _told_apart(name: str, count: int) -> list[dict[str, Any]]:
    """Descriptions are what tells sequences apart until a person knows the site's headers."""
    if count == 1:
        return []
    return [{"tag": "SeriesDescription", "matches": rf"(?i)^{name}$"}]


def _segment(number: int, value: int, label: str) -> dict[str, Any]:
    code = proposed_code(label) or NO_PROPOSAL
    segment = {
        "label_value": value,
        "label": label[:LONGEST],
        "tracking_id": label[:LONGEST],
        "category": _code(code.category),
        "type": _code(code.type),
        "color_rgb": list(_colour(number)),
    }
    return {**segment, "type_modifier": _code(code.side)} if code.side else segment


def _code(concept: CodedConcept) -> dict[str, str]:
    return {"value": concept.value, "scheme": concept.scheme, "meaning": concept.meaning}


def _colour(number: int) -> tuple[int, int, int]:
    """A colour for each number, far from those of its neighbours."""
    ring = number * GOLDEN_RATIO % 1.0
    value = 0.95 - 0.12 * (number // 24)
    red, green, blue = colorsys.hsv_to_rgb(ring, 0.75, max(value, 0.35))
    return round(red * 255), round(green * 255), round(blue * 255)
