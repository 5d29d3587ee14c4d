"""Codes of quantities that storage, reports and pipelines tell apart.

Those of the scheme 99RADNODE are ours: neither DCM nor SNOMED CT has codes for them.
"""

from __future__ import annotations

from storage.dicom_records import CodedConcept

MEAN_ENTROPY = CodedConcept("ENTROPY", "99RADNODE", "Mean entropy of the model's answer")
VOLUME_LOWEST = CodedConcept("VOLUME-MIN", "99RADNODE", "Least volume of several passes")
VOLUME_HIGHEST = CodedConcept("VOLUME-MAX", "99RADNODE", "Greatest volume of several passes")
CERTAINTY = CodedConcept("111012", "DCM", "Certainty of Finding")
OPERATING_POINT = CodedConcept("OPERATING-POINT", "99RADNODE", "Operating point")

CERTAINTY_MEAN = CodedConcept("CERTAINTY-MEAN", "99RADNODE", "Mean certainty of several passes")
CERTAINTY_LOWEST = CodedConcept("CERTAINTY-MIN", "99RADNODE", "Least certainty of several passes")
CERTAINTY_HIGHEST = CodedConcept(
    "CERTAINTY-MAX", "99RADNODE", "Greatest certainty of several passes"
)
PREDICTIVE_ENTROPY = CodedConcept(
    "PREDICT-ENTROPY", "99RADNODE", "Predictive entropy of several passes"
)
MUTUAL_INFORMATION = CodedConcept(
    "MUTUAL-INFO", "99RADNODE", "Mutual information of answer and pass"
)

_OF_PASSES_OVER_CLASSES = frozenset(
    {CERTAINTY_MEAN, CERTAINTY_LOWEST, CERTAINTY_HIGHEST, PREDICTIVE_ENTROPY, MUTUAL_INFORMATION}
)

QUALIFYING = _OF_PASSES_OVER_CLASSES | {
    MEAN_ENTROPY,
    VOLUME_LOWEST,
    VOLUME_HIGHEST,
    OPERATING_POINT,
}
"""They say how sure, or from where on positive, another quantity of the same structure is."""

OF_CLASSES = _OF_PASSES_OVER_CLASSES | {CERTAINTY, OPERATING_POINT}
"""Quantities of a class of the whole image, which have a value whether it is present or not."""

_DIMENSIONLESS = "1"


def with_unit(number: str, unit: str) -> str:
    """The number with its UCUM unit, for people: they read "0.97 1" as two numbers."""
    return number if unit == _DIMENSIONLESS else f"{number} {unit}"
