"""Labels decided block by block are those of MONAI's own postprocessing, for every known chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    CropForegroundd,
    DivisiblePadd,
    EnsureChannelFirstd,
    Invertd,
    Orientationd,
    Resized,
    ResizeWithPadOrCropd,
    Spacingd,
    SpatialPadd,
)

from pipelines import restored_grid
from pipelines.answer_chain import answer_chain
from pipelines.grid_inverse import grid_inverse
from pipelines.restored_grid import BITS, RestoredGrid

CLASSES = 5
SHAPE = (22, 19, 14)
LPS = ((-0.9, 0, 0, 10), (0, -0.9, 0, 3), (0, 0, 2.5, 7), (0, 0, 0, 1))
SAGITTAL = ((0, 0, 2.2, 1), (-0.8, 0, 0, 2), (0, -0.7, 0, 3), (0, 0, 0, 1))

Chain = Callable[[Compose], list[Any]]


def inverted(pre: Compose, *, nearest: bool) -> Invertd:
    return Invertd("pred", transform=pre, orig_keys="image", nearest_interp=nearest)


CHAINS: dict[str, Chain] = {
    "softmax, inverted, argmax": lambda pre: [
        Activationsd("pred", softmax=True),
        inverted(pre, nearest=False),
        AsDiscreted("pred", argmax=True),
    ],
    "inverted, argmax": lambda pre: [
        inverted(pre, nearest=False),
        AsDiscreted("pred", argmax=True),
    ],
    "softmax, argmax, inverted": lambda pre: [
        Activationsd("pred", softmax=True),
        AsDiscreted("pred", argmax=True),
        inverted(pre, nearest=True),
    ],
    "sigmoid, inverted, threshold": lambda pre: [
        Activationsd("pred", sigmoid=True),
        inverted(pre, nearest=False),
        AsDiscreted("pred", threshold=0.45),
    ],
    "sigmoid, threshold, inverted": lambda pre: [
        Activationsd("pred", sigmoid=True),
        AsDiscreted("pred", threshold=0.5),
        inverted(pre, nearest=True),
    ],
}


def spacing(**changes: Any) -> Spacingd:
    return Spacingd("image", **({"pixdim": (1.5, 1.5, 2.0), "mode": "bilinear"} | changes))


def corner(image: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[:, 3:, :12, 2:-1] = True
    return mask


def crop() -> CropForegroundd:
    return CropForegroundd("image", source_key="image", select_fn=corner, allow_smaller=True)


RAS = Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))
PREPARATIONS: dict[str, Callable[[], list[Any]]] = {
    "nothing": list,
    "orientation": lambda: [RAS],
    "spacing": lambda: [RAS, spacing()],
    "finer spacing": lambda: [RAS, spacing(pixdim=(0.45, 1.8, 1.25))],
    "zeros outside": lambda: [RAS, spacing(padding_mode="zeros")],
    "aligned corners": lambda: [RAS, spacing(align_corners=True)],
    "nearest forward": lambda: [RAS, spacing(mode="nearest")],
    "single precision": lambda: [RAS, spacing(dtype=torch.float32)],
    "crop, spacing": lambda: [RAS, crop(), spacing()],
    "spacing, crop": lambda: [RAS, spacing(), crop()],
    "spacing, pads": lambda: [
        RAS,
        spacing(),
        SpatialPadd("image", (16, 20, 24)),
        DivisiblePadd("image", 8),
    ],
    "resized": lambda: [RAS, Resized("image", (20, 11, 24), mode="trilinear")],
    "resized, aligned corners": lambda: [
        RAS,
        Resized("image", (20, 11, 24), mode="trilinear", align_corners=True),
    ],
    "resized, nearest": lambda: [RAS, Resized("image", (20, 11, 24), mode="nearest-exact")],
    "crop, resized, pad": lambda: [
        RAS,
        crop(),
        Resized("image", (12, 20, 9), mode="trilinear", anti_aliasing=True),
        SpatialPadd("image", (16, 20, 24)),
    ],
    "spacing, pad or crop": lambda: [
        RAS,
        spacing(pixdim=(1.4, 1.3, 2.0)),
        ResizeWithPadOrCropd("image", (18, 9, 30)),
    ],
}


def prepared(affine: Any, transforms: list[Any]) -> tuple[Compose, MetaTensor]:
    pre = Compose([EnsureChannelFirstd("image"), *transforms])
    image = MetaTensor(
        torch.zeros(SHAPE),
        affine=torch.tensor(affine, dtype=torch.float64),
        meta={"original_channel_dim": float("nan")},
    )
    return pre, pre({"image": image})["image"]


def answer_on(image: MetaTensor, seed: int) -> torch.Tensor:
    """Blobs of classes with noise between them, float32 [class, x, y, z]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((1, CLASSES, 4, 4, 4), generator=generator)
    fine = torch.randn((CLASSES, *image.shape[1:]), generator=generator)
    blobs = torch.nn.functional.interpolate(coarse, size=image.shape[1:], mode="trilinear")
    return 2 * blobs[0] + 0.3 * fine


