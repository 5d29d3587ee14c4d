"""The PDF of a job in what an EHR gets, where the EHR takes one of its size."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from fhir.attachment import PDF, attachment, data_length
from fhir.narrative import title
from fhir.resources.R4B.attachment import Attachment
from storage.records import FinishedJob
from storage.sent_objects import LEFT_OUT_KEY

MOST_DATA: Final = 1_000_000
"""Characters of base64. R4 allows a string 1024 * 1024 (datatypes.html#string), and servers hold
base64Binary to that as well; those that mean a million by 1 MB are served, too."""


def presented_pdf(finished: FinishedJob, issued: datetime) -> Attachment | None:
    """The PDF; None where the job made none, or one that is too large."""
    pdf = finished.report_pdf
    if pdf is None or data_length(pdf) > MOST_DATA:
        return None
    return attachment(pdf, PDF, title=title(finished), creation=issued)


def told_left_out(finished: FinishedJob) -> Mapping[str, str]:
    """What a receipt says beside the rest: that the report went without its PDF, and why.

    Nothing where it went with it, and in a withdrawal, which tells no result.
    """
    pdf = finished.report_pdf
    if pdf is None or finished.withdrawn_at is not None or data_length(pdf) <= MOST_DATA:
        return {}
    why = f"{data_length(pdf)} characters of base64, EHRs are sent {MOST_DATA} at the most"
    return {LEFT_OUT_KEY: f"PDF: {why}"}
