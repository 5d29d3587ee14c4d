"""MONAI's own runner on bundles as published, in a process of its own.

Run as a program: its argument is JSON, one entry [bundle, images, output folder] a bundle. Two
things are taken out that the installed MONAI cannot do: an argument that it no longer takes, and
a reader that needs another package; the voxels of a NIfTI file are the same with any reader.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]


def stock_answers(runs: list[tuple[Path, list[Path], Path]]) -> list[NDArray[np.int64]]:
    """What `monai.bundle run` saves for each bundle, as [slice, row, column]."""
    told = json.dumps([[str(b), [str(i) for i in images], str(out)] for b, images, out in runs])
    command = [sys.executable, "-m", "tests.peers.stock_bundle_run", told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [_saved(out) for _, _, out in runs]


def _saved(out: Path) -> NDArray[np.int64]:
    (path,) = (out / "eval").rglob("*.nii.gz")
    image: Any = nibabel.load(path)
    values = np.rint(np.asarray(image.dataobj)).astype(np.int64)
    saved: NDArray[np.int64] = values.reshape(values.shape[:3]).transpose(2, 1, 0)
    return saved


def _run(bundle: str, images: list[str], out: str) -> None:
    from monai.bundle import run

    configs = Path(bundle) / "configs"
    config = json.loads((configs / "inference.json").read_text(encoding="utf-8"))
    config["network_def"].pop("img_size", None)
    config["preprocessing"]["transforms"][0].pop("reader", None)
    path = Path(out) / "inference.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    data = [{"image": images if len(images) > 1 else images[0]}]
    run(
        config_file=str(path),
        meta_file=str(configs / "metadata.json"),
        bundle_root=bundle,
        output_dir=f"{out}/eval",
        dataset={"_target_": "Dataset", "data": data, "transform": "@preprocessing"},
        **{"dataloader#num_workers": 0},
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for one in json.loads(sys.argv[1]):
        _run(*one)
