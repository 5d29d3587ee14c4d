"""What a bundle is for, told by its metadata: what neither outlines nor judges images is refused.

Such a bundle would break somewhere within, or answer something that looks like labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import InvalidBundle

NO_IMAGE = frozenset({"tabular", "tuples", "latent"})
OBJECTS = frozenset({"object", "objects", "box", "boxes", "dict"})
POINTS = frozenset({"tuples", "points", "landmarks", "keypoints"})
PICTURES = frozenset({"image", "magnitude"})
PHOTOGRAPHS = ("regular", "endoscop", "patholog", "microscop", "photo", "video", "fundus")
"""How bundles call what is no radiological image."""

WHAT_RUNS = "radnode runs models that outline structures or judge the whole image"


def refuse_other_tasks(path: Path, formats: Mapping[str, Any]) -> None:
    """Raise `InvalidBundle` for `network_data_format` of detection, landmarks, synthesis, slides.

    Raises what a malformed mapping raises (KeyError, TypeError, AttributeError).
    """
    reasons = (*_of_inputs(formats["inputs"]), *_of_outputs(formats["inputs"], formats["outputs"]))
    for reason in reasons:
        raise InvalidBundle(f"{path}: {reason}; {WHAT_RUNS}")


def _of_inputs(inputs: Mapping[str, Any]) -> Iterator[str]:
    for key, image in inputs.items():
        if _words(image) & NO_IMAGE:
            yield f"its input {key} is no image ({_told(image)})"
        modality = _word(image, "modality")
        if any(word in modality for word in PHOTOGRAPHS):
            yield f"its input {key} is a photograph (modality {modality})"


def _of_outputs(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[str]:
    if "pred" not in outputs and len(outputs) > 1:
        yield f"it answers several things ({', '.join(outputs)}), not one map of labels"
        return
    answer = outputs["pred"] if "pred" in outputs else next(iter(outputs.values()))
    words = _words(answer)
    if words & OBJECTS:
        yield f"it detects objects ({_told(answer)})"
    elif words & POINTS:
        yield f"it finds points ({_told(answer)})"
    elif _word(answer, "format") in PICTURES and not _names_background(answer):
        yield f"it makes images ({_told(answer)})"
    elif "classification" in words and any(image.get("is_patch_data") for image in inputs.values()):
        yield "it judges patches of an image one by one"


def _names_background(answer: Mapping[str, Any]) -> bool:
    return "background" in str(answer.get("channel_def") or "").lower()


def _words(one: Mapping[str, Any]) -> set[str]:
    return {_word(one, "type"), _word(one, "format")}


def _word(one: Mapping[str, Any], key: str) -> str:
    return str(one.get(key) or "").strip().lower()


def _told(one: Mapping[str, Any]) -> str:
    return (
        f"type {_word(one, 'type') or 'not stated'}, format {_word(one, 'format') or 'not stated'}"
    )
