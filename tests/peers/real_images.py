"""Real DICOM studies with their truth, kept beside the checkout because of their size."""

from __future__ import annotations

import os
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("RADNODE_REAL_IMAGES", _CHECKOUT.parent / "shared" / "data"))


def are_there() -> bool:
    """Whether the folder of real images is on this machine."""
    return FOLDER.is_dir()


def images_of(*parts: str) -> tuple[Path, ...]:
    """Give every file below one part of the folder, in the order of their names."""
    folder = FOLDER.joinpath(*parts)
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    assert files, f"{folder} holds no files"
    return files
