"""Codes that the result objects use (PS3.16), and our records as highdicom's coded concepts."""

from __future__ import annotations

from typing import Any

import highdicom as hd

from storage.dicom_records import CodedConcept

SOURCE_IMAGE = CodedConcept("121322", "DCM", "Source image for image processing operation")
PROCESSING_EQUIPMENT = CodedConcept("109102", "DCM", "Processing Equipment")
DEVICE = CodedConcept("121007", "DCM", "Device")
ENGLISH = CodedConcept("en-US", "RFC5646", "English (United States)")
IMAGING_MEASUREMENT_REPORT = CodedConcept("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = CodedConcept("126010", "DCM", "Imaging Measurements")
PROCEDURE_REPORTED = CodedConcept("121058", "DCM", "Procedure reported")
OF_INTEREST = CodedConcept("113000", "DCM", "Of Interest")
LATERALITY = CodedConcept("272741003", "SCT", "Laterality")
TOPOGRAPHICAL_MODIFIER = CodedConcept("106233006", "SCT", "Topographical modifier")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
FINDINGS_SUMMARY = CodedConcept("111017", "DCM", "CAD Processing and Findings Summary")
WITHOUT_FINDINGS = CodedConcept("111241", "DCM", "All algorithms succeeded; without findings")
WITH_FINDINGS = CodedConcept("111242", "DCM", "All algorithms succeeded; with findings")
COMMENT = CodedConcept("121106", "DCM", "Comment")
MARKED_FOR_REVIEW = CodedConcept("REVIEW", "99RADNODE", "Marked for review")
YES = CodedConcept("373066001", "SCT", "Yes")
PRESENCE = CodedConcept("705057003", "SCT", "Presence")
PRESENT = CodedConcept("52101004", "SCT", "Present")
ABSENT = CodedConcept("272519000", "SCT", "Absent")
VISUAL_EXPLANATION = CodedConcept("130401", "DCM", "Visual explanation")
VOLUME = CodedConcept("118565006", "SCT", "Volume")
PERCENT = CodedConcept("%", "UCUM", "Percent")
ONE = CodedConcept("1", "UCUM", "no units")
MILLILITRE = CodedConcept("mL", "UCUM", "milliliter")


def coded(concept: CodedConcept) -> Any:
    """Give the concept as a highdicom CodedConcept, which is a code sequence item."""
    return hd.sr.CodedConcept(concept.value, concept.scheme, concept.meaning)
