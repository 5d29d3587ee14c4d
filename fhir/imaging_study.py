"""The study as ImagingStudy, for sites whose EHR gets none from elsewhere (`create`)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from fhir.clean_text import clean
from fhir.codes import ImagingStudyStatus, System, coding, fhir_code, from_dicom
from fhir.identifiers import accession, dicom_uid, study_identifier
from fhir.report_context import ReportContext
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.imagingstudy import (
    ImagingStudy,
    ImagingStudySeries,
    ImagingStudySeriesInstance,
)
from storage.dicom_records import SeriesRecord, StudyHeader
from storage.records import FinishedJob, ResultObject
from storage.sent_objects import objects_at_pacs

MODALITY_OTHER: Final = "OT"


def build_imaging_study(
    finished: FinishedJob, context: ReportContext, accession_system: str | None
) -> ImagingStudy:
    """The study with the series received and the SEG and SR series made from them."""
    series = [*map(_source_series, finished.series), *_result_series(objects_at_pacs(finished))]
    procedure = finished.study.header.procedure_code
    return ImagingStudy(
        identifier=_identifiers(finished.study.header, accession_system, context.identity.system),
        status=ImagingStudyStatus.AVAILABLE,
        modality=_modalities(series),
        subject=context.subject,
        started=context.effective,
        basedOn=[context.based_on] if context.based_on else None,
        procedureCode=[from_dicom(procedure)] if procedure and procedure.value else None,
        numberOfSeries=len(series),
        numberOfInstances=sum(int(each.numberOfInstances or 0) for each in series),
        description=clean(finished.study.header.study_description),
        series=series,
    )


def _identifiers(
    header: StudyHeader, accession_system: str | None, own_system: str
) -> list[Identifier]:
    """The study's UID first, by which it is created once; last what marks it as ours."""
    study = dicom_uid(header.study_instance_uid)
    order = accession(header.accession_number, accession_system)
    own = study_identifier(header.study_instance_uid, own_system)
    return [study, order, own] if order else [study, own]


def _source_series(series: SeriesRecord) -> ImagingStudySeries:
    header = series.header
    return ImagingStudySeries(
        uid=header.series_instance_uid,
        number=_unsigned(header.series_number),
        modality=_modality(header.modality),
        description=clean(header.series_description),
        numberOfInstances=series.instance_count,
    )


def _result_series(objects: Iterable[ResultObject]) -> list[ImagingStudySeries]:
    ordered = sorted(objects, key=lambda each: (each.series_number, each.series_instance_uid))
    groups = groupby(ordered, key=lambda each: each.series_instance_uid)
    return [_series_of_objects(tuple(group)) for _, group in groups]


def _series_of_objects(objects: tuple[ResultObject, ...]) -> ImagingStudySeries:
    first = objects[0]
    return ImagingStudySeries(
        uid=first.series_instance_uid,
        number=_unsigned(first.series_number),
        modality=_modality(first.kind.modality),
        description=clean(first.series_description),
        numberOfInstances=len(objects),
        instance=[_instance(each) for each in objects],
    )


def _instance(result: ResultObject) -> ImagingStudySeriesInstance:
    sop_class = coding(System.URI, f"urn:oid:{result.sop_class_uid}")
    return ImagingStudySeriesInstance(uid=result.sop_instance_uid, sopClass=sop_class)


def _modality(modality: str) -> Coding:
    """R4 wants a modality for every series; (0008,0060) may be empty or odd in a faulty header."""
    return coding(System.DCM, fhir_code(modality) or MODALITY_OTHER)


def _modalities(series: Iterable[ImagingStudySeries]) -> list[Coding]:
    found = dict.fromkeys(str(each.modality.code) for each in series)
    return [_modality(code) for code in found]


def _unsigned(number: int | None) -> int | None:
    """Series Number (IS) may be negative; `unsignedInt` may not."""
    return number if number is not None and number >= 0 else None
