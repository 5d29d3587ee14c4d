"""The report: what the algorithm says, or why it says nothing, in the shape of a human report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fhir.clean_text import clean
from fhir.codes import (
    DiagnosticReportStatus,
    System,
    asserted_by_ai,
    coding,
    diagnostic_imaging_study,
    from_dicom,
    radiology_categories,
)
from fhir.identifiers import ResultIdentity, dicom_uid
from fhir.narrative import build_narrative, conclusion, outcome_of, title
from fhir.report_context import ReportContext
from fhir.report_pdf import presented_pdf
from fhir.resources.R4B.attachment import Attachment
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.reference import Reference
from storage.dicom_records import CodedConcept
from storage.reason_words import reason_in_words
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import objects_at_pacs
from storage.telling import WITH_RESULT, Telling

REPORT_ROLE: Final = "report"

_NO_ALGORITHM: Final = CodedConcept("111245", "DCM", "No algorithms succeeded; without findings")
_OUTCOME_CODES: Final[Mapping[Telling, CodedConcept]] = {
    Telling.FINDINGS: CodedConcept("111242", "DCM", "All algorithms succeeded; with findings"),
    Telling.NO_FINDINGS: CodedConcept(
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
    `resultsInterpreter`, because nobody has read it. Without a result it is `cancelled`, with the
    coded reason, and nothing in it is asserted by an algorithm.
    """
    outcome = outcome_of(finished)
    has_result = outcome in WITH_RESULT
    return DiagnosticReport(
        meta=Meta(security=[asserted_by_ai()]) if has_result else None,
        text=build_narrative(finished, outcome),
        identifier=[report_identifier(context.identity), *_report_sr(finished)],
        basedOn=[context.based_on] if context.based_on else None,
        status=_status(finished, outcome),
        category=radiology_categories(),
        code=_code(finished),
        subject=context.subject,
        effectiveDateTime=context.effective,
        issued=context.issued,
        performer=[context.performer],
        result=list(results) or None,
        imagingStudy=[context.imaging_study] if context.imaging_study else None,
        conclusion=conclusion(finished, outcome),
        conclusionCode=_conclusion_codes(finished, outcome),
        presentedForm=_presented_form(finished, context),
    )


def _code(finished: FinishedJob) -> CodeableConcept:
    """What was ordered, where the images say so by a code that FHIR knows; else a general code."""
    ordered = finished.study.header.procedure_code
    code = from_dicom(ordered) if ordered else None
    if code is None or not code.coding:
        code = diagnostic_imaging_study()
    code.text = title(finished)
    return code


def _presented_form(finished: FinishedJob, context: ReportContext) -> list[Attachment] | None:
    """The PDF, where the job made one that an EHR takes."""
    pdf = presented_pdf(finished, context.issued)
    return [pdf] if pdf else None


def report_status(outcome: Telling) -> DiagnosticReportStatus:
    """`preliminary` while nobody has read it; `cancelled` where there is nothing to read."""
    if outcome in WITH_RESULT:
        return DiagnosticReportStatus.PRELIMINARY
    return DiagnosticReportStatus.CANCELLED


def _status(finished: FinishedJob, outcome: Telling) -> DiagnosticReportStatus:
    if finished.withdrawn_at is not None:
        return DiagnosticReportStatus.ENTERED_IN_ERROR
    return report_status(outcome)


def _conclusion_codes(finished: FinishedJob, outcome: Telling) -> list[CodeableConcept]:
    coded = from_dicom(_OUTCOME_CODES.get(outcome, _NO_ALGORITHM))
    reason = clean(finished.job.reason_code)
    if outcome in WITH_RESULT or reason is None:
        return [coded]
    text = clean(reason_in_words(finished.job))
    return [coded, CodeableConcept(coding=[coding(System.REASON, reason)], text=text or reason)]


def _report_sr(finished: FinishedJob) -> list[Identifier]:
    """The SR that says the same in DICOM, by its SOP Instance UID."""
    reports = (each for each in objects_at_pacs(finished) if each.kind is ObjectKind.SR)
    return [dicom_uid(each.sop_instance_uid) for each in reports]
