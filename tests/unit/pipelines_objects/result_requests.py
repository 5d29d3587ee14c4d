"""Requests for SEG and SR as the pipeline makes them, about two brain structures."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.objects.codes import MILLILITRE, VOLUME
from pipelines.objects.description import SegmentDescription, numbered
from pipelines.objects.identity import Origin, ResultIdentity
from pipelines.objects.report_sr import ReportRequest
from pipelines.objects.segmentation import SegmentationRequest
from pipelines.objects.source_series import SourceSeries
from pipelines.objects.station import Station
from pipelines.objects.uids import device_uid, result_uids, tracking_uid
from storage.dicom_records import CodedConcept
from storage.records import AlgorithmIdentity, MeasurementRecord
from tests.unit.pipelines_objects.synthetic_series import STEP_MM

INPUT_DIGEST, PIPELINE_DIGEST, MODEL_DIGEST = "a" * 64, "b" * 64, "c" * 64
VOXEL_ML = 0.9 * 0.8 * STEP_MM / 1000.0
ANATOMY = CodedConcept("91723000", "SCT", "Anatomical Structure")
HIPPOCAMPUS = CodedConcept("5366008", "SCT", "Hippocampus")
BRAIN = CodedConcept("12738006", "SCT", "Brain")
ANTERIOR = CodedConcept("255549009", "SCT", "Anterior")
POSTERIOR = CodedConcept("255551008", "SCT", "Posterior")
MRI = CodedConcept("25056-3", "LN", "MRI unspecified body region")
UIDS = result_uids(INPUT_DIGEST, PIPELINE_DIGEST)
ORIGIN = Origin(
    algorithm=AlgorithmIdentity("hippocampus-net", "1.2.0", MODEL_DIGEST, device_uid(MODEL_DIGEST)),
    station=Station("node-1", "RADNODE", "Klinik am Süßen See", "0.1.0"),
    content_time=datetime(2024, 7, 1, 15, 4, 5, 678000, tzinfo=ZoneInfo("Europe/Berlin")),
)


def structure(
    label_value: int, label: str, modifier: CodedConcept, color_rgb: tuple[int, int, int]
) -> SegmentDescription:
    return SegmentDescription(
        label_value=label_value,
        segment_number=0,
        label=label,
        category=ANATOMY,
        property_type=HIPPOCAMPUS,
        type_modifier=modifier,
        anatomic_region=BRAIN,
        color_rgb=color_rgb,
        tracking_identifier=label.lower().replace(" ", "-"),
        tracking_uid=tracking_uid(INPUT_DIGEST, PIPELINE_DIGEST, label_value),
    )


STRUCTURES = (
    structure(1, "Anterior hippocampus", ANTERIOR, (230, 120, 60)),
    structure(2, "Posterior hippocampus", POSTERIOR, (60, 160, 230)),
)


def label_map(shape: tuple[int, int, int] = (6, 24, 32)) -> NDArray[np.uint8]:
    """Two touching lopsided bodies, not symmetric in any direction; slice 0 is empty."""
    slices, rows, columns = shape
    z, y, x = np.mgrid[:slices, :rows, :columns]
    centre = (0.55 * slices, 0.4 * rows, 0.35 * columns)
    body = ((z - centre[0]) / (0.4 * slices)) ** 2 + ((y - centre[1]) / (0.25 * rows)) ** 2
    body = body + ((x - centre[2]) / (0.3 * columns)) ** 2 < 1
    labels = np.zeros(shape, dtype=np.uint8)
    labels[body] = np.where(y[body] < centre[1], 1, 2)
    labels[slices - 1, 1, columns - 1] = 2
    labels[0] = 0
    return labels


def segmentation_request(
    source: SourceSeries, labels: NDArray[Any], **changes: Any
) -> SegmentationRequest:
    fields: dict[str, Any] = {
        "source": source,
        "label_map": labels,
        "structures": numbered(STRUCTURES, set(np.unique(labels).tolist())),
        "spacing_between_slices_mm": STEP_MM,
        "identity": ResultIdentity(UIDS.seg_instance, UIDS.seg_series, 9001, "AI hippocampus"),
        "dimension_organization_uid": UIDS.seg_dimension_organization,
        "origin": ORIGIN,
    }
    return SegmentationRequest(**(fields | changes))


def measurements(labels: NDArray[Any]) -> tuple[MeasurementRecord, ...]:
    """Volume of each structure, absent ones with 0, as the pipeline measures them."""
    present = {
        item.label_value: item.segment_number
        for item in numbered(STRUCTURES, set(np.unique(labels).tolist()))
    }
    return tuple(
        MeasurementRecord(
            structure=item.label,
            segment_number=present.get(item.label_value),
            label_value=item.label_value,
            tracking_identifier=item.tracking_identifier,
            tracking_uid=item.tracking_uid,
            category=item.category,
            property_type=item.property_type,
            type_modifier=item.type_modifier,
            anatomic_region=item.anatomic_region,
            quantity=VOLUME,
            value=round(int(np.count_nonzero(labels == item.label_value)) * VOXEL_ML, 4),
            unit=MILLILITRE,
            is_present=item.label_value in present,
        )
        for item in STRUCTURES
    )


def report_request(
    source: SourceSeries, labels: NDArray[Any], segmentation: Dataset | None, **changes: Any
) -> ReportRequest:
    fields: dict[str, Any] = {
        "source": source,
        "segmentation": segmentation,
        "measurements": measurements(labels),
        "procedure_reported": MRI,
        "identity": ResultIdentity(UIDS.sr_instance, UIDS.sr_series, 9002, "AI hippocampus report"),
        "origin": ORIGIN,
    }
    return ReportRequest(**(fields | changes))
