"""SR of a result (PS3.16 TID 1500 in Comprehensive 3D SR): measured, absent, or nothing found.

Preliminary and unverified always: no person has read it. There is no Image Library, whose cost
grows with the series; the images are named as evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.objects.codes import (
    ENGLISH,
    IMAGING_MEASUREMENT_REPORT,
    IMAGING_MEASUREMENTS,
    PROCEDURE_REPORTED,
    coded,
)
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.observer import observing_device
from pipelines.objects.report_classes import class_groups
from pipelines.objects.report_evaluations import qualitative_evaluations
from pipelines.objects.report_groups import measurement_groups
from pipelines.objects.result_header import mark_result
from pipelines.objects.source_header import sanitised
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.station import MANUFACTURER
from storage.dicom_records import CodedConcept
from storage.records import MeasurementRecord


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Everything that an SR is made of.

    `segmentation` is the SEG as it was written, None when no structure is present. Every
    structure that was looked for has at least one measurement, absent ones too. `further_sources`
    are the other series that the model read. `review` says why somebody should look at the result.
    `explanations` are pictures by the Tracking UID of the class that they explain; `remark` says
    what else a reader should know. `class_sources` are the images that a class was found on, by its
    Tracking UID, where they are not `source`.
    """

    source: SourceSeries
    segmentation: Dataset | None
    measurements: tuple[MeasurementRecord, ...]
    procedure_reported: CodedConcept
    identity: ResultIdentity
    origin: Origin
    further_sources: tuple[SourceSeries, ...] = ()
    review: str = ""
    explanations: Mapping[str, Sequence[Dataset]] = field(default_factory=dict)
    remark: str = ""
    class_sources: Mapping[str, Sequence[SourceSeries]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.measurements:
            raise ValueError("a report needs to say what was looked for")
        if not self.is_of_classes and self.has_findings != (self.segmentation is not None):
            raise ValueError("a SEG goes with findings, and findings with a SEG")

    @property
    def is_of_classes(self) -> bool:
        """Whether the whole image was judged, and nothing was outlined."""
        return any(measurement.is_of_class for measurement in self.measurements)

    @property
    def has_findings(self) -> bool:
        """Whether any structure is present."""
        return any(measurement.is_present for measurement in self.measurements)


def build_report(request: ReportRequest) -> Dataset:
    """Build the SR; the same request gives the same dataset, byte for byte."""
    report: Dataset = hd.sr.Comprehensive3DSR(
        evidence=_evidence(request),
        content=_content(request),
        series_instance_uid=request.identity.series_instance_uid,
        series_number=request.identity.series_number,
        sop_instance_uid=request.identity.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    mark_result(report, request.source, request.identity, request.origin)
    return report


def _evidence(request: ReportRequest) -> list[Dataset]:
    """Source images first: the library copies patient and study from the first item."""
    # The spacing does not reach the report; any number will do.
    images = [
        header
        for source in (request.source, *request.further_sources)
        for header in sanitised(source, spacing_between_slices_mm=1.0)
    ]
    pictures = [each for some in request.explanations.values() for each in some]
    segmentation = [] if request.segmentation is None else [request.segmentation]
    return [*images, *segmentation, *pictures]


def _content(request: ReportRequest) -> Dataset:
    """Assemble the tree (TID 1500); the library's own class demands a measurement group."""
    concept_mod = hd.sr.RelationshipTypeValues.HAS_CONCEPT_MOD
    root: Dataset = hd.sr.ContainerContentItem(
        name=coded(IMAGING_MEASUREMENT_REPORT), template_id="1500"
    )
    items = [
        *hd.sr.LanguageOfContentItemAndDescendants(coded(ENGLISH)),
        *hd.sr.ObservationContext(observer_device_context=observing_device(request.origin)),
        hd.sr.CodeContentItem(
            name=coded(PROCEDURE_REPORTED),
            value=coded(request.procedure_reported),
            relationship_type=concept_mod,
        ),
    ]
    if request.segmentation is not None or request.is_of_classes:
        items.append(_imaging_measurements(request))
    items.append(
        qualitative_evaluations(
            request.measurements, request.origin.algorithm, request.review, request.remark
        )
    )
    root.ContentSequence = hd.sr.ContentSequence(items)
    return root


def _imaging_measurements(request: ReportRequest) -> Dataset:
    algorithm = request.origin.algorithm
    if request.segmentation is None:
        groups = class_groups(
            request.measurements,
            lambda uid: request.class_sources.get(uid, (request.source,)),
            algorithm,
            request.explanations,
        )
    else:
        groups = measurement_groups(
            request.measurements,
            request.segmentation,
            str(request.source.first.SeriesInstanceUID),
            algorithm,
        )
    container: Dataset = hd.sr.ContainerContentItem(
        name=coded(IMAGING_MEASUREMENTS),
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = hd.sr.ContentSequence([item for group in groups for item in group])
    return container
