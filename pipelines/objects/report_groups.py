"""Measurement groups of a report: one TID 1411 group for each structure that is present."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset

from pipelines.objects.codes import coded
from pipelines.objects.report_measurements import report_measurements
from storage.finding_site import LATERALITIES, finding_site, is_anatomy
from storage.records import AlgorithmIdentity, MeasurementRecord

_FIRST_ROWS = ("112039", "112040", "276214006", "121071", "121191", "121232")
"""Rows of TID 1411 before its measurements: tracking, category, finding, segment, series."""


def measurement_groups(
    measurements: Iterable[MeasurementRecord],
    segmentation: Dataset,
    source_series_uid: str,
    algorithm: AlgorithmIdentity,
) -> list[Any]:
    """Give a group for each present structure: its quantities, segment and source series.

    Measurements of one structure stand together; absent structures are left to
    `report_evaluations`.
    """
    present = [item for item in measurements if item.is_present]
    return [
        _group(list(quantities), segmentation, source_series_uid, algorithm)
        for _, quantities in groupby(present, key=lambda item: item.tracking_uid)
    ]


def _group(
    quantities: Sequence[MeasurementRecord],
    segmentation: Dataset,
    source_series_uid: str,
    algorithm: AlgorithmIdentity,
) -> Any:
    structure = quantities[0]
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=structure.tracking_uid, identifier=structure.tracking_identifier
        ),
        referenced_segment=_segment_reference(structure, segmentation, source_series_uid),
        finding_category=coded(structure.category),
        finding_type=coded(structure.property_type),
        finding_sites=_finding_sites(structure),
        measurements=report_measurements(quantities, algorithm),
    )
    group[0].ContentSequence = _in_template_order(group[0].ContentSequence)
    return group


def _in_template_order(items: Iterable[Any]) -> Any:
    """Put the reference to the segment where the template has it; the order is significant."""

    def row(item: Any) -> int:
        name = item.ConceptNameCodeSequence[0].CodeValue
        return _FIRST_ROWS.index(name) if name in _FIRST_ROWS else len(_FIRST_ROWS)

    return hd.sr.ContentSequence(sorted(items, key=row))


def _finding_sites(structure: MeasurementRecord) -> list[Any] | None:
    """Give the place of the finding: the structure itself if it is anatomy, else its region.

    The modifier belongs to the structure: 'anterior' of a hippocampus is no part of the brain
    called anterior. Only a laterality may pass on to the region.
    """
    modifier = structure.type_modifier
    is_lateral = modifier is not None and modifier.value in LATERALITIES
    site = finding_site(structure)
    if site is None:
        return None
    return [
        hd.sr.FindingSite(
            anatomic_location=coded(site),
            laterality=coded(modifier) if modifier and is_lateral else None,
            topographical_modifier=(
                coded(modifier) if modifier and is_anatomy(structure) and not is_lateral else None
            ),
        )
    ]


def _segment_reference(
    structure: MeasurementRecord, segmentation: Dataset, source_series_uid: str
) -> Any:
    # Built by hand: the library's own constructor fails on a SEG with one segment.
    return hd.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=structure.segment_number,
        source_series=hd.sr.SourceSeriesForSegmentation(source_series_uid),
    )
