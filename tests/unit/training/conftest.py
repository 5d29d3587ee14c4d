from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

WritePair = Callable[..., None]


@pytest.fixture
def write_pair() -> WritePair:
    """Return a function that writes one image and its label as small NIfTI files."""
    return _write_pair


def _write_pair(
    folder: Path,
    stem: str,
    shape: tuple[int, ...] = (6, 8, 5),
    label_shape: tuple[int, ...] | None = None,
    affine: Any = None,
) -> None:
    for kind, size in (("images", shape), ("labels", label_shape or shape)):
        (folder / kind).mkdir(exist_ok=True, parents=True)
        values = np.arange(np.prod(size), dtype=np.uint8).reshape(size) % 3
        image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
        nibabel.save(image, folder / kind / f"{stem}.nii.gz")
