"""The PDF of a finished job, read from its object for reports that carry it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from string import ascii_letters, digits
from typing import Final

import structlog
from pydicom import dcmread

from node.fallback import told_left_out
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind, ResultObject

_COMPARED: Final = 40
"""Characters of a Patient ID; of one that is too long, a page holds the beginning alone."""

_TOLD_ALIKE: Final = frozenset(ascii_letters + digits + "-_./:")

log = structlog.get_logger()


def hand_over(
    finished: FinishedJob,
    files: InstanceFiles,
    deliver: Callable[[FinishedJob], Mapping[str, str]],
) -> Mapping[str, str]:
    """Deliver a job with the PDF that it made; the receipt says where that stays away."""
    told = with_pdf(finished, files)
    receipt = deliver(told)
    is_told = finished.withdrawn_at is None
    if is_told and told.report_pdf is None and _page(finished) is not None:
        return told_left_out(receipt, "PDF", "it names another patient than the report does now")
    return receipt


def with_pdf(finished: FinishedJob, files: InstanceFiles) -> FinishedJob:
    """Return the job with the PDF that it made; unchanged where it made none.

    A page that names another patient than the report stays away: a study whose patient was
    corrected may still hold images of the former one.

    Raises OSError while the file cannot be read.
    """
    made = _page(finished)
    if made is None:
        return finished
    document = dcmread(files.absolute(made.path))
    if _plain(document.get("PatientID")) != _plain(finished.study.header.patient.patient_id):
        log.warning("page_of_another_patient_left_out", job_id=finished.job.job_id)
        return finished
    stored: bytes = document.EncapsulatedDocument
    return replace(finished, report_pdf=stored[: int(document.EncapsulatedDocumentLength)])


def _page(finished: FinishedJob) -> ResultObject | None:
    return next((each for each in finished.objects if each.kind is ObjectKind.PDF), None)


def _plain(patient_id: object) -> str:
    """First letters, digits and what parts them; pages and databases differ in how the rest is."""
    kept = (each for each in str(patient_id or "") if each in _TOLD_ALIKE)
    return "".join(kept)[:_COMPARED]