def both_ways(
    affine: Any, transforms: list[Any], chain: Chain, *, slab: int = 5, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    pre, image = prepared(affine, transforms)
    answer = answer_on(image, seed)
    post = Compose(chain(pre))
    stock = post({"image": image, "pred": MetaTensor(answer.clone(), meta=image.meta)})["pred"]
    known = answer_chain(post)
    assert known is not None
    inverse = grid_inverse(image, nearest=known.nearest)
    assert inverse is not None
    grid = RestoredGrid(inverse, known, CLASSES)
    for planes in torch.split(answer.permute(1, 2, 3, 0), slab):
        grid.add(planes)
    codes = grid.finished()
    if known.threshold is None:
        return codes[:1], stock.as_tensor()
    bits = [(codes[c // BITS] >> (c % BITS)) & 1 for c in range(CLASSES)]
    return torch.stack(bits), stock.as_tensor()


def share_equal(ours: torch.Tensor, stock: torch.Tensor) -> float:
    assert ours.shape == stock.shape
    return float((ours == stock).float().mean())


@pytest.mark.parametrize("affine", [LPS, SAGITTAL], ids=["axial", "sagittal"])
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_labels_are_those_of_the_bundles_own_postprocessing(
    preparation: str, chain: str, affine: Any
) -> None:
    ours, stock = both_ways(affine, PREPARATIONS[preparation](), CHAINS[chain])
    assert float(stock.min()) < float(stock.max())
    assert share_equal(ours, stock) >= 0.9999


@settings(max_examples=25, deadline=None)
@given(
    mm=st.tuples(*[st.floats(0.5, 4.0)] * 3),
    pixdim=st.tuples(*[st.floats(0.6, 4.0)] * 3),
    slab=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_any_spacing_and_any_cut_into_slabs_give_the_same_labels(
    mm: tuple[float, float, float], pixdim: tuple[float, float, float], slab: int, seed: int
) -> None:
    affine = np.diag([-mm[0], -mm[1], mm[2], 1.0]).tolist()
    chain = CHAINS["softmax, inverted, argmax"]
    ours, stock = both_ways(affine, [RAS, spacing(pixdim=pixdim)], chain, slab=slab, seed=seed)
    assert share_equal(ours, stock) >= 0.999


@pytest.mark.parametrize("chain", ["softmax, inverted, argmax", "sigmoid, inverted, threshold"])
def test_planes_too_large_to_go_together_give_the_same_labels(
    chain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, _ = both_ways(LPS, [RAS, spacing()], CHAINS[chain])
    monkeypatch.setattr(restored_grid, "BLOCK_BYTES", 1)
    one_by_one, _ = both_ways(LPS, [RAS, spacing()], CHAINS[chain])
    assert torch.equal(one_by_one, together)


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("fault", ["flipped", "shifted"])
def test_a_planted_fault_along_an_axis_would_be_seen(axis: int, fault: str) -> None:
    ours, stock = both_ways(LPS, [RAS, spacing()], CHAINS["softmax, inverted, argmax"])
    wrong = ours.flip(axis) if fault == "flipped" else ours.roll(1, axis)
    assert share_equal(wrong, stock) < 0.99


def test_more_classes_than_a_byte_holds_are_kept_in_two() -> None:
    _, image = prepared(LPS, [RAS])
    inverse = grid_inverse(image, nearest=False)
    known = answer_chain(Compose(CHAINS["inverted, argmax"](Compose([]))))
    assert inverse is not None
    assert known is not None
    grid = RestoredGrid(inverse, known, 300)
    answer = torch.zeros((*image.shape[1:], 300))
    answer[..., 299] = 1.0
    grid.add(answer)
    low, high = grid.finished()
    assert int(low[0, 0, 0]) + 256 * int(high[0, 0, 0]) == 299


def test_a_resize_by_areas_is_left_to_the_bundle() -> None:
    _, image = prepared(LPS, [RAS, Resized("image", (20, 20, 20), mode="area")])
    assert grid_inverse(image, nearest=False) is None


def test_corners_of_a_single_plane_are_left_to_the_bundle() -> None:
    flat = Resized("image", (20, 20, 1), mode="trilinear", align_corners=True)
    _, image = prepared(LPS, [RAS, flat])
    assert grid_inverse(image, nearest=False) is None


def test_two_resamplings_in_a_row_are_left_to_the_bundle() -> None:
    _, image = prepared(LPS, [RAS, spacing(), spacing(pixdim=(1.1, 1.2, 1.3))])
    assert grid_inverse(image, nearest=False) is None


def test_a_turned_grid_is_left_to_the_bundle() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0.995, -0.0998], [0.0998, 0.995]]
    affine = (turn @ np.asarray(LPS)).tolist()
    straight = Spacingd("image", pixdim=(1.5, 1.5, 2.0), mode="bilinear", diagonal=True)
    _, image = prepared(affine, [straight])
    assert grid_inverse(image, nearest=False) is None


def test_an_oblique_series_is_followed_when_the_grids_stay_parallel() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0.995, -0.0998], [0.0998, 0.995]]
    affine = (turn @ np.asarray(LPS)).tolist()
    ours, stock = both_ways(affine, [RAS, spacing()], CHAINS["softmax, inverted, argmax"])
    assert share_equal(ours, stock) >= 0.9999


def test_labels_of_which_linear_interpolation_would_make_others_are_left_to_the_bundle() -> None:
    pre = Compose([])
    post = [AsDiscreted("pred", argmax=True), inverted(pre, nearest=False)]
    assert answer_chain(Compose(post)) is None


@pytest.mark.parametrize(
    "step",
    [
        AsDiscreted("pred", to_onehot=3),
        AsDiscreted("pred", threshold=0.0),
        AsDiscreted("pred", argmax=True, keepdim=False),
        Activationsd("pred", other=torch.tanh),
    ],
    ids=["one-hot", "everything is over 0", "without channel", "another activation"],
)
def test_a_step_of_another_meaning_is_left_to_the_bundle(step: Any) -> None:
    assert answer_chain(Compose([step, inverted(Compose([]), nearest=False)])) is None


def test_what_follows_the_decision_is_kept_for_later() -> None:
    chain = CHAINS["softmax, inverted, argmax"](Compose([]))
    last = AsDiscreted("pred", rounding="torchrounding")
    known = answer_chain(Compose([*chain, last]))
    assert known is not None
    assert known.tail == (last,)
