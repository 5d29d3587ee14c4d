"""Images of one job are of one study and one patient, or no result could be filed rightly.

Where a person releases an instance from quarantine, its study takes another patient, or a series
moves to another study, while the images that were there before still name the former one.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset

from pipelines.errors import RefusalCode, Refused


def refuse_several_studies(headers: Iterable[Dataset]) -> None:
    """Raise `Refused` (mixed_series) for images that name several studies or patients."""
    known = tuple(headers)
    for keyword, what in (("StudyInstanceUID", "studies"), ("PatientID", "patients")):
        _refuse_several({_value(header, keyword) for header in known}, what)
    # As where instances are received: an issuer counts only where both name one.
    issuers = {_value(header, "IssuerOfPatientID") for header in known} - {""}
    _refuse_several(issuers, "issuers of Patient IDs")


def _refuse_several(values: set[str], what: str) -> None:
    if len(values) > 1:
        text = f"the images name {len(values)} {what}; have the whole study sent again"
        raise Refused(RefusalCode.MIXED_SERIES, text)


def _value(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
