"""The two networks of deepbet 1.0.2 as one TorchScript file: FOLDER OF THE .pt FILES, OUTPUT.

What deepbet does around them is put inside: find the brain on 128 x 128 x 128 voxels, cut it out
with a margin, outline it on 256 x 256 x 256. What it does afterwards (largest part, holes) is not.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool3d


def largest_part(found: Tensor) -> Tensor:
    """The largest part of a mask [x, y, z], bool; neighbours touch by a corner."""
    names = torch.arange(1, found.numel() + 1, dtype=torch.float64).reshape(found.shape)
    names = (names * found)[None, None]
    while True:
        spread = max_pool3d(names, 3, 1, 1) * found
        if torch.equal(spread, names):
            break
        names = spread
    parts, counts = torch.unique(names[names > 0], return_counts=True)
    return names[0, 0] == parts[counts.argmax()]


def scaled(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Intensities as in the training."""
    image = ((image - low) / (high - low)).clamp(0, 1)
    return 0.226 * (image - image.mean()) / image.std() + 0.449


class TwoStage(torch.nn.Module):
    """[1, 1, x, y, z] along R, A, S in any intensities to logits [1, 2, x, y, z]."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.coarse = torch.jit.load(f"{folder}/bbox_model.pt", "cpu")
        self.fine = torch.jit.load(f"{folder}/model.pt", "cpu")

    def forward(self, image: Tensor) -> Tensor:
        """Background and brain."""
        image = torch.nan_to_num(image)
        small = interpolate(image, [128, 128, 128], mode="nearest-exact")
        low, high = small.quantile(0.005), small.quantile(0.995)
        brain = largest_part(self.coarse(scaled(small, low, high))[0, 1] > 0.5).float()
        starts: list[int] = []
        sizes: list[int] = []
        for axis in range(3):
            profile = brain.mean([(axis + 1) % 3, (axis + 2) % 3])
            there = torch.nonzero(profile > 0.02)[:, 0]
            first, end = float(there.min().item()), float(there.max().item()) + 1.0
            count = image.shape[axis + 2]
            center = float(torch.tensor(count / 128.0 * (first + end) / 2).round().item())
            size = float(torch.tensor(count / 128.0 * (end - first) * 1.2).round().item())
            starts.append(max(0, int(center - size / 2)))
            sizes.append(min(count, int(center + size / 2)) - starts[axis])
        cut = self.cut(image, starts, sizes)
        fine = scaled(interpolate(cut, [256, 256, 256], mode="nearest-exact"), low, high)
        answer = torch.zeros_like(image).repeat(1, 2, 1, 1, 1)
        answer[:, 0] = 1.0
        outlined = interpolate(self.fine(fine), sizes, mode="nearest-exact")
        self.cut(answer, starts, sizes).copy_(outlined)
        return answer.clamp_min(1e-7).log()

    def cut(self, image: Tensor, starts: list[int], sizes: list[int]) -> Tensor:
        """A view of a box."""
        for axis in range(3):
            image = image.narrow(axis + 2, starts[axis], sizes[axis])
        return image


torch.jit.script(TwoStage(sys.argv[1]).eval()).save(sys.argv[2])
