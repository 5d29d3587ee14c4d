"""An SR that refers to the SEGs of a destination in place of the kept one.

What it says stays as it is; only its evidence and its references to segments change, and with
them its own UIDs: it is another SOP Instance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from pipelines.objects.encoding import Part
from pipelines.objects.uids import encoded_uid


@dataclass(frozen=True, slots=True, eq=False)
class SentPart:
    """A SEG as it is sent, and which segments of the kept one it has."""

    part: Part
    dataset: Dataset


def repointed_report(report: Dataset, kept_uid: str, sent: Sequence[SentPart]) -> Dataset:
    """Give the SR with every reference to the SEG `kept_uid` turned to what is sent instead."""
    made = deepcopy(report)
    role = ", ".join(item.part.role for item in sent)
    made.SOPInstanceUID = encoded_uid(str(report.SOPInstanceUID), role)
    made.SeriesInstanceUID = encoded_uid(str(report.SeriesInstanceUID), role)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    for reference in _references(made):
        if str(reference.ReferencedSOPInstanceUID) == kept_uid:
            _repoint(reference, sent)
    for study in made.get("CurrentRequestedProcedureEvidenceSequence") or []:
        study.ReferencedSeriesSequence = _evidence(study.ReferencedSeriesSequence, kept_uid, sent)
    return made


def _references(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence") or []:
        yield from item.get("ReferencedSOPSequence") or []
        yield from _references(item)


def _repoint(reference: Dataset, sent: Sequence[SentPart]) -> None:
    number = int(reference.ReferencedSegmentNumber)
    item = next(each for each in sent if each.part.first <= number <= each.part.last)
    reference.ReferencedSOPClassUID = item.dataset.SOPClassUID
    reference.ReferencedSOPInstanceUID = item.dataset.SOPInstanceUID
    reference.ReferencedSegmentNumber = number - item.part.first + 1


def _evidence(series: Sequence[Dataset], kept_uid: str, sent: Sequence[SentPart]) -> DicomSequence:
    others = [item for item in series if kept_uid not in _instances(item)]
    return DicomSequence([*others, *(_series_item(item.dataset) for item in sent)])


def _instances(series: Dataset) -> set[str]:
    return {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence}


def _series_item(segmentation: Dataset) -> Dataset:
    instance = Dataset()
    instance.ReferencedSOPClassUID = segmentation.SOPClassUID
    instance.ReferencedSOPInstanceUID = segmentation.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = segmentation.SeriesInstanceUID
    series.ReferencedSOPSequence = [instance]
    return series
