"""Classes of the whole image in a report: one TID 1501 group each, present or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.objects.codes import ABSENT, PRESENCE, PRESENT, VISUAL_EXPLANATION, coded
from pipelines.objects.report_measurements import report_measurements
from pipelines.objects.source_series import SourceSeries
from storage.finding_site import LATERALITIES
from storage.records import AlgorithmIdentity, MeasurementRecord


def class_groups(
    measurements: Iterable[MeasurementRecord],
    sources_of: Callable[[str], Sequence[SourceSeries]],
    algorithm: AlgorithmIdentity,
    explanations: Mapping[str, Sequence[Dataset]],
) -> list[Any]:
    """Give a group for each class: what was looked for, how certain it is, present or absent.

    `sources_of` gives the images of a class by its Tracking UID: they are referenced where each is
    a single one; otherwise the evidence names the series.
    `explanations` are pictures by the Tracking UID of the class that they explain.
    """
    groups = []
    for uid, quantities in groupby(measurements, key=lambda item: item.tracking_uid):
        group = _group(list(quantities), sources_of(uid), algorithm)
        group[0].ContentSequence.extend(map(_explanation, explanations.get(uid, ())))
        groups.append(group)
    return groups


def _explanation(picture: Dataset) -> Any:
    return hd.sr.ImageContentItem(
        name=coded(VISUAL_EXPLANATION),
        referenced_sop_class_uid=str(picture.SOPClassUID),
        referenced_sop_instance_uid=str(picture.SOPInstanceUID),
        relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
    )


def _group(
    quantities: list[MeasurementRecord],
    sources: Sequence[SourceSeries],
    algorithm: AlgorithmIdentity,
) -> Any:
    found = quantities[0]
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=found.tracking_uid, identifier=found.tracking_identifier
        ),
        finding_category=coded(found.category),
        finding_type=coded(found.property_type),
        finding_sites=_sites(found),
        source_images=single_images(sources),
        measurements=report_measurements(quantities, algorithm),
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(
                name=coded(PRESENCE), value=coded(PRESENT if found.is_present else ABSENT)
            )
        ],
    )


def _sites(found: MeasurementRecord) -> list[Any] | None:
    region, side = found.anatomic_region, found.type_modifier
    if region is None:
        return None
    laterality = coded(side) if side and side.value in LATERALITIES else None
    return [hd.sr.FindingSite(anatomic_location=coded(region), laterality=laterality)]


def single_images(sources: Sequence[SourceSeries]) -> list[Any] | None:
    """Give a reference to each, None where one of them is a series of several."""
    if any(len(source.headers) > 1 for source in sources):
        return None
    return [
        hd.sr.SourceImageForMeasurementGroup(
            referenced_sop_class_uid=str(source.first.SOPClassUID),
            referenced_sop_instance_uid=str(source.first.SOPInstanceUID),
        )
        for source in sources
    ]
