"""A model's files, read without torch: where configuration and weights lie, and their digests.

Layout (MONAI bundle specification): `configs/metadata.json`, `configs/inference.json` or
`.yaml`, `models/model.safetensors`, `model.pt` or `model.ts`. A configuration may read any file
of its bundle, so all count for the digest but `docs/`, which changes nothing that the model does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.bundle_metadata import BundleMetadata, read_metadata
from pipelines.errors import InvalidBundle

METADATA = "configs/metadata.json"
NOT_BUNDLES = frozenset({"__MACOSX", "docs"})
LARGE_FILES = ("large_files.yml", "large_files.yaml", "large_files.json")
INFERENCE_NAMES = ("inference.json", "inference.yaml", "inference.yml")
WEIGHTS_NAMES = ("model.safetensors", "model.pt", "model.ts")
WEIGHTS_SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".ts"})
NOT_DIGESTED = frozenset({"docs", "__pycache__"})
TOLD_CHANGES = 5


def bundle_metadata(bundle_dir: Path) -> BundleMetadata:
    """Read the metadata. Raises `InvalidBundle`."""
    if not bundle_dir.is_dir():
        raise InvalidBundle(
            f"bundle {bundle_dir.name}: no folder {bundle_dir}; put the MONAI bundle there, "
            "or set pipelines.bundles_dir"
        )
    path = bundle_dir / METADATA
    within = () if path.is_file() else bundles_within(bundle_dir)
    if within:
        names = ", ".join(str(one.relative_to(bundle_dir)) for one in within)
        raise InvalidBundle(
            f"bundle {bundle_dir.name}: {METADATA} is not in it, but in {names}; "
            "move that folder up"
        )
    return read_metadata(path)


def bundles_within(folder: Path) -> tuple[Path, ...]:
    """The folders at or below `folder` that hold a bundle, by name."""
    found = (path.parent.parent for path in folder.rglob(METADATA))
    return tuple(
        sorted(one for one in found if not set(one.relative_to(folder).parts) & NOT_BUNDLES)
    )


def inference_config(bundle_dir: Path) -> Path:
    """The path of the bundle's inference configuration. Raises `InvalidBundle`."""
    folder = bundle_dir / "configs"
    found = _first_of(folder, INFERENCE_NAMES)
    if found is None:
        raise _none_of(folder, INFERENCE_NAMES)
    return found


def weights_file(bundle_dir: Path) -> Path:
    """The path of the bundle's weights where its configuration names none.

    Raises `InvalidBundle`.
    """
    folder = bundle_dir / "models"
    found = _first_of(folder, WEIGHTS_NAMES)
    if found is not None:
        return found
    others = sorted(path for path in folder.glob("*") if path.suffix in WEIGHTS_SUFFIXES)
    if len(others) == 1:
        return others[0]
    raise _none_of(folder, WEIGHTS_NAMES)


def has_weights(bundle_dir: Path) -> bool:
    """Whether the bundle brings any file of weights."""
    return any(path.suffix in WEIGHTS_SUFFIXES for path in (bundle_dir / "models").glob("*"))


def _first_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _none_of(folder: Path, names: tuple[str, ...]) -> InvalidBundle:
    there = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
    advice = "fetch the bundle again"
    listed = _first_of(folder.parent, LARGE_FILES)
    if listed is not None:  # the Model Zoo keeps weights elsewhere, and names them here
        advice = f"fetch what {listed.name} lists (python -m monai.bundle download_large_files)"
    return InvalidBundle(f"{folder}: none of {', '.join(names)} is there, but {there}; {advice}")


def bundle_digests(bundle_dir: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file that decides what the model does, by relative path.

    Raises `InvalidBundle` when configuration or weights are missing, or when a link of the
    bundle leads out of it: what it points at could change without being noticed.
    """
    inference_config(bundle_dir)
    if not has_weights(bundle_dir):
        raise _none_of(bundle_dir / "models", WEIGHTS_NAMES)
    return folder_digests(bundle_dir)


def folder_digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file of a folder but its documentation, by relative path."""
    root = folder.resolve()
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(_files(folder, root), key=lambda path: path.relative_to(folder).parts)
    }


def _files(folder: Path, root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_DIGESTED]
        for path in (Path(place) / name for name in (*names, *folders)):
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
                raise InvalidBundle(
                    f"{path}: a link that leads out of the bundle, or to a folder; put the file "
                    "itself there"
                )
            if path.is_file():
                yield path


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of one file. Raises `InvalidBundle` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidBundle(f"{path}: {error.strerror}; a model must be readable") from None


def told_changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Name the files that differ: `configs/inference.json changed, models/x.pt is gone`."""
    told = []
    for name in sorted({*before, *after}):
        if name not in after:
            told.append(f"{name} is gone")
        elif name not in before:
            told.append(f"{name} is new")
        elif before[name] != after[name]:
            told.append(f"{name} changed")
    more = len(told) - TOLD_CHANGES
    return ", ".join(told[:TOLD_CHANGES]) + (f" and {more} more" if more > 0 else "")
