"""The report page as DICOM Encapsulated PDF (PS3.3 A.45.1), in the study that it is about."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from pipelines.objects.codes import IMAGING_MEASUREMENT_REPORT
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.result_header import code_item, mark_result
from pipelines.objects.source_series import SourceSeries

DOCUMENT_TITLE = "AI analysis report, not reviewed by a physician"
_MIME_TYPE = "application/pdf"


def encapsulate_pdf(
    pdf: bytes, sources: Iterable[SourceSeries], identity: ResultIdentity, origin: Origin
) -> Dataset:
    """Give the object; the first source gives patient and study.

    Burned In Annotation is YES, since the page names the patient; nobody has verified it.
    """
    sources = tuple(sources)
    document = Dataset()
    document.SOPClassUID = EncapsulatedPDFStorage
    document.SOPInstanceUID = identity.sop_instance_uid
    document.StudyInstanceUID = sources[0].first.StudyInstanceUID
    document.SeriesInstanceUID = identity.series_instance_uid
    document.SeriesNumber = identity.series_number
    document.Modality = "DOC"
    document.ConversionType = "WSD"
    document.InstanceNumber = 1
    document.AcquisitionDateTime = ""
    document.BurnedInAnnotation = "YES"
    document.DocumentTitle = DOCUMENT_TITLE
    document.ConceptNameCodeSequence = [code_item(IMAGING_MEASUREMENT_REPORT)]
    document.VerificationFlag = "UNVERIFIED"
    document.SourceInstanceSequence = source_references(sources)
    document.MIMETypeOfEncapsulatedDocument = _MIME_TYPE
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    document.EncapsulatedDocumentLength = len(pdf)
    mark_result(document, sources[0], identity, origin)
    return document


def pdf_of(document: Dataset) -> bytes:
    """Give the PDF of an Encapsulated PDF, without the byte that makes its length even."""
    stored: bytes = document.EncapsulatedDocument
    length = document.get("EncapsulatedDocumentLength")
    return stored if length is None else stored[: int(length)]


def source_references(sources: Iterable[SourceSeries]) -> list[Dataset]:
    """Name every image that was analysed (SOP Instance Reference Macro, PS3.3 10.8)."""
    items = []
    for source in sources:
        for header in source.headers:
            item = Dataset()
            item.ReferencedSOPClassUID = header.SOPClassUID
            item.ReferencedSOPInstanceUID = header.SOPInstanceUID
            items.append(item)
    return items
