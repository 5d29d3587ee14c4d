"""Going back to the source grid alone: MONAI's postprocessing, or radnode's, in its own process.

`python -m tests.benchmarks.restore_once WAY CLASSES SIZE OUT.npy` prints seconds and MiB as JSON.
WAY is `stock`, `ours`, or `slices`: MONAI's way onto some source slices, one after the other,
where all of them in all classes would not fit into memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter, process_time

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
    SpatialResample,
)

from pipelines.answer_chain import answer_chain
from pipelines.device import forget_peak, peak_memory_mib
from pipelines.grid_inverse import grid_inverse
from pipelines.kept_memory import kept_memory
from pipelines.restored_grid import RestoredGrid
from tests.benchmarks.infer_sizes import SIZES, Size

SLAB = 72
CPU = torch.device("cpu")


def _prepared(size: Size) -> tuple[Compose, MetaTensor]:
    pre = Compose(
        [
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS"),
            Spacingd("image", pixdim=(1.5, 1.5, 2.0), mode="bilinear"),
        ]
    )
    dz, dy, dx = size.spacing_mm
    image = MetaTensor(
        torch.zeros(size.shape[::-1]),
        affine=torch.diag(torch.tensor([-dx, -dy, dz, 1.0])).double(),
        meta={"original_channel_dim": float("nan")},
    )
    return pre, pre({"image": image})["image"]


def _answer(classes: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Smooth fields with some noise, float32 [x, y, z, class]."""
    noise = torch.Generator().manual_seed(5)
    answer = torch.empty((*shape, classes))
    for channel in range(classes):
        coarse = torch.randn((1, 1, 10, 10, 6), generator=noise)
        field = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0, 0]
        answer[..., channel] = 2 * field + 0.1 * torch.randn(shape, generator=noise)
    return answer


def _stock(post: Compose, image: MetaTensor, answer: torch.Tensor) -> torch.Tensor:
    channels_first = MetaTensor(answer.permute(3, 0, 1, 2).contiguous(), meta=image.meta)
    del answer
    labels: MetaTensor = post({"image": image, "pred": channels_first})["pred"]
    values: torch.Tensor = labels.as_tensor()
    return values


def _ours(post: Compose, image: MetaTensor, answer: torch.Tensor) -> torch.Tensor:
    chain = answer_chain(post)
    inverse = grid_inverse(image, nearest=False)
    assert chain is not None
    assert inverse is not None
    grid = RestoredGrid(inverse, chain, answer.shape[-1])
    with kept_memory():
        for slab in torch.split(answer, SLAB):
            grid.add(slab)
    return grid.finished()


def _slices(size: Size, image: MetaTensor, answer: torch.Tensor) -> torch.Tensor:
    probabilities = MetaTensor(answer.softmax(-1).permute(3, 0, 1, 2), meta=image.meta)
    source = torch.as_tensor(image.applied_operations[0]["extra_info"]["original_affine"])
    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=torch.float64)
    found: list[MetaTensor] = []
    for index in size.checked_slices():
        affine = source.clone().double()
        affine[:3, 3] += index * affine[:3, 2]
        shape = (*size.shape[:0:-1], 1)
        near = _planes_near(probabilities, affine)
        found.append(resample(near, dst_affine=affine, spatial_size=shape).argmax(0))
    return torch.cat([slices.as_tensor() for slices in found], dim=-1)[None]


def _planes_near(probabilities: MetaTensor, affine: torch.Tensor) -> MetaTensor:
    """The planes of the network's grid round a source slice, and one more on either side."""
    own = probabilities.affine.double()
    place = torch.linalg.solve(own, affine)[2, 3]
    first = max(int(place.clamp(0, probabilities.shape[-1] - 1)) - 1, 0)
    shifted = own.clone()
    shifted[:3, 3] += first * own[:3, 2]
    return MetaTensor(probabilities.as_tensor()[..., first : first + 4], affine=shifted)


def main() -> None:
    """Run once."""
    way, classes, size, out = sys.argv[1], int(sys.argv[2]), SIZES[sys.argv[3]], Path(sys.argv[4])
    pre, image = _prepared(size)
    post = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", transform=pre, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", argmax=True),
        ]
    )
    answer = _answer(classes, tuple(image.shape[1:]))
    forget_peak(CPU)
    started, cpu_started = perf_counter(), process_time()
    with torch.inference_mode():
        match way:
            case "stock":
                labels = _stock(post, image, answer)
            case "slices":
                labels = _slices(size, image, answer)
            case _:
                labels = _ours(post, image, answer)
    told = {
        "s": perf_counter() - started,
        "cpu_s": process_time() - cpu_started,
        "mib": peak_memory_mib(),
    }
    np.save(out, labels[0].numpy().astype(np.uint8))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
