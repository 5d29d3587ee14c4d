"""Where a finding lies, by one rule for the SR (TID 1411 Finding Site) and FHIR (bodySite)."""

from __future__ import annotations

from storage.dicom_records import CodedConcept
from storage.records import MeasurementRecord

ANATOMICAL_STRUCTURES = frozenset({("91723000", "SCT"), ("123037004", "SCT")})
"""Categories whose property type is itself the place of the finding (CID 7150; the second is
the code that most existing segmentations use)."""

LATERALITIES = frozenset({"7771000", "24028007", "51440002", "66459002"})
"""SNOMED CT left, right, right and left, unilateral (CID 244)."""


def is_anatomy(measurement: MeasurementRecord) -> bool:
    """Whether what was found is a part of the body, and no lesion or object in one."""
    category = measurement.category
    return (category.value, category.scheme) in ANATOMICAL_STRUCTURES


def finding_site(measurement: MeasurementRecord) -> CodedConcept | None:
    """Give the structure itself if it is anatomy, else its region, which may be unknown."""
    if is_anatomy(measurement):
        return measurement.property_type
    return measurement.anatomic_region
