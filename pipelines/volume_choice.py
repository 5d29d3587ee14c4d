"""Chooses, among the stacks of one series, the volume that the policy wants, or refuses all.

A series of one stack is judged as it is. Of several, those that are regular volumes and fit the
policy's planes, numbers of slices and criteria are candidates; more than one candidate is refused
unless the policy says which to take. A few stray slices of quite another direction (a localizer
without the name) are left out; any other stray slice may be one that the volume lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import RefusalCode, Refused
from pipelines.frames import TRAITS, sortable
from pipelines.geometry import VolumeGeometry, arrange
from pipelines.orientation import slice_normal
from pipelines.reading_policy import ReadingPolicy
from pipelines.volume_split import Stack

STRAY_FROM_DEGREES = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class FoundVolume:
    """A regular stack: its frames in slice order, and its grid."""

    frames: Stack
    geometry: VolumeGeometry


def chosen_volume(stacks: Sequence[Stack], policy: ReadingPolicy) -> FoundVolume:
    """The one volume to read. Raises `Refused`."""
    if len(stacks) == 1:
        return _fitting(stacks[0], policy)
    volumes, refusals = [], []
    for stack in stacks:
        try:
            volumes.append(_fitting(stack, policy, judge_header=True))
        except Refused as refused:
            refusals.append((stack, refused))
    if not volumes:
        raise _none_fits(refusals, policy)
    found = _one_of(volumes, policy)
    _refuse_lost_slices(found, [stack for stack, _ in refusals], policy)
    return found


def _fitting(stack: Stack, policy: ReadingPolicy, *, judge_header: bool = False) -> FoundVolume:
    geometry = arrange(
        [frame.plane for frame in stack],
        fewest_slices=policy.fewest_slices,
        allow_tilt=policy.allow_tilt,
    )
    _refuse_unfit(len(stack), geometry, policy)
    ordered = [stack[index] for index in geometry.order]
    if judge_header:
        _refuse_by_criteria(ordered, policy)
    return FoundVolume(ordered, geometry)


def _refuse_unfit(slices: int, geometry: VolumeGeometry, policy: ReadingPolicy) -> None:
    if policy.most_slices is not None and slices > policy.most_slices:
        text = f"{slices} slices, at most {policy.most_slices} are allowed"
        raise Refused(RefusalCode.TOO_MANY_SLICES, text)
    if geometry.plane not in policy.orientations:
        text = f"slices are {geometry.plane}, allowed: {', '.join(policy.orientations)}"
        raise Refused(RefusalCode.WRONG_ORIENTATION, text)


def _refuse_by_criteria(ordered: Stack, policy: ReadingPolicy) -> None:
    header = ordered[0].judged_header()
    failures = [told for told in (test.failure(header) for test in policy.where) if told]
    if failures:
        raise Refused(RefusalCode.NO_PIPELINE_MATCHES, "; ".join(failures))


def _one_of(volumes: list[FoundVolume], policy: ReadingPolicy) -> FoundVolume:
    first, *others = sorted(volumes, key=_rank)
    if not others or policy.several_volumes == "first":
        return first
    if policy.several_volumes == "most_slices":
        return max((first, *others), key=lambda volume: len(volume.frames))
    counts = ", ".join(str(len(volume.frames)) for volume in volumes)
    text = (
        f"the series holds {len(volumes)} volumes that fit, of {counts} slices"
        f"{_differing(volumes)}; criteria or several_volumes of the definition can choose"
    )
    raise Refused(RefusalCode.SEVERAL_VOLUMES, text)


def _rank(volume: FoundVolume) -> tuple[object, ...]:
    frame = volume.frames[0]
    return (*(sortable(frame.trait(name)) for name in TRAITS), str(frame.header.SOPInstanceUID))


def _differing(volumes: Sequence[FoundVolume]) -> str:
    names = [
        name
        for name in TRAITS
        if len({volume.frames[0].trait(name) for volume in volumes}) == len(volumes)
    ]
    return f", each with its own {names[0]}" if names else ""


def _none_fits(refusals: list[tuple[Stack, Refused]], policy: ReadingPolicy) -> Refused:
    largest, refused = max(refusals, key=lambda pair: len(pair[0]))
    everything = [frame for stack, _ in refusals for frame in stack]
    if len(largest) < policy.fewest_slices <= len(everything):
        # No stack is a volume, and their mixture tells why.
        try:
            arrange([frame.plane for frame in everything], fewest_slices=policy.fewest_slices)
        except Refused as mixed:
            return mixed
    told = f"of {len(refusals)} stacks of slices in the series the largest: {refused.text}"
    return Refused(refused.code, told)


def _refuse_lost_slices(found: FoundVolume, others: Sequence[Stack], policy: ReadingPolicy) -> None:
    for stack in others:
        if len(stack) >= policy.fewest_slices or _degrees(found, stack) > STRAY_FROM_DEGREES:
            continue
        planes = [frame.plane for frame in (*found.frames, *stack)]
        arrange(planes, fewest_slices=policy.fewest_slices, allow_tilt=policy.allow_tilt)
        text = f"{len(stack)} of {len(planes)} slices do not belong to the others"
        raise Refused(RefusalCode.NOT_A_VOLUME, text)


def _degrees(found: FoundVolume, stack: Stack) -> float:
    """Largest angle in degrees between the rows, columns or normals of the two stacks."""
    one = np.reshape(found.frames[0].plane.orientation, (2, 3))
    other = np.reshape(stack[0].plane.orientation, (2, 3))
    normals = slice_normal(one.ravel()), slice_normal(other.ravel())
    cosines = [*(one * other).sum(axis=1), float(np.dot(*normals))]
    return float(np.degrees(np.arccos(np.clip(min(cosines), -1.0, 1.0))))
