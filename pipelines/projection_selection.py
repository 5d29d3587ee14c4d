"""Choosing among projections: why an image does not fit, and what of several views is amiss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset

from pipelines.definition_schema import InputCriteria
from pipelines.errors import RefusalCode
from pipelines.image_kinds import is_for_processing, is_made_of_another, strange_kinds
from pipelines.projection_criteria import NOT_TOLD, image_failures


class Failure(NamedTuple):
    """What of a series fails a test: a DICOM keyword or a word of ours, and the sentence."""

    about: str
    told: str


def nearest_failures(criteria: InputCriteria, images: Iterable[Dataset]) -> list[Failure]:
    """Why the image of a series that comes nearest is not the wanted one; none where one is."""
    return min((list(_failures(criteria, image)) for image in images), key=_distance)


def code_of_none(failures: Iterable[Sequence[Failure]]) -> RefusalCode:
    """Why none fits: the one that would do does not tell its side, or it is not there."""
    hidden = any({one.about for one in found} == {NOT_TOLD} for found in failures)
    return RefusalCode.WRONG_LATERALITY if hidden else RefusalCode.MISSING_VIEW


def lacking(
    wanted: int, there: int, unfilled: Mapping[str, RefusalCode], rejected: Sequence[str]
) -> tuple[tuple[str, ...], RefusalCode]:
    """What is told of several views that are not all there once, and the gravest code."""
    told = f"{there} of {wanted} views are there once; not {', '.join(unfilled)}"
    codes = set(unfilled.values())
    graver = (RefusalCode.SEVERAL_IMAGES, RefusalCode.WRONG_LATERALITY, RefusalCode.MISSING_VIEW)
    code = next(code for code in graver if code in codes)
    if code is RefusalCode.MISSING_VIEW and not there:
        code = RefusalCode.NO_PIPELINE_MATCHES
    return (told, *rejected), code


def _distance(failures: Sequence[Failure]) -> tuple[int, bool]:
    """How far from fitting; one that may be the wanted side is nearer than one of the other."""
    return len(failures), all(failure.about != NOT_TOLD for failure in failures)


def _failures(criteria: InputCriteria, image: Dataset) -> Iterator[Failure]:
    for about, told in image_failures(image, criteria):
        yield Failure(about, told)
    for told in strange_kinds(image):
        yield Failure("kind of image", f"its images {told}")
    if is_made_of_another(image) and not criteria.allow_derived:
        yield Failure("ImageType", "ImageType is DERIVED, which allow_derived does not allow")
    if is_for_processing(image) and not criteria.allow_for_processing:
        told = "it is FOR PROCESSING, which allow_for_processing does not allow"
        yield Failure("PresentationIntentType", told)
