"""The preliminary report: what the algorithm says, in the shape that a human report has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fhir.attachment import PDF, attachment
from fhir.codes import (
    DiagnosticReportStatus,
    asserted_by_ai,
    diagnostic_imaging_study,
    from_dicom,
    radiology_categories,
)
from fhir.errors import PermanentFhirError
from fhir.identifiers import ResultIdentity, dicom_uid
from fhir.narrative import build_narrative, conclusion, title
from fhir.report_context import ReportContext
from fhir.resources.R4B.attachment import Attachment
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.reference import Reference
from storage.dicom_records import CodedConcept
from storage.records import FinishedJob, ObjectKind, Outcome

REPORT_ROLE: Final = "report"

_OUTCOME_CODES: Final[Mapping[Outcome, CodedConcept]] = {
    Outcome.FINDINGS: CodedConcept("111242", "DCM", "All algorithms succeeded; with findings"),
    Outcome.NO_FINDINGS: CodedConcept(
        "111241", "DCM", "All algorithms succeeded; without findings"
    ),
}
"""PS3.16 CID 6047: a report without findings says that the algorithm ran."""


def report_identifier(identity: ResultIdentity) -> Identifier:
    """The identifier by which a delivered report is found again."""
    return identity.identifier(REPORT_ROLE)


def build_report(
    finished: FinishedJob, context: ReportContext, results: Sequence[Reference]
) -> DiagnosticReport:
    """The DiagnosticReport.

    `performer` is the Organization, since R4 allows no Device there; nobody is named as
    `resultsInterpreter`, because nobody has read it.
    """
    outcome = outcome_of(finished)
    code = diagnostic_imaging_study()
    code.text = title(finished)
    return DiagnosticReport(
        meta=Meta(security=[asserted_by_ai()]),
        text=build_narrative(finished, outcome),
        identifier=[report_identifier(context.identity), *_report_sr(finished)],
        basedOn=[context.based_on] if context.based_on else None,
        status=DiagnosticReportStatus.PRELIMINARY,
        category=radiology_categories(),
        code=code,
        subject=context.subject,
        effectiveDateTime=context.effective,
        issued=context.issued,
        performer=[context.performer],
        result=list(results) or None,
        imagingStudy=[context.imaging_study] if context.imaging_study else None,
        conclusion=conclusion(finished, outcome),
        conclusionCode=[from_dicom(_OUTCOME_CODES[outcome])],
        presentedForm=_presented_form(finished, context),
    )


def _presented_form(finished: FinishedJob, context: ReportContext) -> list[Attachment] | None:
    """The PDF, where the job made one."""
    if finished.report_pdf is None:
        return None
    return [attachment(finished.report_pdf, PDF, title=title(finished), creation=context.issued)]


def outcome_of(finished: FinishedJob) -> Outcome:
    """What the job found.

    Raises:
        PermanentFhirError: it has no outcome.
    """
    if finished.job.outcome is None:
        raise PermanentFhirError("not_finished", "the job has no outcome to report")
    return finished.job.outcome


def _report_sr(finished: FinishedJob) -> list[Identifier]:
    """The SR that says the same in DICOM, by its SOP Instance UID."""
    reports = (each for each in finished.objects if each.kind is ObjectKind.SR)
    return [dicom_uid(each.sop_instance_uid) for each in reports]
