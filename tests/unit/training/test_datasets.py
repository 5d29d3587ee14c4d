from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.training.datasets import choose, find_cases, load_volume, split_stems
from pipelines.training.errors import TrainingError

WritePair = Callable[..., None]
Spoil = Callable[[Path, WritePair], Any]
STEMS = [f"case_{number:03d}" for number in range(53)]


def test_the_split_does_not_depend_on_the_order_of_the_names() -> None:
    assert split_stems(STEMS) == split_stems(reversed(STEMS))


def test_the_two_parts_of_the_split_share_no_case_and_lose_none() -> None:
    split = split_stems(STEMS)
    assert not set(split.training) & set(split.held_out)
    assert sorted(split.training + split.held_out) == STEMS
    assert len(split.held_out) == len(STEMS) // 5


def test_the_split_is_the_one_that_the_shipped_model_was_trained_with() -> None:
    assert split_stems(["a", "b", "c", "d", "e"]).held_out == ("d",)


def test_a_pair_is_found_by_its_common_name(tmp_path: Path, write_pair: WritePair) -> None:
    write_pair(tmp_path, "one")
    write_pair(tmp_path, "two")
    assert [case.stem for case in find_cases(tmp_path)] == ["one", "two"]
    assert [case.stem for case in choose(find_cases(tmp_path), ["two"])] == ["two"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d, write: (d / "labels" / "bad.nii.gz").unlink(), "no label of that name"),
        (lambda d, write: (d / "images" / "bad.nii.gz").unlink(), "no image of that name"),
        (lambda d, write: write(d, "bad", label_shape=(6, 8, 4)), "differ in shape"),
        (lambda d, write: write(d, "bad", shape=(130, 2, 2)), "no crop around one hippocampus"),
        (lambda d, write: (d / "images" / "bad.nii.gz").write_bytes(b"no image"), "not readable"),
    ],
)
def test_a_bad_pair_is_left_out_with_its_name_and_the_reason(
    tmp_path: Path, write_pair: WritePair, spoil: Spoil, told: str
) -> None:
    write_pair(tmp_path, "good")
    write_pair(tmp_path, "bad")
    spoil(tmp_path, write_pair)
    said: list[str] = []
    assert [case.stem for case in find_cases(tmp_path, said.append)] == ["good"]
    assert len(said) == 1
    assert said[0].startswith("bad: left out")
    assert told in said[0]


def test_a_folder_without_images_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="images is not a folder: --data must name"):
        find_cases(tmp_path)


def test_a_folder_without_a_usable_pair_is_refused(tmp_path: Path, write_pair: WritePair) -> None:
    write_pair(tmp_path, "bad", label_shape=(6, 8, 4))
    with pytest.raises(TrainingError, match="holds no usable pair"):
        find_cases(tmp_path, lambda _: None)


def test_a_label_follows_its_image_into_the_axes_of_training(
    tmp_path: Path, write_pair: WritePair
) -> None:
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd

    write_pair(tmp_path, "flipped", affine=np.diag([-1.0, -1.0, 1.0, 1.0]))
    keys = ["image"]
    preprocessing = Compose(
        [LoadImaged(keys), EnsureChannelFirstd(keys), Orientationd(keys, axcodes="RAS")]
    )
    volume = load_volume(find_cases(tmp_path)[0], preprocessing)
    assert volume.image.shape == (1, 6, 8, 5)
    assert np.array_equal(volume.image[0].numpy(), volume.label.numpy())
