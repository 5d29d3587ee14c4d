"""An SR that refers to the SEGs of a destination in place of the kept one, or to none.

What it says stays as it is; only its evidence and its references to segments change, and with
them its own UIDs: it is another SOP Instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import SegmentationStorage

from pipelines.objects.codes import VISUAL_EXPLANATION
from pipelines.objects.encoding import LABEL_MAP_SEGMENTATION_STORAGE, Part
from pipelines.objects.uids import encoded_uid

_SEGMENTATIONS = frozenset({SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE})
_OF_SEGMENT = frozenset({"121191", "121232", "121233"})
"""Referenced Segment, and what tells the source of a segmentation (TID 1411)."""
_GROUP_WITHOUT_REGION = "1501"
_ALONE = "without segmentation"
_UNEXPLAINED = "without explanations"


@dataclass(frozen=True, slots=True, eq=False)
class SentPart:
    """A SEG as it is sent, and which segments of the kept one it has."""

    part: Part
    dataset: Dataset


def repointed_report(report: Dataset, kept_uid: str, sent: Sequence[SentPart]) -> Dataset:
    """Give the SR with every reference to the SEG `kept_uid` turned to what is sent instead."""
    made = deepcopy(report)
    role = ", ".join(item.part.role for item in sent)
    _rename(made, report, role)
    for reference in _references(made):
        if str(reference.ReferencedSOPInstanceUID) == kept_uid:
            _repoint(reference, sent)
    for study in made.get("CurrentRequestedProcedureEvidenceSequence") or []:
        study.ReferencedSeriesSequence = _evidence(study.ReferencedSeriesSequence, kept_uid, sent)
    return made


def detached_report(report: Dataset) -> Dataset:
    """Give the SR without its references to segments, for who does not get them.

    A group of TID 1411 without its segment is one of TID 1501, which asks for no region; tracking,
    findings and measurements stay. An SR that refers to no segment is given as it is.
    """
    made = deepcopy(report)
    if not _detach(made):
        return report
    _rename(made, report, _ALONE)
    _leave_out(made, lambda item: item.ReferencedSOPClassUID in _SEGMENTATIONS)
    return made


def unexplained_report(report: Dataset) -> Dataset:
    """Give the SR without the pictures that explain its classes, for who does not get them.

    An SR that refers to none is given as it is.
    """
    made = deepcopy(report)
    pictures = set(_taken_out(made, VISUAL_EXPLANATION.value))
    if not pictures:
        return report
    _rename(made, report, _UNEXPLAINED)
    _leave_out(made, lambda item: str(item.ReferencedSOPInstanceUID) in pictures)
    return made


def _taken_out(node: Dataset, name: str) -> Iterator[str]:
    """Take items of this name out of a tree; give the instances that they referred to."""
    items = node.get("ContentSequence") or []
    others = [item for item in items if _name(item) != name]
    if len(others) < len(items):
        for item in items:
            if _name(item) == name:
                yield from (str(each.ReferencedSOPInstanceUID) for each in _own(item))
        node.ContentSequence = others
    for item in others:
        yield from _taken_out(item, name)


def _own(item: Dataset) -> Sequence[Dataset]:
    return item.get("ReferencedSOPSequence") or []


def _rename(made: Dataset, report: Dataset, role: str) -> None:
    """Make another SOP Instance of it, in a series of its own."""
    made.SOPInstanceUID = encoded_uid(str(report.SOPInstanceUID), role)
    made.SeriesInstanceUID = encoded_uid(str(report.SeriesInstanceUID), role)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID


def _leave_out(made: Dataset, is_gone: Callable[[Dataset], bool]) -> None:
    """Take instances, and series that have no other one, out of the evidence."""
    for study in made.get("CurrentRequestedProcedureEvidenceSequence") or []:
        series = [_without(item, is_gone) for item in study.ReferencedSeriesSequence]
        study.ReferencedSeriesSequence = [item for item in series if item.ReferencedSOPSequence]


def _detach(node: Dataset) -> bool:
    """Take the references out of a tree; False where it has none."""
    items = node.get("ContentSequence") or []
    others = [item for item in items if _name(item) not in _OF_SEGMENT]
    is_group = len(others) < len(items)
    if is_group:
        node.ContentSequence = others
        for template in node.get("ContentTemplateSequence") or []:
            template.TemplateIdentifier = _GROUP_WITHOUT_REGION
    return any([is_group, *(_detach(item) for item in others)])


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _without(series: Dataset, is_gone: Callable[[Dataset], bool]) -> Dataset:
    kept = Dataset()
    kept.update(series)
    kept.ReferencedSOPSequence = [item for item in _own(series) if not is_gone(item)]
    return kept


def _references(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence") or []:
        yield from _own(item)
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
