"""SR of a study that was not processed, or on which the work failed (PS3.16 TID 1500).

It has the header of one of the study's images, the word that CAD reports have for an algorithm
without success (CID 6047), and the coded reason; no measurement, and no image but that one.
"""

from __future__ import annotations

from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.codes import (
    COMMENT,
    DEVICE,
    ENGLISH,
    FINDINGS_SUMMARY,
    IMAGING_MEASUREMENT_REPORT,
    PROCEDURE_REPORTED,
    QUALITATIVE_EVALUATIONS,
    coded,
)
from pipelines.objects.composing import OutcomeRequest
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.result_header import mark_result
from pipelines.objects.source_header import TYPE_2
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.station import MANUFACTURER, Station
from pipelines.objects.uids import device_uid, encoded_uid
from storage.dicom_records import CodedConcept
from storage.records import AlgorithmIdentity

SERIES_NUMBER = 9090
NO_ALGORITHM_SUCCEEDED = CodedConcept("111245", "DCM", "No algorithms succeeded; without findings")
IMAGING_PROCEDURE = CodedConcept("363679005", "SCT", "Imaging procedure")


def build_outcome_report(request: OutcomeRequest, image: Dataset) -> Dataset:
    """Build the report; `image` is the header that it is filed by.

    The same request and header give the same dataset. Raises ValueError where the header names no
    study, series or instance.
    """
    if not all(image.get(keyword) for keyword in _NAMED):
        raise ValueError("the header names no study, series or instance")
    uid = encoded_uid(str(image.StudyInstanceUID), f"outcome {request.role}")
    content = _content(request)
    report: Dataset = hd.sr.Comprehensive3DSR(
        evidence=[_evidence(image)],
        content=content,
        series_instance_uid=encoded_uid(uid, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    identity = ResultIdentity(
        uid, str(report.SeriesInstanceUID), SERIES_NUMBER, request.series_description
    )
    mark_result(report, SourceSeries((image,)), identity, _origin(request))
    # No model has made anything.
    del report.ContributingEquipmentSequence
    for keyword, value in request.attributes:
        setattr(report, keyword, value)
    return report


def prove_outcome_report(report: Dataset, request: OutcomeRequest) -> None:
    """Compare a report that was read back with what it should say.

    Raises:
        ProofFailed: summary or reason differ.
    """
    evaluations = [item for item in report.ContentSequence if item.ValueType == "CONTAINER"]
    items = evaluations[-1].ContentSequence if evaluations else []
    summaries = [
        str(item.ConceptCodeSequence[0].CodeValue) for item in items if item.ValueType == "CODE"
    ]
    texts = [str(item.TextValue) for item in items if item.ValueType == "TEXT"]
    if summaries != [NO_ALGORITHM_SUCCEEDED.value] or texts != [request.text]:
        raise ProofFailed("the report does not say why there is no result")


_NAMED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def _content(request: OutcomeRequest) -> Dataset:
    has_modifier = hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
    contains = hd.sr.RelationshipTypeValues.CONTAINS
    evaluations: Dataset = hd.sr.ContainerContentItem(
        name=coded(QUALITATIVE_EVALUATIONS), relationship_type=contains
    )
    evaluations.ContentSequence = hd.sr.ContentSequence(
        [
            hd.sr.CodeContentItem(
                name=coded(FINDINGS_SUMMARY),
                value=coded(NO_ALGORITHM_SUCCEEDED),
                relationship_type=contains,
            ),
            hd.sr.TextContentItem(
                name=coded(COMMENT), value=request.text, relationship_type=contains
            ),
        ]
    )
    procedure = hd.sr.CodeContentItem(
        name=coded(PROCEDURE_REPORTED),
        value=coded(IMAGING_PROCEDURE),
        relationship_type=has_modifier,
    )
    language = hd.sr.LanguageOfContentItemAndDescendants(coded(ENGLISH))
    root: Dataset = hd.sr.ContainerContentItem(
        name=coded(IMAGING_MEASUREMENT_REPORT), template_id="1500"
    )
    root.ContentSequence = hd.sr.ContentSequence(
        [*language, *_observer(request), procedure, evaluations]
    )
    return root


def _observer(request: OutcomeRequest) -> Any:
    algorithm = _algorithm(request)
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=algorithm.device_uid,
        name=request.node_name,
        manufacturer_name=algorithm.manufacturer,
        model_name=algorithm.name,
        serial_number=request.node_name,
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=coded(DEVICE), observer_identifying_attributes=device
        )
    )


def _origin(request: OutcomeRequest) -> Origin:
    station = Station(
        request.node_name, request.ae_title, request.institution_name, request.software_version
    )
    return Origin(_algorithm(request), station, request.content_time)


def _algorithm(request: OutcomeRequest) -> AlgorithmIdentity:
    """Give the model that should have run; where no pipeline took the study, the node itself."""
    name, version = request.algorithm or (MANUFACTURER, request.software_version)
    return AlgorithmIdentity(name, version, "", request.device_uid or device_uid(request.node_name))


def _evidence(image: Dataset) -> Dataset:
    """Give what the library asks of the image: references, and no patient."""
    evidence = Dataset()
    for keyword in _NAMED:
        setattr(evidence, keyword, str(image.get(keyword)))
    for keyword in TYPE_2:
        setattr(evidence, keyword, "")
    evidence.SpecificCharacterSet = "ISO_IR 192"
    return evidence
