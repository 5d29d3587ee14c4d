"""Going back to the source grid alone: MONAI's postprocessing, or radnode's, in its own process.

`python -m tests.benchmarks.restore_once stock|ours OUT.npy` prints seconds and MiB as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    Orientationd,
    Spacingd,
)

from pipelines.answer_chain import answer_chain
from pipelines.device import forget_peak, peak_memory_mib
from pipelines.grid_inverse import grid_inverse
from pipelines.restored_grid import RestoredGrid

CLASSES = 25
COLUMNS_ROWS_SLICES = (400, 400, 120)
SPACING_MM = (0.9375, 0.9375, 2.5)
SLAB = 72
CPU = torch.device("cpu")


def _prepared() -> tuple[Compose, MetaTensor]:
    pre = Compose(
        [
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS"),
            Spacingd("image", pixdim=(1.5, 1.5, 2.0), mode="bilinear"),
        ]
    )
    affine = torch.diag(torch.tensor([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0]))
    image = MetaTensor(
        torch.zeros(COLUMNS_ROWS_SLICES),
        affine=affine.double(),
        meta={"original_channel_dim": float("nan")},
    )
    return pre, pre({"image": image})["image"]


def _answer(shape: tuple[int, ...]) -> torch.Tensor:
    torch.manual_seed(5)
    coarse = torch.randn(1, CLASSES, 10, 10, 6)
    answer = 2 * torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0]
    for channel in answer:
        channel += 0.1 * torch.randn(shape)
    return answer


def main() -> None:
    """Run once."""
    way, out = sys.argv[1:]
    pre, image = _prepared()
    post = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", transform=pre, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", argmax=True),
        ]
    )
    answer = _answer(tuple(image.shape[1:]))
    planes = answer.permute(1, 2, 3, 0).contiguous() if way == "ours" else answer
    del answer
    forget_peak(CPU)
    started = perf_counter()
    with torch.inference_mode():
        if way == "stock":
            data = {"image": image, "pred": MetaTensor(planes, meta=image.meta)}
            labels = post(data)["pred"].as_tensor()
        else:
            labels = _ours(post, image, planes)
    seconds = perf_counter() - started
    told = {"s": seconds, "mib": peak_memory_mib()}
    np.save(Path(out), labels[0].numpy().astype(np.uint8))
    sys.stdout.write(json.dumps(told) + "\n")


def _ours(post: Compose, image: MetaTensor, planes: torch.Tensor) -> torch.Tensor:
    chain = answer_chain(post)
    inverse = grid_inverse(image, nearest=False)
    assert chain is not None
    assert inverse is not None
    grid = RestoredGrid(inverse, chain, CLASSES)
    for slab in torch.split(planes, SLAB):
        grid.add(slab)
    return grid.finished()


if __name__ == "__main__":
    main()
