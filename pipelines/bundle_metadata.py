"""What a bundle's `configs/metadata.json` says of its inputs and labels, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.bundle_task import refuse_other_tasks
from pipelines.errors import InvalidBundle

BACKGROUND = 0
VERSION_NOT_STATED = "not stated"
CLASSES = ("class", "probabilit", "label_probs")
Kind = Literal["segmentation", "classification"]


@dataclass(frozen=True, slots=True)
class BundleInput:
    """One image that the bundle reads: its key, its channels by index, what it should hold."""

    key: str
    channels: int = 1
    channel_names: Mapping[int, str] = field(default_factory=dict)
    modality: str = ""
    format: str = ""
    value_range: tuple[float, ...] = ()
    spatial_shape: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleMetadata:
    """What `configs/metadata.json` says that we need.

    `channels` maps the index of each output channel to its meaning. `input_key` is the key
    under which the network finds its image, `input_channels` how many channels that has.
    """

    name: str
    version: str
    input_key: str
    input_channels: int
    channels: Mapping[int, str]
    inputs: tuple[BundleInput, ...] = ()
    kind: Kind = "segmentation"
    task: str = ""

    @property
    def has_background(self) -> bool:
        """Whether channel 0 is background, so that a channel's index is its label value."""
        return "background" in self.channels.get(BACKGROUND, "").lower()

    @property
    def is_of_pictures(self) -> bool:
        """Whether the network takes flat images, no volumes."""
        return bool(self.inputs) and all(len(one.spatial_shape) == 2 for one in self.inputs)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Meaning of every input channel, in the order that the network takes them."""
        names: list[str] = []
        for image in self.inputs:
            named = (image.channel_names.get(i, "") for i in range(image.channels))
            names += [image.key] if image.channels == 1 and len(self.inputs) > 1 else named
        return tuple(names)


def read_metadata(path: Path) -> BundleMetadata:
    """Read a metadata file. Raises `InvalidBundle`."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidBundle(f"{path}: {error.strerror}; a bundle needs its metadata") from None
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{path}: not JSON ({error}); fetch the bundle again") from None
    return _metadata(path, values)


def _metadata(path: Path, values: Any) -> BundleMetadata:
    try:
        formats = values["network_data_format"]
        refuse_other_tasks(path, formats)
        inputs = tuple(_input(key, image) for key, image in formats["inputs"].items())
        output = _output(formats["outputs"])
        kind = _kind(output, str(values.get("task", "")))
        return BundleMetadata(
            name=str(values.get("name", "")),
            version=str(values.get("version") or VERSION_NOT_STATED),
            input_key=inputs[0].key,
            input_channels=sum(image.channels for image in inputs),
            channels=_channels(output, kind),
            inputs=inputs,
            kind=kind,
            task=str(values.get("task", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidBundle(
            f"{path}: no usable {error}; it must give network_data_format.inputs, and "
            "network_data_format.outputs.pred with channel_def or num_channels"
        ) from None


def _input(key: str, image: Mapping[str, Any]) -> BundleInput:
    return BundleInput(
        key=str(key),
        channels=int(image.get("num_channels", 1)),
        channel_names=_indexed(image.get("channel_def") or {}),
        modality=str(image.get("modality", "")),
        format=str(image.get("format", "")),
        value_range=tuple(float(value) for value in image.get("value_range") or ()),
        spatial_shape=tuple(str(value) for value in image.get("spatial_shape") or ()),
    )


def _output(outputs: Mapping[str, Any]) -> Any:
    return outputs["pred"] if "pred" in outputs else next(iter(outputs.values()), None)


def _channels(output: Mapping[str, Any], kind: Kind) -> dict[int, str]:
    """What the output channels mean; numbered where the bundle does not say."""
    if output.get("channel_def"):
        return _indexed(output["channel_def"])
    count = int(output["num_channels"])
    if kind == "classification":
        return {index: f"class {index}" for index in range(count)}
    names = {index: f"label {index}" for index in range(1, count)}
    return {BACKGROUND: "background", **names} if count > 1 else {0: "label 1"}


def _indexed(names: Mapping[Any, Any]) -> dict[int, str]:
    return {int(index): str(text) for index, text in names.items()}


def _kind(output: Mapping[str, Any], task: str) -> Kind:
    told = f"{output.get('type', '')} {output.get('format', '')}".lower()
    if "segmentation" in told:
        return "segmentation"
    shape = output.get("spatial_shape") or (0, 0, 0)
    # A list of classes is written as [4], and by some bundles as [1, 4].
    is_flat = 0 < len(shape) < 2 or (len(shape) == 2 and shape[0] == 1)
    is_named = any(word in told for word in CLASSES) or "classif" in task.lower()
    return "classification" if is_flat or is_named else "segmentation"
