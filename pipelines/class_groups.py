"""What a classifier's answers are told of: the patient, a side, a single picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.class_passes import Probabilities
from pipelines.definition_schema import InputCriteria
from storage.dicom_records import CodedConcept

RIGHT = CodedConcept("24028007", "SCT", "Right")
LEFT = CodedConcept("7771000", "SCT", "Left")
SIDES = {"R": RIGHT, "L": LEFT}


@dataclass(frozen=True, eq=False)
class ClassGroup:
    """One answer [pass, output] that is told, of the pictures of these roles.

    `name` tells it from the others of the job, '' for the one answer to all; `side` where it is of
    one side alone.
    """

    name: str
    roles: tuple[str, ...]
    probabilities: Probabilities
    side: CodedConcept | None = None


def combined_groups(
    inputs: Mapping[str, InputCriteria], by_role: Mapping[str, Probabilities]
) -> tuple[ClassGroup, ...]:
    """The greatest answer of all pictures, that of each side, and each picture's own.

    Pass by pass: an interval is that of the greatest answers, too.
    """
    sides: dict[str, list[str]] = {}
    for role in by_role:
        side = inputs[role].laterality
        if side:
            sides.setdefault(side, []).append(role)
    of_sides = [
        ClassGroup(SIDES[side].meaning.lower(), tuple(roles), _most(by_role, roles), SIDES[side])
        for side, roles in sorted(sides.items(), reverse=True)
    ]
    of_pictures = [
        ClassGroup(role.upper(), (role,), found, SIDES.get(inputs[role].laterality or ""))
        for role, found in by_role.items()
    ]
    whole = ClassGroup("", tuple(by_role), _most(by_role, list(by_role)))
    return (whole, *of_sides, *of_pictures)


def _most(by_role: Mapping[str, Probabilities], roles: Sequence[str]) -> Probabilities:
    found: Probabilities = np.max([by_role[role] for role in roles], axis=0)
    return found
