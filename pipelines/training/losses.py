"""What training minimises: overlap (soft Dice) plus cross-entropy."""

import torch
from torch import Tensor
from torch.nn import functional

SMOOTHING_VOXELS = 1.0  # keeps a structure that is absent from the batch from dividing by zero


def soft_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - mean soft Dice over the foreground classes, a scalar in 0..1.

    `logits` is [B, C, X, Y, Z], `labels` int64 [B, X, Y, Z]. Overlap is summed over the whole
    batch, so that a patch that cuts a structure to a few voxels does not dominate.
    """
    probability = torch.softmax(logits, dim=1)
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(probability.dtype)
    axes = (0, 2, 3, 4)
    overlap = (probability * truth).sum(axes)
    size = probability.sum(axes) + truth.sum(axes)
    dice = (2 * overlap + SMOOTHING_VOXELS) / (size + SMOOTHING_VOXELS)
    return 1 - dice[1:].mean()


def dice_cross_entropy_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return soft Dice loss plus mean cross-entropy (nats per voxel), a scalar >= 0."""
    logits = logits.float()
    return soft_dice_loss(logits, labels) + functional.cross_entropy(logits, labels)
