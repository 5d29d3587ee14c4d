"""One page about a model, as `radnode model check` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from node.model_choice import ModelChoice
from pipelines.bundle_code import code_of
from pipelines.bundle_metadata import BundleInput
from pipelines.definition_proposal import label_values
from pipelines.label_codes import proposed_code

if TYPE_CHECKING:
    from pipelines.model_check import CheckedModel

MOST_CODE_LINES = 8
MOST_LABELS = 12


def model_page(choice: ModelChoice, checked: CheckedModel | None) -> str:
    """Inputs, labels with proposed codes, spacing, memory, whether it runs, left and right.

    Without `checked` nothing of the model has been loaded.
    """
    return "\n".join(
        [
            *_head(choice),
            *_inputs(choice),
            *_labels(choice),
            *_code(choice),
            *(_tried(checked) if checked else _untried()),
        ]
    )


def _head(choice: ModelChoice) -> Iterator[str]:
    metadata, accepted = choice.metadata, choice.acceptance
    yield f"{choice.name}: {metadata.name or '(no name)'} {metadata.version}"
    if metadata.task:
        yield f"  task         {metadata.task}"
    yield f"  packed as    {choice.source.kind}, {len(choice.source.files)} files"
    yield f"  digest       {choice.registered.model_digest}"
    yield f"  kind         {metadata.kind}"
    yield f"  definition   {choice.defined_by or _undefined(choice)}"
    for problem in choice.problems:
        yield f"  not used     {problem}"
    if accepted:
        told = f"{accepted.accepted_at} by {accepted.accepted_by}, left/right {accepted.left_right}"
        yield f"  accepted     {told}"
    else:
        yield f"  accepted     {'by its definition (model_files)' if choice.is_pinned else 'no'}"


def _undefined(choice: ModelChoice) -> str:
    none = "the one that names it is wrong" if choice.problems else "none names it"
    return f"{none}; a proposal is used"


def _inputs(choice: ModelChoice) -> Iterator[str]:
    yield "inputs"
    for image in choice.metadata.inputs:
        yield f"  {image.key}: {_told_input(image)}"
    roles = choice.registered.channel_roles
    if len(roles) > 1:
        yield f"  channels are filled by the inputs {', '.join(roles)}"


def _told_input(image: BundleInput) -> str:
    parts = [image.modality, image.format, f"{image.channels} channels"]
    names = [name for name in image.channel_names.values() if name]
    if image.channels > 1 and names:
        parts.append(f"({', '.join(names)})")
    if image.spatial_shape:
        parts.append(f"window {' x '.join(image.spatial_shape)}")
    if image.value_range:
        parts.append(f"values {' to '.join(f'{value:g}' for value in image.value_range)}")
    return " ".join(part for part in parts if part)


def _labels(choice: ModelChoice) -> Iterator[str]:
    judges_whole = choice.metadata.kind == "classification"
    yield f"{'classes (output' if judges_whole else 'labels (value'}, name, proposed code)"
    named = choice.metadata.channels if judges_whole else label_values(choice.metadata)
    for value, label in named.items():
        code = proposed_code(label)
        told = "no proposal"
        if code is not None:
            side = f", {code.side.meaning}" if code.side else ""
            told = f"{code.type.value} SCT {code.type.meaning}{side}"
        yield f"  {value:>4}  {label:<32} {told}"


def _code(choice: ModelChoice) -> Iterator[str]:
    lines = code_of(choice.place)
    yield f"code that it brings: {len(lines) or 'none but names of classes'}"
    yield from (f"  {line}" for line in lines[:MOST_CODE_LINES])
    if len(lines) > MOST_CODE_LINES:
        yield f"  and {len(lines) - MOST_CODE_LINES} more"


def _untried() -> Iterator[str]:
    yield "runs         not tried: it is not accepted, and loading runs its code (--load does)"
    yield "left/right   not run"


def _tried(checked: CheckedModel) -> Iterator[str]:
    spacing = " x ".join(f"{edge:g}" for edge in checked.spacing_mm)
    yield f"spacing      {spacing + ' mm' if spacing else 'that of the image'}"
    if checked.memory:
        memory = checked.memory
        window = "?" if memory.window_mib is None else f"{memory.window_mib:.0f}"
        yield (
            f"memory       about {memory.total_mib:.0f} MiB: weights {memory.weights_mib:.0f}, "
            f"a window {window}, the answer {memory.answer_mib:.0f}"
        )
    if checked.failure:
        yield f"runs         NO: {checked.failure}"
    elif checked.seconds is None:
        yield "runs         it loads; no case was given to try it on"
    else:
        shape = " x ".join(map(str, checked.network_shape))
        yield (
            f"runs         yes: {checked.seconds:.1f} s, at most {checked.peak_mib:.0f} MiB, "
            f"network image {shape}"
        )
    if checked.voxels:
        found = {name: count for name, count in checked.voxels.items() if count}
        told = ", ".join(f"{name} {count}" for name, count in list(found.items())[:MOST_LABELS])
        more = f" and {len(found) - MOST_LABELS} more" if len(found) > MOST_LABELS else ""
        yield f"found        {len(found)} of {len(checked.voxels)} labels: {told or 'none'}{more}"
    for precision, agreed in checked.agreements.items():
        least = f", least in {agreed.worst}" if agreed.worst else ""
        told = f"agrees with float32 to {agreed.share:.4f}{least}"
        yield f"{precision:<12} {told}, on {checked.device_kind}"
    if checked.explanation:
        yield f"explanation  {checked.explanation}"
    yield f"left/right   {checked.left_right.verdict}: {checked.left_right.detail}"
