"""Chooses, from headers alone, the series that fills each input role of a pipeline.

Reasons name series by number and attributes by keyword; they hold found values only where
these cannot identify a patient (numbers and code strings), so they are fit for logs and pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pydicom.dataset import Dataset

from pipelines.criteria import attribute_values
from pipelines.definition_schema import InputCriteria, PipelineDefinition, Preference
from pipelines.errors import RefusalCode
from pipelines.image_kinds import is_derived
from pipelines.orientation import plane_of
from pipelines.projection_criteria import taken_at
from pipelines.projection_selection import Failure, code_of_none, lacking, nearest_failures
from storage.dicom_records import SeriesRecord


@dataclass(frozen=True, eq=False)
class SeriesCandidate:
    """One series of the study, known by its record and one representative header.

    `header` needs no pixels; `instance_count` counts the instances that are here. `images` are
    the headers of all projections of the series, where it is one of those: each is another view.
    """

    record: SeriesRecord
    header: Dataset
    instance_count: int
    images: tuple[Dataset, ...] = ()

    @cached_property
    def slice_count(self) -> int:
        """Instances, times the frames of each for multi-frame images."""
        frames = attribute_values(self.header, "NumberOfFrames")
        number = frames[0] if frames and isinstance(frames[0], int) else 1
        return self.instance_count * max(1, number)

    @cached_property
    def orientation(self) -> str | None:
        """`axial`, `coronal`, `sagittal` or `oblique`; None when the header does not say."""
        cosines = attribute_values(self.header, "ImageOrientationPatient")
        if len(cosines) != 6 or not all(isinstance(value, int | float) for value in cosines):
            return None
        return plane_of(cosines)

    @property
    def told(self) -> str:
        """The series as a reason names it."""
        number = self.record.header.series_number
        return "series without number" if number is None else f"series {number}"


class Chosen(NamedTuple):
    """The series for one role and why it was taken."""

    candidate: SeriesCandidate
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """A series for every role; `rejected` tells why each of the others does not fit."""

    inputs: Mapping[str, Chosen]
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoMatch:
    """At least one role stays empty; one reason for each series and role.

    `code` says more where the study has some of several views, but not all, or one twice.
    """

    reasons: tuple[str, ...]
    code: RefusalCode = RefusalCode.NO_PIPELINE_MATCHES


def select_inputs(
    definition: PipelineDefinition, candidates: Iterable[SeriesCandidate]
) -> Selection | NoMatch:
    """Choose one series for every input role; a series of slices fills one role at most.

    Several projections of one series may each fill a role. The same candidates in any order give
    the same choice.
    """
    left = sorted(candidates, key=lambda candidate: candidate.record.header.series_instance_uid)
    chosen: dict[str, Chosen] = {}
    rejected: list[str] = []
    unfilled: dict[str, RefusalCode] = {}
    for role, criteria in definition.inputs.items():
        fitting, failures = _fitting(criteria, left)
        rejected.extend(
            f"{candidate.told}, {role}: {'; '.join(failure.told for failure in found)}"
            for candidate, found in failures
        )
        if not fitting:
            unfilled[role] = code_of_none([found for _, found in failures])
            continue
        abouts = tuple(dict.fromkeys(failure.about for _, found in failures for failure in found))
        counted = _counted(len(fitting), len(left), abouts)
        found = _chosen(criteria, fitting, counted)
        if found is None:
            unfilled[role] = RefusalCode.SEVERAL_IMAGES
            rejected.append(f"{role}: {_several(fitting)}")
            continue
        chosen[role] = found
        if definition.several_projections is None:
            left.remove(found.candidate)
    if unfilled and not _may_lack(definition, chosen, unfilled):
        if definition.several_projections is None:
            return NoMatch(tuple(rejected) or ("the study has no series",))
        return NoMatch(*lacking(len(definition.inputs), len(chosen), unfilled, rejected))
    return Selection(chosen, tuple(rejected))


def _may_lack(
    definition: PipelineDefinition,
    chosen: Mapping[str, Chosen],
    unfilled: Mapping[str, RefusalCode],
) -> bool:
    """Whether what is there is enough; of a view that is there twice, nobody knows which counts."""
    allowed = definition.missing_views == "leave_out" and bool(chosen)
    return allowed and set(unfilled.values()) <= {RefusalCode.MISSING_VIEW}


def _fitting(
    criteria: InputCriteria, candidates: list[SeriesCandidate]
) -> tuple[list[SeriesCandidate], list[tuple[SeriesCandidate, tuple[Failure, ...]]]]:
    judged = [(candidate, tuple(_failures(criteria, candidate))) for candidate in candidates]
    fitting = [candidate for candidate, found in judged if not found]
    return fitting, [(candidate, found) for candidate, found in judged if found]


def _failures(criteria: InputCriteria, candidate: SeriesCandidate) -> Iterable[Failure]:
    if criteria.kind == "projection":
        return nearest_failures(criteria, candidate.images or (candidate.header,))
    return _volume_failures(criteria, candidate)


def _volume_failures(criteria: InputCriteria, candidate: SeriesCandidate) -> Iterable[Failure]:
    for criterion in criteria.where:
        failure = criterion.failure(candidate.header)
        if failure:
            yield Failure(criterion.tag, failure)
    if is_derived(candidate.header) and not criteria.allow_derived:
        yield Failure("ImageType", "ImageType is DERIVED, which allow_derived does not allow")
    low, high = criteria.slices.min, criteria.slices.max
    if not low <= candidate.slice_count <= high:
        told = f"{candidate.slice_count} slices are not within {low} to {high}"
        yield Failure("slice count", told)
    if candidate.orientation is None:
        yield Failure("orientation", "ImageOrientationPatient is missing")
    elif candidate.orientation not in criteria.orientation:
        allowed = ", ".join(criteria.orientation)
        told = f"orientation {candidate.orientation} is not one of {allowed}"
        yield Failure("orientation", told)


def _counted(fitting: int, of: int, abouts: tuple[str, ...]) -> str:
    counted = f"{fitting} of {of} series fit"
    return f"{counted}; the others fail on {', '.join(abouts)}" if abouts else counted


def _chosen(criteria: InputCriteria, fitting: list[SeriesCandidate], counted: str) -> Chosen | None:
    """The best by the stated order; None for X-rays that no order tells apart.

    Each exposure often is a series of its own, and which of two is the retake is no matter of UIDs.
    """
    if criteria.kind == "volume":
        return _preferred(criteria.prefer, fitting, counted)
    steps = criteria.prefer if "prefer" in criteria.model_fields_set else ()
    left = fitting
    for step in steps:
        left = _best(step, left)
    if len(left) == 1:
        return Chosen(left[0], counted)
    if criteria.several_images == "refuse":
        return None
    ordered = sorted(left, key=lambda one: _taken_at(criteria, one))
    taken = ordered[-1 if criteria.several_images == "last" else 0]
    return Chosen(taken, f"{counted}; chosen: {criteria.several_images} taken of {len(left)}")


def _taken_at(criteria: InputCriteria, candidate: SeriesCandidate) -> tuple[str, str, int, str]:
    """When the image that the policy takes of the series was taken."""
    images = candidate.images or (candidate.header,)
    fitting = [one for one in images if not nearest_failures(criteria, (one,))]
    moments = sorted(taken_at(one) for one in fitting)
    return moments[-1 if criteria.several_images == "last" else 0]


def _several(fitting: list[SeriesCandidate]) -> str:
    named = ", ".join(candidate.told for candidate in fitting)
    return (
        f"{len(fitting)} series hold an image that fits ({named}); criteria, views, prefer or "
        "several_images of the definition can choose"
    )


def _preferred(
    steps: tuple[Preference, ...], fitting: list[SeriesCandidate], counted: str
) -> Chosen:
    deciding = ""
    left = fitting
    for step in steps:
        best = _best(step, left)
        if len(best) < len(left):
            deciding = _told(step, best[0])
        left = best
    if len(fitting) == 1:
        return Chosen(left[0], counted)
    if len(left) > 1:
        deciding = f"first of {len(left)} equals by Series Instance UID"
    return Chosen(left[0], f"{counted}; chosen: {deciding}")


def _best(step: Preference, candidates: list[SeriesCandidate]) -> list[SeriesCandidate]:
    if step.slices:
        counts = [candidate.slice_count for candidate in candidates]
        wanted = max(counts) if step.slices == "most" else min(counts)
        return [candidate for candidate in candidates if candidate.slice_count == wanted]
    keys = {id(candidate): _sort_key(step, candidate) for candidate in candidates}
    known = [key for key in keys.values() if key is not None]
    if not known:
        return candidates
    best = min(known) if step.order == "ascending" else max(known)
    return [candidate for candidate in candidates if keys[id(candidate)] == best]


def _sort_key(step: Preference, candidate: SeriesCandidate) -> tuple[int, float, str] | None:
    values = attribute_values(candidate.header, step.tag) if step.tag else ()
    if not values:
        return None  # a series that does not say loses against one that does
    first = values[0]
    return (0, float(first), "") if isinstance(first, int | float) else (1, 0.0, str(first))


def _told(step: Preference, best: SeriesCandidate) -> str:
    if step.slices:
        return f"{step.slices} slices ({best.slice_count})"
    return f"{'lowest' if step.order == 'ascending' else 'highest'} {step.tag}"
