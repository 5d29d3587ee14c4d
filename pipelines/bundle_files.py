"""A MONAI bundle's files, read without torch: metadata, digests, and where the weights lie.

Layout (MONAI bundle specification): `configs/metadata.json`, `configs/inference.json` or
`.yaml`, `models/model.safetensors` or `models/model.pt`. A configuration may read any file of its
bundle, so all count for the digest but `docs/`, which changes nothing that the model does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import InvalidBundle

INFERENCE_NAMES = ("inference.json", "inference.yaml", "inference.yml")
WEIGHTS_NAMES = ("model.safetensors", "model.pt")
NOT_DIGESTED = frozenset({"docs", "__pycache__"})
BACKGROUND = 0


@dataclass(frozen=True, slots=True)
class BundleMetadata:
    """What `configs/metadata.json` says that we need.

    `channels` maps the index of each output channel to its meaning. `input_key` is the key
    under which the bundle's transforms find the image.
    """

    name: str
    version: str
    input_key: str
    input_channels: int
    channels: Mapping[int, str]

    @property
    def has_background(self) -> bool:
        """Whether channel 0 is background, so that a channel's index is its label value."""
        return "background" in self.channels.get(BACKGROUND, "").lower()


def bundle_metadata(bundle_dir: Path) -> BundleMetadata:
    """Read the metadata. Raises `InvalidBundle`."""
    path = bundle_dir / "configs" / "metadata.json"
    if not bundle_dir.is_dir():
        raise InvalidBundle(
            f"bundle {bundle_dir.name}: no folder {bundle_dir}; put the MONAI bundle there, "
            "or set pipelines.bundles_dir"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidBundle(f"{path}: {error.strerror}; a bundle needs its metadata") from None
    except ValueError as error:
        raise InvalidBundle(f"{path}: not JSON ({error}); fetch the bundle again") from None
    return _metadata(path, values)


def _metadata(path: Path, values: Any) -> BundleMetadata:
    try:
        inputs = values["network_data_format"]["inputs"]
        output = values["network_data_format"]["outputs"]["pred"]
        key, image = next(iter(inputs.items()))
        return BundleMetadata(
            name=str(values.get("name", "")),
            version=str(values["version"]),
            input_key=str(key),
            input_channels=int(image.get("num_channels", 1)),
            channels={int(index): str(text) for index, text in output["channel_def"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise InvalidBundle(
            f"{path}: no usable {error}; it must give version, network_data_format.inputs and "
            "network_data_format.outputs.pred.channel_def"
        ) from None


def inference_config(bundle_dir: Path) -> Path:
    """The path of the bundle's inference configuration. Raises `InvalidBundle`."""
    return _first_of(bundle_dir / "configs", INFERENCE_NAMES)


def weights_file(bundle_dir: Path) -> Path:
    """The path of the bundle's weights. Raises `InvalidBundle`."""
    return _first_of(bundle_dir / "models", WEIGHTS_NAMES)


def _first_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InvalidBundle(f"{folder}: none of {', '.join(names)} is there; fetch the bundle again")


def bundle_digests(bundle_dir: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file that decides what the model does, by relative path.

    Raises `InvalidBundle` when configuration or weights are missing.
    """
    inference_config(bundle_dir)
    weights_file(bundle_dir)
    paths = {p.relative_to(bundle_dir): p for p in bundle_dir.rglob("*") if p.is_file()}
    return {
        name.as_posix(): _sha256(path)
        for name, path in sorted(paths.items())
        if not NOT_DIGESTED.intersection(name.parts)
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
