"""Splits the slices of one series into stacks, each of which may be a volume.

A series may hold several: a stray localizer among the slices, echoes, b-values, phases,
acquisitions. Stacks differ in orientation, matrix, spacing or, enhanced, in their file; slices that
share their place are told apart by what their headers say (`frames.TRAITS`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.frames import TRAITS, Frame, Trait, sortable
from pipelines.geometry import (
    COSINE_TOLERANCE,
    DUPLICATE_WITHIN_MM,
    FEWEST_SLICES,
    IN_PLANE_TOLERANCE_MM,
)
from pipelines.orientation import slice_normal

ALWAYS_APART = frozenset({"stack"})

Stack = list[Frame]


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """The stacks of a series; a stack that cannot be split further may still be no volume."""
    return [stack for alike in _of_one_grid(frames) for stack in _told_apart(alike, tuple(TRAITS))]


def _of_one_grid(frames: Sequence[Frame]) -> list[Stack]:
    groups: list[Stack] = []
    for frame in sorted(frames, key=_place):
        fitting = (group for group in groups if _same_grid(group[0], frame))
        group = next(fitting, None)
        if group is None:
            groups.append([frame])
        else:
            group.append(frame)
    return groups


def _place(frame: Frame) -> tuple[float, ...]:
    plane = frame.plane
    return (*plane.orientation, *plane.pixel_spacing, *plane.position)


def _same_grid(one: Frame, other: Frame) -> bool:
    first, second = one.plane, other.plane
    cosines = np.abs(np.subtract(first.orientation, second.orientation)).max()
    spacing = np.abs(np.subtract(first.pixel_spacing, second.pixel_spacing)).max()
    return bool(
        (first.rows, first.columns) == (second.rows, second.columns)
        and _same_file_kind(one, other)
        and cosines <= COSINE_TOLERANCE
        and spacing <= IN_PLANE_TOLERANCE_MM
    )


def _same_file_kind(one: Frame, other: Frame) -> bool:
    if one.number is None or other.number is None:
        return one.number is other.number
    return one.path == other.path  # a result can name the frames of one enhanced image only


def _told_apart(frames: Stack, traits: tuple[str, ...]) -> list[Stack]:
    at_one_place = _most_at_one_place(frames)
    for index, trait in enumerate(traits):
        if at_one_place == 1 and trait not in ALWAYS_APART:
            continue
        groups = _by_trait(frames, trait)
        if _is_a_split(groups) and (
            trait in ALWAYS_APART or max(map(_most_at_one_place, groups)) < at_one_place
        ):
            left = traits[index + 1 :]
            return [stack for group in groups for stack in _told_apart(group, left)]
    return [frames]


def _is_a_split(groups: list[Stack]) -> bool:
    # One slice a group tells slices apart, not volumes (an acquisition time of its own each).
    return len(groups) > 1 and min(map(len, groups)) >= FEWEST_SLICES


def _by_trait(frames: Stack, trait: str) -> list[Stack]:
    groups: dict[Trait, Stack] = {}
    for frame in frames:
        groups.setdefault(frame.trait(trait), []).append(frame)
    return [groups[key] for key in sorted(groups, key=sortable)]


def _most_at_one_place(frames: Stack) -> int:
    normal = slice_normal(frames[0].plane.orientation)
    heights = np.sort([float(np.dot(frame.plane.position, normal)) for frame in frames])
    starts = np.flatnonzero(np.diff(heights, prepend=-np.inf) >= DUPLICATE_WITHIN_MM)
    return int(np.diff(starts, append=len(heights)).max())
