"""Published bundles with seeded random weights, and a made-up patient for them to look at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from pipelines.bundle_config import prepared

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "zoo_bundles"
BRATS, SPLEEN = "brats_mri_segmentation", "spleen_ct_segmentation"
SWIN, WHOLE_BODY = "swin_unetr_btcv_segmentation", "wholeBody_ct_segmentation"
NAMES = (BRATS, SPLEEN, SWIN, WHOLE_BODY)
STATES_NO_SIDE = np.diag([-1.0, -1.0, 1.0, 1.0])


def zoo_bundle(folder: Path, name: str) -> Path:
    """Copy a published bundle and write weights for the network that it defines."""
    bundle = folder / name
    shutil.copytree(SHARED / name, bundle, copy_function=shutil.copyfile)
    (bundle / "models").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(20)
        config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
        network = ConfigParser(prepared(config)).get_parsed_content("network_def")
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


def body(shape: tuple[int, int, int], seed: int) -> NDArray[np.int16]:
    """Stored values [slice, row, column] without any symmetry: a lit blob in noise."""
    z, y, x = np.indices(shape, dtype=np.float64)
    z, y, x = z / shape[0], y / shape[1], x / shape[2]
    blob = (x - 0.35) ** 2 + (y - 0.55) ** 2 + (z - 0.4) ** 2 < 0.08
    noise = np.random.default_rng(seed).normal(0, 25, shape)
    values: NDArray[np.int16] = np.where(blob, 60 + 120 * x, -60 - 50 * y + 30 * z) + noise
    return values.astype(np.int16)


def write_nifti(path: Path, volumes: list[NDArray[np.int16]], affine_lps: Any) -> Path:
    """The same voxels as NIfTI: [x, y, z], channels last, affine to RAS mm."""
    affine = STATES_NO_SIDE @ affine_lps @ np.eye(4)[[2, 1, 0, 3]]
    arrays = [volume.transpose(2, 1, 0) for volume in volumes]
    data = np.stack(arrays, axis=-1) if len(arrays) > 1 else arrays[0]
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path
