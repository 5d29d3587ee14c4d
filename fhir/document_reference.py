"""The report as a document, for EHRs that file documents and take no DiagnosticReport."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from config.settings import FhirContent
from fhir.attachment import attachment
from fhir.bundle import not_representable
from fhir.codes import (
    BundleType,
    DocumentReferenceStatus,
    DocumentStatus,
    HttpVerb,
    asserted_by_ai,
    diagnostic_imaging_study,
    radiology_categories,
)
from fhir.device import device_identifier
from fhir.identifiers import if_none_exist
from fhir.narrative import build_narrative, outcome_of, title
from fhir.references import References, logical_imaging_study
from fhir.report_context import ReportContext, report_context
from fhir.report_pdf import presented_pdf
from fhir.resources.R4B.attachment import Attachment
from fhir.resources.R4B.bundle import Bundle, BundleEntry, BundleEntryRequest
from fhir.resources.R4B.documentreference import (
    DocumentReference,
    DocumentReferenceContent,
    DocumentReferenceContext,
)
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.reference import Reference
from storage.records import FinishedJob
from storage.telling import WITH_RESULT

DOCUMENT_ROLE: Final = "document"
_XHTML: Final = "application/xhtml+xml"
_PAGE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{title}</title></head>'
    "<body>{body}</body></html>\n"
)


def build_document(
    finished: FinishedJob,
    *,
    content: FhirContent,
    organization_name: str,
    timezone: str,
    references: References,
    issued: datetime,
) -> Bundle:
    """The report as the one entry of a Bundle; arguments as for `fhir.bundle.build_bundle`.

    Raises:
        PermanentFhirError: something in the job cannot be said in FHIR.
    """
    study = references.imaging_study or _known_elsewhere(finished, content)
    try:
        context = report_context(
            finished,
            content,
            replace(references, imaging_study=study),
            organization_name,
            timezone=timezone,
            issued=issued,
        )
        document = build_document_reference(finished, context)
        full_url = context.identity.full_url(DOCUMENT_ROLE)
        condition = if_none_exist(context.identity.identifier(DOCUMENT_ROLE))
        request = BundleEntryRequest(
            method=HttpVerb.POST, url="DocumentReference", ifNoneExist=condition
        )
        entry = BundleEntry(fullUrl=full_url, resource=document, request=request)
        return Bundle(type=BundleType.TRANSACTION, entry=[entry])
    except ValidationError as error:
        raise not_representable(error) from None


def _known_elsewhere(finished: FinishedJob, content: FhirContent) -> Reference | None:
    """In this mode no ImagingStudy is created: the study is named by its UID."""
    return None if content.imaging_study == "omit" else logical_imaging_study(finished)


def build_document_reference(finished: FinishedJob, context: ReportContext) -> DocumentReference:
    """The DocumentReference with the PDF that an EHR takes, else an XHTML page; preliminary."""
    has_result = outcome_of(finished) in WITH_RESULT
    kind = diagnostic_imaging_study()
    kind.text = title(finished)
    return DocumentReference(
        meta=Meta(security=[asserted_by_ai()]) if has_result else None,
        identifier=[context.identity.identifier(DOCUMENT_ROLE)],
        status=DocumentReferenceStatus.CURRENT,
        docStatus=DocumentStatus.PRELIMINARY,
        type=kind,
        category=radiology_categories(),
        subject=context.subject,
        date=context.issued,
        author=[_author(finished, context) if has_result else context.performer],
        custodian=context.performer,
        description=title(finished),
        content=[DocumentReferenceContent(attachment=_page(finished, context))],
        context=_context(context),
    )


def _author(finished: FinishedJob, context: ReportContext) -> Reference:
    """The algorithm, by the identifier that its Device has or would have."""
    identifier = device_identifier(finished.algorithm, context.identity.system)
    return Reference(type="Device", identifier=identifier, display=title(finished))


def _page(finished: FinishedJob, context: ReportContext) -> Attachment:
    pdf = presented_pdf(finished, context.issued)
    if pdf is not None:
        return pdf
    narrative = build_narrative(finished, outcome_of(finished))
    page = _PAGE.format(title="AI analysis", body=narrative.div).encode()
    return attachment(page, _XHTML, title=title(finished), creation=context.issued)


def _context(context: ReportContext) -> DocumentReferenceContext | None:
    related = [each for each in (context.imaging_study, context.based_on) if each]
    return DocumentReferenceContext(related=related) if related else None
