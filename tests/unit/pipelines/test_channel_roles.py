"""Roles of a definition find the channels that the model gave a meaning to."""

from __future__ import annotations

import itertools

import pytest

from pipelines.bundle_metadata import BundleInput, BundleMetadata
from pipelines.channel_roles import roles_by_channel
from pipelines.errors import InvalidBundle


def model(*names: str, image_format: str = "magnitude") -> BundleMetadata:
    image = BundleInput("image", len(names), dict(enumerate(names)), "MR", image_format)
    return BundleMetadata("m", "1", "image", len(names), {0: "background", 1: "a"}, (image,))


BRATS = model("T1c", "T1", "T2", "FLAIR")


@pytest.mark.parametrize("written", list(itertools.permutations(["t1", "flair", "t1c", "t2"])))
def test_the_order_of_the_channels_does_not_hang_on_the_order_of_the_roles(
    written: tuple[str, ...],
) -> None:
    assert roles_by_channel(dict.fromkeys(written), BRATS) == ("t1c", "t1", "t2", "flair")


def test_usual_other_names_of_a_sequence_are_known() -> None:
    roles = {"t2_flair": None, "t1ce": None, "t1n": None, "t2w": None}
    assert roles_by_channel(roles, BRATS) == ("t1ce", "t1n", "t2w", "t2_flair")


def test_a_role_of_another_name_may_say_its_channel() -> None:
    roles = {"dark": "FLAIR", "post": "T1c", "pre": "1", "t2": None}
    assert roles_by_channel(roles, BRATS) == ("post", "pre", "t2", "dark")


def test_roles_that_fit_no_channel_are_told_with_the_channels() -> None:
    with pytest.raises(InvalidBundle, match=r"T1c, T1, T2, FLAIR.*nothing fills T1c, FLAIR"):
        roles_by_channel(dict.fromkeys(["a", "t1", "t2", "b"]), BRATS)


def test_two_roles_of_one_channel_are_refused() -> None:
    with pytest.raises(InvalidBundle):
        roles_by_channel({"t1c": None, "t1": None, "t2": None, "x": "T2"}, BRATS)


def test_channels_without_names_take_the_roles_as_written() -> None:
    assert roles_by_channel({"b": None, "a": None}, model("", "")) == ("b", "a")


def test_one_grey_image_may_stand_for_a_colour_picture() -> None:
    assert roles_by_channel({"image": None}, model("R", "G", "B", image_format="RGB")) == ("image",)
    for names in (("R", "G", "B"), ("red", "green", "blue"), ("image", "image", "image")):
        assert roles_by_channel({"image": None}, model(*names)) == ("image",)
    with pytest.raises(InvalidBundle, match="takes 3 channels"):
        roles_by_channel({"image": None}, model("T1", "T2", "FLAIR"))
