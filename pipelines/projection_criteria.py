"""Whether one projection of a series is the one that a definition wants, told by its header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from pydicom.dataset import Dataset

from pipelines.criteria import Criterion, attribute_values
from pipelines.projection_views import Side, View, modifiers_of, side_of, view_of

SIDES = {Side.BOTH: "both", Side.RIGHT: "R", Side.LEFT: "L"}
NOT_TOLD = "side not told"


class WantedImage(Protocol):
    """What a definition says of a projection, or the policy made of it."""

    @property
    def where(self) -> tuple[Criterion, ...]:
        """Tests of attributes."""

    @property
    def views(self) -> tuple[View, ...]:
        """Views that will do; () for any."""

    @property
    def laterality(self) -> Literal["R", "L"] | None:
        """The side; None for any."""

    @property
    def allow_view_modifiers(self) -> bool:
        """Whether a view may be a particular one, such as a spot compression."""


def image_failures(header: Dataset, wanted: WantedImage) -> Iterator[tuple[str, str]]:
    """Why one projection is not the wanted one: what it is about, and the sentence."""
    for criterion in wanted.where:
        failure = criterion.failure(header)
        if failure:
            yield criterion.tag, failure
    if wanted.views:
        yield from _view_failures(header, wanted)
    if wanted.laterality:
        yield from _side_failures(header, wanted.laterality)


def _view_failures(header: Dataset, wanted: WantedImage) -> Iterator[tuple[str, str]]:
    found = view_of(header)
    if found is None:
        yield "view", "the view is not stated"
    elif found not in wanted.views:
        yield "view", f"the view is {found}, not {' or '.join(wanted.views)}"
    modifiers = modifiers_of(header)
    if modifiers and not wanted.allow_view_modifiers:
        count = len(modifiers)
        yield "view", f"the view has {count} modifiers, which allow_view_modifiers does not allow"


def _side_failures(header: Dataset, wanted: str) -> Iterator[tuple[str, str]]:
    found = side_of(header)
    if found is Side.UNSTATED:
        yield NOT_TOLD, "Image Laterality and Laterality are not stated"
    elif found is Side.CONTRADICTORY:
        yield NOT_TOLD, "Image Laterality and Laterality contradict each other"
    elif found != wanted:
        yield "laterality", f"the laterality is {SIDES[found]}, not {wanted}"


def taken_at(header: Dataset) -> tuple[str, str, int, str]:
    """Sorts projections by when they were taken; those taken at one time by their numbers."""
    number = attribute_values(header, "InstanceNumber")
    moment = _text(header, "AcquisitionDateTime")
    return (
        moment[:8] or _text(header, "AcquisitionDate") or _text(header, "ContentDate"),
        moment[8:] or _text(header, "AcquisitionTime") or _text(header, "ContentTime"),
        number[0] if number and isinstance(number[0], int) else 0,
        str(header.get("SOPInstanceUID")),
    )


def _text(header: Dataset, keyword: str) -> str:
    return "".join(map(str, attribute_values(header, keyword)))
