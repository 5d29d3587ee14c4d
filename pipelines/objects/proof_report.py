"""The gate before an SR leaves: it must say of the written SEG what was measured, and no more.

The tree is walked with pydicom alone. Volumes are counted anew in the SEG, so that the number in
the report is the number of voxels that the viewer draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.codes import (
    ABSENT,
    FINDINGS_SUMMARY,
    MILLILITRE,
    PRESENCE,
    PRESENT,
    VISUAL_EXPLANATION,
    VOLUME,
    WITH_FINDINGS,
    WITHOUT_FINDINGS,
)
from pipelines.objects.decoded_segmentation import DecodedSegmentation
from pipelines.objects.proof import differing_attribute, readable
from pipelines.objects.source_series import SourceSeries
from storage.records import MeasurementRecord

_MEASUREMENT_GROUP = "125007"
_TRACKING_UID = "112040"
_REFERENCED_SEGMENT = "121191"
_SOURCE_IMAGE = "121112"

ROUNDING_ML = 0.0005
"""Volumes are told to 0.001 mL at the coarsest."""

ROUNDING = 1e-4
"""Relative, for large volumes: spacing between slices is a decimal string and a mean."""


@dataclass(frozen=True, slots=True)
class _Group:
    """One measurement group as it was written."""

    tracking_uid: str
    segment: tuple[str, int] | None
    quantities: dict[str, tuple[float, str]]
    presence: str
    sources: tuple[str, ...]
    pictures: tuple[str, ...]


def prove_report(
    path: Path,
    source: SourceSeries,
    measurements: Sequence[MeasurementRecord],
    segmentation: DecodedSegmentation | None,
) -> None:
    """Prove the SR at `path` against the measurements, the source and the written SEG.

    `segmentation` is what `prove_segmentation` gave, None without findings. Raises `ProofFailed`.
    """
    with readable("SR"):
        report = dcmread(path)
        _prove_header(report, source)
        has_findings = any(measurement.is_present for measurement in measurements)
        _prove_summary(report, has_findings=has_findings)
        _prove_evidence(report, source, segmentation)
        _prove_content(report, measurements, segmentation)


def prove_explanations(path: Path, explanations: Mapping[str, Sequence[Dataset]]) -> None:
    """Prove that the SR at `path` shows, for each class, the pictures that explain it.

    `explanations` go by the Tracking UID of the class. Raises `ProofFailed`.
    """
    with readable("SR"):
        told = {group.tracking_uid: group.pictures for group in _groups(dcmread(path))}
    expected = {
        uid: tuple(str(picture.SOPInstanceUID) for picture in pictures)
        for uid, pictures in explanations.items()
    }
    if {uid: pictures for uid, pictures in told.items() if pictures} != expected:
        raise ProofFailed("SR names other pictures as explanations than were made")


def prove_pictures(path: Path, sources: Mapping[str, Sequence[SourceSeries]]) -> None:
    """Prove that the SR at `path` names, for each class, the single images it was found on.

    `sources` go by the Tracking UID of the class. Raises `ProofFailed`.
    """
    with readable("SR"):
        told = {group.tracking_uid: group.sources for group in _groups(dcmread(path))}
    for uid, images in sources.items():
        is_single = all(len(image.headers) == 1 for image in images)
        expected = tuple(str(image.first.SOPInstanceUID) for image in images) if is_single else ()
        if told.get(uid) != expected:
            raise ProofFailed("SR names other images for a class than it was found on")


def _prove_content(
    report: Dataset,
    measurements: Sequence[MeasurementRecord],
    segmentation: DecodedSegmentation | None,
) -> None:
    groups = {group.tracking_uid: group for group in _groups(report)}
    present = [item for item in measurements if item.has_value]
    if set(groups) != {item.tracking_uid for item in present}:
        raise ProofFailed("SR measures other structures than are present")
    _prove_absences(report, [item for item in measurements if not item.has_value])
    for measurement in present:
        if measurement.is_of_class:
            _prove_class(groups[measurement.tracking_uid], measurement)
            continue
        if segmentation is None:
            raise ProofFailed("SR has findings, but there is no SEG")
        _prove_measurement(groups[measurement.tracking_uid], measurement, segmentation)


def _prove_header(report: Dataset, source: SourceSeries) -> None:
    if report.StudyInstanceUID != source.first.StudyInstanceUID:
        raise ProofFailed("SR has another StudyInstanceUID than the source")
    keyword = differing_attribute(report, source.first)
    if keyword:
        raise ProofFailed(f"SR has another {keyword} than the source")
    flags = report.get("PreliminaryFlag"), report.get("VerificationFlag")
    if flags != ("PRELIMINARY", "UNVERIFIED"):
        raise ProofFailed("SR is not marked preliminary and unverified")


def _prove_summary(report: Dataset, *, has_findings: bool) -> None:
    expected = WITH_FINDINGS if has_findings else WITHOUT_FINDINGS
    told = [_value(item) for item in _items(report) if _name(item) == FINDINGS_SUMMARY.value]
    if told != [expected.value]:
        raise ProofFailed("SR sums up other findings than there are")


def _prove_evidence(
    report: Dataset, source: SourceSeries, segmentation: DecodedSegmentation | None
) -> None:
    expected = {str(header.SOPInstanceUID) for header in source.headers}
    if segmentation is not None:
        expected.add(str(segmentation.dataset.SOPInstanceUID))
    written = {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("CurrentRequestedProcedureEvidenceSequence") or []
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    if not expected <= written:
        raise ProofFailed("SR does not name every source image and the SEG as evidence")


def _prove_absences(report: Dataset, absent: Sequence[MeasurementRecord]) -> None:
    told = Counter(_absences(report))
    expected = {item.tracking_uid: _kind(item) for item in absent}
    if told != Counter(expected.values()):
        raise ProofFailed("SR calls other structures absent than are")


def _prove_measurement(
    group: _Group, measurement: MeasurementRecord, segmentation: DecodedSegmentation
) -> None:
    name = f"structure with label value {measurement.label_value}"
    number = measurement.segment_number
    if group.segment != (str(segmentation.dataset.SOPInstanceUID), number):
        raise ProofFailed(f"SR references another segment for the {name}")
    if measurement.tracking_uid != _tracking_uid_of(segmentation, number):
        raise ProofFailed(f"SR and SEG track the {name} under other UIDs")
    value = _prove_quantity(group, measurement, name)
    is_volume = measurement.quantity.value == VOLUME.value
    if is_volume and measurement.unit.value == MILLILITRE.value:
        counted = segmentation.voxel_count(number or 0) * segmentation.voxel_volume_ml
        _prove_equal(value, counted, f"volume of the {name} against the voxels of the SEG")


def _prove_class(group: _Group, measurement: MeasurementRecord) -> None:
    name = f"class of output {measurement.label_value}"
    expected = PRESENT if measurement.is_present else ABSENT
    if group.presence != expected.value:
        raise ProofFailed(f"SR says of the {name} that it is {group.presence or 'nothing'}")
    _prove_quantity(group, measurement, name)


def _prove_quantity(group: _Group, measurement: MeasurementRecord, name: str) -> float:
    told = group.quantities.get(measurement.quantity.value)
    if told is None or told[1] != measurement.unit.value:
        raise ProofFailed(f"SR lacks {measurement.quantity.meaning} of the {name}")
    _prove_equal(told[0], measurement.value, f"{measurement.quantity.meaning} of the {name}")
    return told[0]


def _prove_equal(told: float, expected: float, what: str) -> None:
    if abs(told - expected) > max(ROUNDING_ML, ROUNDING * abs(expected)):
        raise ProofFailed(f"{what}: {told:.4f} instead of {expected:.4f}")


def _tracking_uid_of(segmentation: DecodedSegmentation, number: int | None) -> str | None:
    described = segmentation.dataset.SegmentSequence
    return next((str(item.TrackingUID) for item in described if item.SegmentNumber == number), None)


def _groups(report: Dataset) -> Iterator[_Group]:
    for container in _items(report):
        if _name(container) != _MEASUREMENT_GROUP:
            continue
        items = list(container.ContentSequence)
        numbers = (item for item in items if item.ValueType == "NUM")
        yield _Group(
            next(str(item.UID) for item in items if _name(item) == _TRACKING_UID),
            next((_segment(item) for item in items if _name(item) == _REFERENCED_SEGMENT), None),
            {_name(item): _quantity(item) for item in numbers},
            next((_value(item) for item in items if _name(item) == PRESENCE.value), ""),
            _images(items, _SOURCE_IMAGE),
            _images(items, VISUAL_EXPLANATION.value),
        )


def _images(items: Sequence[Dataset], name: str) -> tuple[str, ...]:
    return tuple(
        str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        for item in items
        if _name(item) == name and item.ValueType == "IMAGE"
    )


def _absences(report: Dataset) -> Iterator[tuple[str, str]]:
    for item in _items(report):
        if _value(item) == ABSENT.value and _name(item) != PRESENCE.value:
            modifiers = item.get("ContentSequence") or []
            yield _name(item), "".join(_value(modifier) for modifier in modifiers)


def _kind(item: MeasurementRecord) -> tuple[str, str]:
    return item.property_type.value, item.type_modifier.value if item.type_modifier else ""


def _items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence") or []:
        yield item
        yield from _items(item)


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def _value(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue) if item.ValueType == "CODE" else ""


def _segment(item: Dataset) -> tuple[str, int]:
    reference = item.ReferencedSOPSequence[0]
    return str(reference.ReferencedSOPInstanceUID), int(reference.ReferencedSegmentNumber)


def _quantity(item: Dataset) -> tuple[float, str]:
    measured = item.MeasuredValueSequence[0]
    unit = str(measured.MeasurementUnitsCodeSequence[0].CodeValue)
    return float(measured.NumericValue), unit
