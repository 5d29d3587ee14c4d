import pytest
import torch
from torch import Generator, Tensor

from pipelines.training.augmentation import Augmentation, random_patch

SHAPE = (24, 32, 24)
STILL = Augmentation(
    shift_voxels=0,
    probability_turn=0,
    probability_bend=0,
    probability_mirror=0,
    probability_intensity=0,
)
EVERYTHING = Augmentation(
    probability_turn=1, probability_bend=1, probability_mirror=1, probability_intensity=1
)


def a_volume(shape: tuple[int, int, int] = (28, 36, 22)) -> tuple[Tensor, Tensor]:
    """Return an image that equals its label, so that both must move alike."""
    label = torch.zeros(shape, dtype=torch.uint8)
    label[8:20, 5:18, 6:16] = 1
    label[8:20, 18:30, 6:16] = 2
    return label[None].float(), label


@pytest.mark.parametrize("seed", range(5))
def test_labels_stay_whole_numbers_of_known_classes(seed: int) -> None:
    _, label = random_patch(*a_volume(), SHAPE, EVERYTHING, Generator().manual_seed(seed))
    assert label.dtype == torch.int64
    assert set(label.flatten().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_patches_have_the_shape_asked_for_and_finite_values(seed: int) -> None:
    image, label = random_patch(*a_volume(), SHAPE, EVERYTHING, Generator().manual_seed(seed))
    assert image.shape == (1, *SHAPE)
    assert label.shape == SHAPE
    assert bool(torch.isfinite(image).all())


def test_a_patch_of_the_volumes_own_size_without_changes_is_the_volume() -> None:
    volume, truth = a_volume(SHAPE)
    image, label = random_patch(volume, truth, SHAPE, STILL, Generator().manual_seed(0))
    assert torch.equal(label, truth.long())
    brightness = torch.corrcoef(torch.stack([image.flatten(), volume.flatten()]))
    assert float(brightness[0, 1]) > 0.999


def test_image_and_label_move_together() -> None:
    settings = Augmentation(probability_turn=1, probability_mirror=1, probability_intensity=0)
    image, label = random_patch(*a_volume(), SHAPE, settings, Generator().manual_seed(1))
    pair = torch.stack([image.flatten(), label.flatten().float()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.95


def test_mirroring_swaps_left_and_right_alone() -> None:
    volume, truth = a_volume(SHAPE)
    truth[:4, :4, :4] = 1
    settings = Augmentation(
        shift_voxels=0,
        probability_turn=0,
        probability_bend=0,
        probability_mirror=1,
        probability_intensity=0,
    )
    _, label = random_patch(volume, truth, SHAPE, settings, Generator().manual_seed(0))
    assert torch.equal(label, truth.long().flip(0))


def test_one_seed_gives_one_patch() -> None:
    first, second = (
        random_patch(*a_volume(), SHAPE, EVERYTHING, Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
