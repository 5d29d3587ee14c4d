"""Whether one projection of a series is the one that a definition wants, told by its header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from pipelines.criteria import Criterion, attribute_values
from pipelines.projection_views import View, view_of


def image_failures(
    header: Dataset, where: Sequence[Criterion], views: Sequence[View]
) -> Iterator[tuple[str, str]]:
    """Why one projection is not the wanted one: what it is about, and the sentence."""
    for criterion in where:
        failure = criterion.failure(header)
        if failure:
            yield criterion.tag, failure
    if views:
        found = view_of(header)
        if found is None:
            yield "view", "the view is not stated"
        elif found not in views:
            yield "view", f"the view is {found}, not {' or '.join(views)}"


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
