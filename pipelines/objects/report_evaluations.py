"""Qualitative Evaluations of a report (TID 1500 rows 12 to 14): summary, absences, remark.

Absent structures stand here and not in measurement groups of their own (TID 1501): validators
tell group templates apart by content, and take every group of a report for the same template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.objects.codes import (
    ABSENT,
    COMMENT,
    FINDINGS_SUMMARY,
    LATERALITY,
    MARKED_FOR_REVIEW,
    QUALITATIVE_EVALUATIONS,
    TOPOGRAPHICAL_MODIFIER,
    WITH_FINDINGS,
    WITHOUT_FINDINGS,
    YES,
    coded,
)
from storage.dicom_records import CodedConcept
from storage.finding_site import LATERALITIES
from storage.records import AlgorithmIdentity, MeasurementRecord

NOT_REVIEWED = "AI-generated result, not reviewed by a physician."


def qualitative_evaluations(
    measurements: Iterable[MeasurementRecord],
    algorithm: AlgorithmIdentity,
    review: str = "",
    remark: str = "",
) -> Dataset:
    """Say that the algorithm ran, what it did not find, whether to look, and that nobody has yet.

    The summary is in the words that CAD reports have for it (CID 6047): a result without findings
    must differ from no result.
    """
    structures = list({item.tracking_uid: item for item in measurements}.values())
    absent = [item for item in structures if not item.is_present]
    summary = WITH_FINDINGS if len(absent) < len(structures) else WITHOUT_FINDINGS
    container: Dataset = hd.sr.ContainerContentItem(
        name=coded(QUALITATIVE_EVALUATIONS),
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = hd.sr.ContentSequence(
        [
            _code(FINDINGS_SUMMARY, summary),
            *(_absence(item) for item in absent if not item.is_of_class),
            *([_code(MARKED_FOR_REVIEW, YES)] if review else ()),
            _text(COMMENT, " ".join(filter(None, (_remark(absent, algorithm, review), remark)))),
        ]
    )
    return container


def _absence(structure: MeasurementRecord) -> Any:
    """Say that a structure is absent, with the modifier of its name (CID 210)."""
    item = _code(structure.property_type, ABSENT)
    modifier = structure.type_modifier
    if modifier is not None:
        name = LATERALITY if modifier.value in LATERALITIES else TOPOGRAPHICAL_MODIFIER
        relationship = hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
        item.ContentSequence = hd.sr.ContentSequence([_code(name, modifier, relationship)])
    return item


def _remark(absent: Iterable[MeasurementRecord], algorithm: AlgorithmIdentity, review: str) -> str:
    remark = f"{NOT_REVIEWED} Algorithm: {algorithm.name} {algorithm.version}."
    if review:
        remark = f"{remark} Marked for review: {review}."
    names = ", ".join(item.structure for item in absent)
    return f"{remark} Looked for and not found: {names}." if names else remark


def _code(name: CodedConcept, value: CodedConcept, relationship: Any = None) -> Any:
    return hd.sr.CodeContentItem(
        name=coded(name),
        value=coded(value),
        relationship_type=relationship or hd.sr.RelationshipTypeValues.CONTAINS,
    )


def _text(name: CodedConcept, value: str) -> Any:
    return hd.sr.TextContentItem(
        name=coded(name), value=value, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
    )
