"""Random patches out of a volume: where they lie, how they are bent, how bright they are.

All axes are (x, y, z) towards right, anterior, superior; lengths are voxels of 1 mm. One
resampling does cropping, mirroring, rotation, scaling and bending, which two cores can afford.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Augmentation:
    """How far patches may stray from the data; `probability_*` is per patch."""

    rotation_degrees: float = 15.0
    scale_range: tuple[float, float] = (0.85, 1.18)
    shift_voxels: float = 3.0
    bend_voxels: float = 1.5
    probability_turn: float = 0.6
    probability_bend: float = 0.3
    probability_mirror: float = 0.25
    probability_intensity: float = 0.25
    class_count: int = 3


def random_patch(
    image: Tensor, label: Tensor, shape: Shape, settings: Augmentation, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Return a random patch as (float32 [1, X, Y, Z], int64 [X, Y, Z]) of the given shape.

    `image` is float32 [1, X, Y, Z], `label` is uint8 [X, Y, Z]. What lies outside the volume is
    0 (the mean after normalisation, as the sliding window pads) and background.
    """
    size = torch.tensor(image.shape[1:], dtype=torch.float32)
    points = _sampling_points(size, shape, settings, generator)
    grid = (2 * points / (size - 1) - 1).flip(-1)[None]  # grid_sample wants z, y, x in -1..1
    one_hot = functional.one_hot(label.long(), settings.class_count).movedim(-1, 0)[1:].float()
    both = functional.grid_sample(torch.cat([image, one_hot])[None], grid, align_corners=True)[0]
    return _vary_intensity(both[:1], settings, generator), _harden(both[1:])


def _harden(foreground: Tensor) -> Tensor:
    """Turn interpolated one-hot maps [C-1, X, Y, Z] into whole labels int64 [X, Y, Z]."""
    background = 1 - foreground.sum(0, keepdim=True)
    return torch.cat([background, foreground]).argmax(0)


def _sampling_points(
    size: Tensor, shape: Shape, settings: Augmentation, generator: Generator
) -> Tensor:
    """Return for each patch voxel where in the volume it is read: [X, Y, Z, 3], in voxels."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    points = offsets @ _random_matrix(settings, generator).T
    if _happens(settings.probability_bend, generator):
        points = points + _random_bend(shape, settings.bend_voxels, generator)
    return points + _random_centre(size, shape, settings.shift_voxels, generator)


def _random_centre(size: Tensor, shape: Shape, shift: float, generator: Generator) -> Tensor:
    """Return the patch's centre: anywhere the patch stays inside, and `shift` voxels beyond."""
    reach = (size - torch.tensor(shape)).abs() / 2 + shift
    return (size - 1) / 2 + _uniform(-1, 1, generator, 3) * reach


def _random_matrix(settings: Augmentation, generator: Generator) -> Tensor:
    """Return a 3x3 matrix that turns, scales and perhaps mirrors left to right."""
    matrix = torch.eye(3)
    if _happens(settings.probability_turn, generator):
        limit = math.radians(settings.rotation_degrees)
        for axis, angle in enumerate(_uniform(-limit, limit, generator, 3).tolist()):
            matrix = matrix @ _rotation(axis, angle)
        low, high = settings.scale_range
        matrix = matrix * torch.exp(_uniform(math.log(low), math.log(high), generator))
    if _happens(settings.probability_mirror, generator):
        matrix = matrix @ torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    return matrix


def _rotation(axis: int, angle: float) -> Tensor:
    matrix = torch.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix


def _random_bend(shape: Shape, amount: float, generator: Generator) -> Tensor:
    """Return a smooth displacement [X, Y, Z, 3] in voxels, `amount` its standard deviation."""
    return amount * _smooth_field(3, shape, generator).movedim(0, -1)


def _smooth_field(channels: int, shape: Shape, generator: Generator) -> Tensor:
    coarse = torch.randn(1, channels, 4, 5, 4, generator=generator)
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]


def _vary_intensity(image: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Change brightness and contrast always, and each rarer fault of a scanner by chance."""
    chance = settings.probability_intensity
    shape: Shape = (image.shape[1], image.shape[2], image.shape[3])
    for change in (_gamma, _blur, _coarsen):
        if _happens(chance, generator):
            image = change(image, generator)
    if _happens(chance, generator):  # uneven receive coil
        image = image + 0.25 * _smooth_field(1, shape, generator)
    if _happens(chance, generator):
        level = _uniform(0, 0.2, generator)
        image = image + level * torch.randn(image.shape, generator=generator)
    return image * _uniform(0.8, 1.25, generator) + _uniform(-0.2, 0.2, generator)


def _gamma(image: Tensor, generator: Generator) -> Tensor:
    low, high = image.amin(), image.amax()
    span = (high - low).clamp(min=1e-6)
    bent = ((image - low) / span) ** _uniform(0.7, 1.5, generator)
    mean, deviation = image.mean(), image.std()
    return (bent - bent.mean()) / bent.std().clamp(min=1e-6) * deviation + mean


def _blur(image: Tensor, generator: Generator) -> Tensor:
    sigma = _uniform(0.4, 0.9, generator)
    kernel = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for shape in ((1, 1, 5, 1, 1), (1, 1, 1, 5, 1), (1, 1, 1, 1, 5)):
        padding = tuple(n // 2 for n in shape[2:])
        image = functional.conv3d(image[None], kernel.reshape(shape), padding=padding)[0]
    return image


def _coarsen(image: Tensor, generator: Generator) -> Tensor:
    """Throw detail away along one axis, as thicker slices do."""
    size = list(image.shape[1:])
    axis = int(torch.randint(3, (), generator=generator))
    coarse = list(size)
    coarse[axis] = max(2, int(size[axis] * float(_uniform(0.5, 0.9, generator))))
    small = functional.interpolate(image[None], size=coarse, mode="trilinear")
    return functional.interpolate(small, size=size, mode="trilinear")[0]


def _uniform(low: float, high: float, generator: Generator, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _happens(probability: float, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability
